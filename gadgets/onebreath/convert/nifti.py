"""NIfTI files: values in the units of the reconstruction, with the matrix from pixels to the body."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.images.geometry import Geometry, affine
from onebreath.images.reading import Series
from onebreath.images.stacks import Stack, stacks
from onebreath.optional import required

_DESCRIPTION = 79
"""Characters that the header has room for."""


@dataclass(frozen=True)
class Volume:
    """What one file holds.

    Attributes
    ----------
    name
        Of the place: counters other than the slice.
    values
        (x, y, z, frame), real or complex.
    affine
        4 x 4, from pixel index to RAS coordinates in mm.
    frame_ms
        Distance of the frames.
    remark
        Why the slices are in files of their own; empty if they are not.
    """

    name: str
    values: NDArray[np.generic]
    affine: NDArray[np.float64]
    frame_ms: float
    remark: str = ""


def volumes(series: Series) -> Iterator[Volume]:
    """Yield the volumes of a series: all slices of a place together, where a grid holds them, else each by itself."""
    groups: dict[str, list[Stack]] = {}
    for stack in stacks(series):
        name = "_".join(f"{key}{value}" for key, value in stack.place.items() if key != "slice")
        groups.setdefault(name, []).append(stack)
    for name, group in groups.items():
        try:
            yield _joined(name, group)
        except ScanError as reason:
            for stack in group:
                alone = _joined(f"{name}{'_' if name else ''}slice{stack.place.get('slice', 0)}", [stack])
                yield Volume(alone.name, alone.values, alone.affine, alone.frame_ms, str(reason))


def _joined(name: str, group: list[Stack]) -> Volume:
    """Join slices, in the order of their place along the normal.

    Raises
    ------
    ScanError
        If no grid holds them.
    """
    found = [(_geometry(stack), stack.values()) for stack in group]
    found.sort(key=lambda one: float(one[0].centre @ one[0].axes[:, 2]))
    if len(group) > 1 and any(values.shape[1] > 1 for _, values in found):
        raise ScanError("they are volumes themselves")
    if len({values.shape for _, values in found}) > 1:
        raise ScanError("they have different numbers of frames or pixels")
    matrix = affine([geometry for geometry, _ in found])
    values = np.concatenate([values for _, values in found], axis=1)
    return Volume(name, values.transpose(3, 2, 1, 0), matrix, group[0].frame_ms())


def _geometry(stack: Stack) -> Geometry:
    heads = stack.series.headers[list(stack.images)]
    if any(np.ptp(heads[name], axis=0).max() > 1e-3 for name in ("position", "read_dir", "phase_dir")):
        raise ScanError(f"the frames of {stack.title or 'the slice'} lie at different places")
    return Geometry.of(heads[0], stack.series.data.shape)


def write_nifti(volume: Volume, path: Path, description: str) -> None:
    """Write a volume as NIfTI-1, compressed if the name ends so.

    Raises
    ------
    ConfigError
        If nibabel is not installed.
    """
    nibabel = required("nibabel", "report", "NIfTI")
    values = volume.values if volume.values.shape[3] > 1 else volume.values[..., 0]
    image = nibabel.Nifti1Image(np.ascontiguousarray(values), volume.affine)
    image.set_sform(volume.affine, code=1)
    image.set_qform(volume.affine, code=1, strip_shears=True)
    image.header.set_xyzt_units("mm", "msec")
    if values.ndim == 4:
        zooms = image.header.get_zooms()
        image.header.set_zooms((*zooms[:3], volume.frame_ms))
    image.header["descrip"] = description.encode("ascii", "replace")[:_DESCRIPTION]
    nibabel.save(image, path)
