"""Slice geometry: directions and positions in patient coordinates, and pixels in the slice.

Coordinates are LPS: x towards the patient's left, y towards posterior, z towards superior; in mm from the isocentre.
As in raw data of Siemens scanners, (phase, read, slice) is right-handed: ``cross(phase_dir, read_dir) == slice_dir``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_LEFT, _POSTERIOR, _SUPERIOR = np.eye(3)

ORIENTATIONS = {
    "transverse_ap": (_POSTERIOR, -_LEFT),
    "transverse_rl": (_LEFT, _POSTERIOR),
    "sagittal_ap": (_POSTERIOR, _SUPERIOR),
    "sagittal_hf": (-_SUPERIOR, _POSTERIOR),
    "coronal_rl": (_LEFT, _SUPERIOR),
    "coronal_hf": (-_SUPERIOR, _LEFT),
}
"""Phase and read direction of the planes; the suffix is the phase encoding direction."""


class Directions(NamedTuple):
    """Unit vectors (3,) of the slice's axes in patient coordinates."""

    read: np.ndarray
    phase: np.ndarray
    slice: np.ndarray


@dataclass(frozen=True)
class Grid:
    """Pixel centres of an image; pixel ``n // 2`` of each axis is the isocentre of the slice.

    Attributes
    ----------
    shape
        ``(y, x)``.
    pixel_mm
        Pixel size along y and x.
    mirrored
        Whether x falls as the column's index grows, as in a scan that is read out towards the patient's right.
    """

    shape: tuple[int, int]
    pixel_mm: tuple[float, float]
    mirrored: bool = False

    def axis(self, index: int) -> np.ndarray:
        """Coordinates in mm along axis 0 (y) or 1 (x)."""
        size = self.shape[index]
        step = -self.pixel_mm[index] if self.mirrored and index == 1 else self.pixel_mm[index]
        return (np.arange(size) - size // 2) * step


def directions(orientation: str, oblique_deg: tuple[float, float]) -> Directions:
    """Directions of a plane, tilted about its read direction and then about its new phase direction.

    Parameters
    ----------
    orientation
        One of `ORIENTATIONS`.
    oblique_deg
        The two angles in degrees; both different from zero give a double-oblique plane.
    """
    phase, read = ORIENTATIONS[orientation]
    normal = np.cross(phase, read)
    phase, normal = _rotate(phase, normal, oblique_deg[0])
    normal, read = _rotate(normal, read, oblique_deg[1])
    return Directions(read, phase, normal)


def slice_offsets(slices: int, distance_mm: float) -> np.ndarray:
    """Offsets (slice,) of the slice centres from the middle of the stack along the slice direction in mm."""
    return (np.arange(slices) - (slices - 1) / 2) * distance_mm


def chronological(slices: int, order: str) -> np.ndarray:
    """Index in the stack (slice,) of the slices in the order of time.

    Interleaved order starts with the second slice if their number is even, as on Siemens scanners.
    """
    stack = np.arange(slices)
    if order != "interleaved":
        return stack
    first = 1 - slices % 2
    return np.concatenate([stack[first::2], stack[1 - first :: 2]])


def _rotate(first: np.ndarray, second: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotate two orthogonal vectors in their plane, the first towards the second."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return cosine * first + sine * second, cosine * second - sine * first
