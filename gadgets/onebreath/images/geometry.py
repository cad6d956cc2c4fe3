"""Positions of pixels in the patient: millimetres in LPS coordinates, from the image headers.

The pixel ``n // 2`` of each axis lies at the header's position, as the centred Fourier transform has it. LPS: x towards
the patient's left, y towards posterior, z towards superior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError

LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))
"""Ends of the LPS axes: where a coordinate is negative, and where it is positive."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TOLERANCE = 1e-3
_OFF_GRID = 0.1
"""Part of the smallest side of a voxel that places may lie off a grid and still belong to it."""
_OBLIQUE = 0.2


@dataclass(frozen=True)
class Geometry:
    """Place of one image.

    Attributes
    ----------
    size
        Pixels along x, y and z.
    spacing
        Of pixels along x, y and z in mm; for a slice the last is its thickness.
    centre
        LPS position in mm of pixel ``size // 2``.
    axes
        Columns are the unit vectors (LPS) along which the index of x, y and z grows.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    centre: NDArray[np.float64]
    axes: NDArray[np.float64]

    @classmethod
    def of(cls, head: Any, shape: tuple[int, ...]) -> Geometry:
        """Read it from an ISMRMRD image header and the shape (..., z, y, x) of the pixels.

        Raises
        ------
        ScanError
            If the header has no field of view, or directions that are not perpendicular unit vectors.
        """
        size = (int(shape[-1]), int(shape[-2]), int(shape[-3]))
        fov = [float(one) for one in head["field_of_view"]]
        if not all(np.isfinite(one) and one > 0 for one in fov):
            raise ScanError(f"The field of view in the image header is {fov} mm: the pixels have no size.")
        axes = np.array([head[name] for name in ("read_dir", "phase_dir", "slice_dir")], float).T
        if not np.allclose(axes.T @ axes, np.eye(3), atol=_TOLERANCE):
            raise ScanError(
                "The directions in the image header are no perpendicular unit vectors: where pixels lie is not known."
            )
        spacing = (fov[0] / size[0], fov[1] / size[1], fov[2] / size[2])
        return cls(size, spacing, np.array(head["position"], float), axes)

    def position(self, index: tuple[float, float, float]) -> NDArray[np.float64]:
        """Return the LPS position in mm of a pixel, by its index along x, y and z."""
        steps = [(one - size // 2) * mm for one, size, mm in zip(index, self.size, self.spacing, strict=True)]
        return self.centre + self.axes @ np.array(steps)

    @property
    def tolerance_mm(self) -> float:
        """How far pixels may lie from where a grid has them and still belong to it: a tenth of a voxel."""
        return _OFF_GRID * min(self.spacing)

    def corners(self) -> NDArray[np.float64]:
        """Return the LPS positions in mm (corner, 3) of the outermost pixels; their indices are `corner_indices`."""
        steps = (self.corner_indices() - np.array(self.size) // 2) * self.spacing
        return np.asarray(self.centre + steps @ self.axes.T)

    def corner_indices(self) -> NDArray[np.int64]:
        """Return the indices along x, y and z (corner, 3) of the outermost pixels."""
        return np.array(list(np.ndindex(2, 2, 2))) * (np.array(self.size) - 1)

    def in_plane(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the unit vectors (LPS) of growing x and y, perpendicular to the last digit."""
        x = self.axes[:, 0] / np.linalg.norm(self.axes[:, 0])
        y = self.axes[:, 1] - (self.axes[:, 1] @ x) * x
        return x, y / np.linalg.norm(y)

    def ends(self) -> dict[str, str]:
        """Return the letters of the directions at the edges of the picture: left, right, top and bottom.

        An oblique edge has the letters of all directions that it looks towards, the nearest first.
        """
        x, y = self.axes[:, 0], self.axes[:, 1]
        return {"left": letters(-x), "right": letters(x), "top": letters(-y), "bottom": letters(y)}


def letters(direction: NDArray[np.floating]) -> str:
    """Name an LPS direction by letters: of every axis that it follows noticeably, the nearest first."""
    order = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    return "".join(LETTERS[axis][int(direction[axis] > 0)] for axis in order if abs(direction[axis]) > _OBLIQUE)


def affine(places: list[Geometry]) -> NDArray[np.float64]:
    """Return the 4 x 4 matrix from pixel index (x, y, slice) to RAS coordinates in mm, as NIfTI has it.

    Parameters
    ----------
    places
        Geometry of each slice in order; or of one volume, whose third index is z.

    Raises
    ------
    ScanError
        If the slices are not parallel, not of one size, or a tenth of a voxel and more off equal distances on a line.
    """
    first = places[0]
    if any(one.size != first.size for one in places):
        raise ScanError("the slices have different sizes")
    if any(not np.allclose(one.spacing, first.spacing, rtol=_TOLERANCE) for one in places):
        raise ScanError("the slices have pixels of different sizes")
    if any(not np.allclose(one.axes, first.axes, atol=_TOLERANCE) for one in places):
        raise ScanError("the slices are not parallel")
    step = first.axes[:, 2] * first.spacing[2]
    if len(places) > 1:
        centres = np.array([one.centre for one in places])
        step = np.diff(centres, axis=0).mean(axis=0)
        off = np.linalg.norm(centres - first.centre - np.arange(len(places))[:, None] * step, axis=1).max()
        if off > first.tolerance_mm:
            raise ScanError("the slices are not equally far from each other")
        if float(np.linalg.norm(step)) < _TOLERANCE:
            raise ScanError("the slices lie at the same place")
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = (
        first.axes[:, 0] * first.spacing[0],
        first.axes[:, 1] * first.spacing[1],
        step,
    )
    matrix[:3, 3] = first.position((0, 0, 0))
    return LPS_TO_RAS @ matrix
