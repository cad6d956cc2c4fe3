"""Calibration lines at the edge of their block that can be held back from methods for a lattice of lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import MethodError
from onebreath.methods.base import SliceData
from onebreath.mri.sampling import SHORTEST_ACS

_USUAL, _MOST = 0.25, 0.5
"""Part of the calibration lines that a trial does without, and the most where a gap of the lattice needs more."""


@dataclass(frozen=True)
class Lines:
    """What each line is, (y,) bool each.

    Attributes
    ----------
    lattice, block
        Lines of the lattice; calibration lines, among them some of the lattice.
    held
        Calibration lines that are held back.
    missing
        Lines of the acquired range that were not acquired.
    left
        First and last calibration line that is left.
    """

    lattice: NDArray[np.bool_]
    block: NDArray[np.bool_]
    held: NDArray[np.bool_]
    missing: NDArray[np.bool_]
    left: tuple[int, int]

    @property
    def inner(self) -> NDArray[np.bool_]:
        """Calibration lines that are left, between those of the lattice."""
        return np.asarray(self.block & ~self.held & ~self.lattice)


def lattice_of(data: SliceData) -> NDArray[np.bool_]:
    """Return the acquired lines (y,) of the lattice."""
    rows, found = np.arange(data.kspace.shape[2]), data.sampling
    return np.asarray(np.any(data.mask, axis=(0, 2)) & (rows % found.acceleration == found.offset))


def why_not(data: SliceData) -> str:
    """Return why calibration lines of a slice cannot be held back; empty if they can."""
    try:
        lines_of(data)
    except MethodError as reason:
        return str(reason)
    return ""


def _unfit(data: SliceData) -> str:
    """Return why calibration lines of a slice cannot be held back, whatever their number; empty if they can."""
    if data.maps is None:
        return "held-back lines cannot be predicted without coil maps"
    if not data.sampling.uniform or data.sampling.per_frame or data.sampling.acceleration < 2:
        return "the lines are not the same lattice in all frames"
    if data.acs is None:
        return "there are no calibration lines"
    block = slice(data.acs_first, data.acs_first + data.acs.shape[1])
    if not np.asarray(data.mask)[:, block].any(axis=2).all():
        return "the calibration lines were acquired apart from the others, and may be unlike them"
    return ""


def lines_of(data: SliceData) -> Lines:
    """Choose the lines to hold back: whole gaps of the lattice, at both edges of the calibration lines.

    Raises
    ------
    MethodError
        If there are too few calibration lines, or they are not part of the data.
    """
    reason = _unfit(data)
    if reason:
        raise MethodError(reason)
    assert data.acs is not None
    lattice, rows = lattice_of(data), np.arange(data.kspace.shape[2])
    first, last = data.acs_first, data.acs_first + data.acs.shape[1] - 1
    block = (rows >= first) & (rows <= last)
    count, usual = last - first + 1, _USUAL * (last - first + 1)
    found = []
    for low, high in _smaller_blocks(lattice, first, last, data.sampling.centre):
        held = block & ~lattice & ((rows < low) | (rows > high))
        without, uneven = count - (high - low + 1), abs((low - first) - (last - high))
        if held.any() and without <= _MOST * count and count - without >= SHORTEST_ACS:
            # Best as many as usual, and from both edges alike.
            found.append(((max(without - usual, 0), -int(held.sum()), uneven), (low, high), held))
    if not found:
        raise MethodError(
            f"the {count} calibration lines are too few to hold some back at R = {data.sampling.acceleration}"
        )
    _, left, held = min(found, key=lambda one: one[0])
    low, high = data.sampling.acquired
    missing = ~lattice & ~block & (rows >= low) & (rows <= high)
    return Lines(lattice, block, held, missing, left)


def _smaller_blocks(lattice: NDArray[np.bool_], first: int, last: int, centre: int) -> Iterator[tuple[int, int]]:
    """Yield blocks about the centre that end where the block does, or on the lattice."""
    on = np.flatnonzero(lattice)
    for low in [first, *(int(row) for row in on if first < row <= centre)]:
        for high in [last, *(int(row) for row in on if centre <= row < last)]:
            yield low, high
