"""NIfTI files with values in the units of the reconstruction and patient coordinates."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.images.geometry import Geometry, affine
from onebreath.images.reading import Series
from onebreath.images.stacks import Stack, stacks
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
    values
        (x, y, z, frame), real or complex.
    affine
        4 x 4, from pixel index to RAS coordinates in mm.
    frame_ms
        Distance of the frames in ms.
    remark
        Reason why each slice has its own file; empty if they share one.
    """

    name: str
    values: NDArray[np.generic]
    affine: NDArray[np.float64]
    frame_ms: float
    remark: str = ""


def volumes(series: Series) -> Iterator[Volume]:
    """Yield the volumes of a series: slices with equal other counters together if they form a grid, else separately."""
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
    """Volume of slices, sorted along the normal.

    Raises
    ------
    ScanError
        If they do not form a grid.
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
        raise ScanError(f"the frames of {stack.title or 'the slice'} have different positions")
    return Geometry.of(heads[0], stack.series.data.shape)


def write_nifti(volume: Volume, path: Path, description: str) -> None:
    """Write a volume as NIfTI-1 atomically, compressed if the name ends with ``.gz``.

    Raises
    ------
    ConfigError
        If nibabel is not installed, or the file cannot be written.
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
    content = image.to_bytes()
    with whole(path) as part:
        part.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)
