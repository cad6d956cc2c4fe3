"""NIfTI files with values in the units of the reconstruction and patient coordinates."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.images.geometry import LPS_TO_RAS, Geometry, affine
from onebreath.images.reading import Series
from onebreath.images.stacks import Stack, in_space
from onebreath.keeping import whole
from onebreath.optional import required

_DESCRIPTION = 79
"""Largest length of the header's description."""


@dataclass(frozen=True)
class Volume:
    """Content of one file.

    Attributes
    ----------
    name
        Counters other than the slice.
    slices
        The places that it is made of, in their order along its third axis; one, if that is a volume itself.
    affine
        4 x 4, from pixel index to RAS coordinates in mm.
    frame_ms
        Distance of the frames in ms; 0 if it is not known.
    off_mm
        Largest distance of a pixel from its place by `affine`, as slices or frames do not lie exactly on its grid.
    remark
        Reason why each slice has its own file; empty if they share one.
    """

    name: str
    slices: tuple[Stack, ...]
    affine: NDArray[np.float64]
    frame_ms: float
    off_mm: float
    remark: str = ""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Pixels along x, y and z, and frames."""
        nz, ny, nx = self.slices[0].series.data.shape[2:]
        return nx, ny, nz * len(self.slices), len(self.slices[0].images)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of its values, real or complex."""
        return np.dtype(np.complex64 if np.iscomplexobj(self.slices[0].series.data) else np.float32)

    def pictures(self) -> Iterator[NDArray[np.generic]]:
        """Yield the values (z, y, x) of one place at one time after the other, in the order in which NIfTI has them."""
        for frame in range(self.shape[3]):
            for stack in self.slices:
                yield stack.series.values(stack.images[frame])[0]


def volumes(series: Series) -> Iterator[Volume]:
    """Yield the volumes of a series: slices with equal other counters together if they form a grid, else separately."""
    for group in in_space(series, parallel=False):
        name = "_".join(f"{key}{value}" for key, value in group[0].place.items() if key != "slice")
        try:
            yield _joined(name, group)
        except ScanError as reason:
            for stack in group:
                alone = _joined(f"{name}{'_' if name else ''}slice{stack.place.get('slice', 0)}", [stack])
                yield replace(alone, remark=str(reason))


def _joined(name: str, group: list[Stack]) -> Volume:
    """Volume of slices in their order along the normal.

    Raises
    ------
    ScanError
        If they do not form a grid.
    """
    places = [Geometry.of(stack.series.headers[stack.images[0]], stack.series.data.shape) for stack in group]
    if len(group) > 1 and group[0].series.data.shape[2] > 1:
        raise ScanError("they are volumes themselves")
    if len({len(stack.images) for stack in group}) > 1:
        raise ScanError("they have different numbers of frames")
    matrix = affine(places)
    for stack, place in zip(group, places, strict=True):
        apart = _off_mm(stack, place.corners())
        if apart > place.tolerance_mm:
            raise ScanError(
                f"the frames of {stack.title or 'the slice'} have different positions: pixels are up to {apart:.2g} mm "
                f"apart, and a tenth of a voxel, {place.tolerance_mm:.2g} mm, is what NIfTI's one position stands for. "
                "`onebreath dicom` keeps the position of every frame"
            )
    off = max(
        _off_mm(stack, _told(place, number, matrix))
        for number, (stack, place) in enumerate(zip(group, places, strict=True))
    )
    return Volume(name, tuple(group), matrix, group[0].frame_ms(), off)


def _told(place: Geometry, number: int, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """LPS positions in mm (corner, 3) of the outermost pixels of slice `number`, as the matrix has them."""
    indices = place.corner_indices() + np.array([0, 0, number])
    return np.asarray((indices @ matrix[:3, :3].T + matrix[:3, 3]) @ LPS_TO_RAS[:3, :3])


def _off_mm(stack: Stack, corners: NDArray[np.float64]) -> float:
    """Largest distance of an outermost pixel of any frame from a position (corner, 3)."""
    heads, shape = stack.series.headers[list(stack.images)], stack.series.data.shape
    return max(float(np.linalg.norm(Geometry.of(head, shape).corners() - corners, axis=1).max()) for head in heads)


def write_nifti(volume: Volume, path: Path, description: str) -> None:
    """Write a volume as NIfTI-1 atomically, picture by picture, compressed if the name ends with ``.gz``.

    Raises
    ------
    ConfigError
        If nibabel is not installed, or the file cannot be written.
    """
    nibabel = required("nibabel", "report", "NIfTI")
    shape = volume.shape if volume.shape[3] > 1 else volume.shape[:3]
    image = nibabel.Nifti1Image(np.broadcast_to(np.zeros((), volume.dtype), shape), volume.affine)
    image.set_sform(volume.affine, code=1)
    image.set_qform(volume.affine, code=1, strip_shears=True)
    image.header.set_xyzt_units("mm", "msec")
    if len(shape) == 4:
        zooms = image.header.get_zooms()
        image.header.set_zooms((*zooms[:3], volume.frame_ms))
    image.header["descrip"] = description.encode("ascii", "replace")[:_DESCRIPTION]
    image.header.set_slope_inter(1.0, 0.0)
    head = io.BytesIO()
    image.header.write_to(head)
    with whole(path) as part, part.open("wb") as file, ExitStack() as stack:
        packed = path.suffix == ".gz"
        target = stack.enter_context(gzip.GzipFile("", "wb", 1, file, mtime=0)) if packed else file
        target.write(head.getvalue().ljust(image.header.get_data_offset(), b"\0"))
        for picture in volume.pictures():  # of which x is the fastest axis, as NIfTI wants it
            target.write(np.ascontiguousarray(picture, volume.dtype.newbyteorder("<")).tobytes())
