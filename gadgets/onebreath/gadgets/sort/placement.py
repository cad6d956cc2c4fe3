"""Table of the k-space position of each acquired line: sorting, binning and repairing are array arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Placement:
    """Entries ``k-space[frame, s, row] += weight * line``; all arrays (entry,).

    Parameters
    ----------
    frame, s, row
        Place: frame (axis N), set and contrast (axis S), row of the matrix (axis E1).
    line
        Index of the acquired line.
    weight
        Its weight.
    """

    frame: Ints
    s: Ints
    row: Ints
    line: Ints
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return self.line.size

    @classmethod
    def joined(cls, parts: Sequence[Placement]) -> Placement:
        """Join tables."""
        if not parts:
            none = np.zeros(0, np.int64)
            return cls(none, none, none, none, np.zeros(0))
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def select(self, entries: NDArray[np.bool_] | Ints) -> Placement:
        """Return some of the entries."""
        return Placement(*(getattr(self, field.name)[entries] for field in fields(self)))

    def lines(self, frames: int, sets: int, rows: int) -> NDArray[np.bool_]:
        """Return which positions (frame, s, row) are filled."""
        filled = np.zeros((frames, sets, rows), bool)
        filled[self.frame, self.s, self.row] = True
        return filled


def by_counters(frame: Ints, s: Ints, row: Ints, line: Ints, averages: int) -> tuple[Placement, int]:
    """Place lines by their counters; lines of one position are averaged.

    The mean of `averages` lines times the root of their number keeps the standard deviation of whitened noise at 1. All
    positions get that factor, so that rows stay consistent where a line was acquired more or less often.

    Returns
    -------
    placement
        The table.
    repeated
        Lines beyond `averages` per position.
    """
    positions = np.stack([frame, s, row])
    _, position, counts = np.unique(positions, axis=1, return_inverse=True, return_counts=True)
    position = position.reshape(-1)
    repeated = int(np.maximum(counts - averages, 0).sum())
    return Placement(frame, s, row, line, np.sqrt(averages) / counts[position]), repeated


def counts_of(frame: Ints, s: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Return the positions of k-space (3, position): frame, set and row, and how many lines each has."""
    places, counts = np.unique(np.stack([frame, s, rows]), axis=1, return_counts=True)
    return places, counts.astype(np.int64)


_STEADY, _EVEN = 0.9, 0.8
"""Of frames whose patterns differ, at least this part has a line that all should have; and at least this part has the
usual number of lines, give or take one, unless their numbers are random."""


def missing_lines(filled: NDArray[np.bool_], cyclic: bool = False) -> NDArray[np.bool_]:
    """Return which lines (frame, s, row) a frame should have and lacks.

    Usually these are the lines that more than half of the frames have. A frame with about as many others in place of
    them, or any frame if most have others, follows a pattern that moves from frame to frame. It lacks lines only if it
    has fewer than nearly all frames, and then those that nearly all of them have.

    Parameters
    ----------
    filled : (frame, s, row)
        Places that were acquired.
    cyclic
        Whether the frames were binned from several heart beats: then each should have all lines of the scan.
    """
    if cyclic:
        return filled.any(axis=0) & ~filled
    counts = filled.sum(axis=2)
    number, having = (counts > 0).sum(axis=0)[:, None], filled.sum(axis=0)
    usual = 2 * having > number
    lacking, others = usual & ~filled, filled & ~usual
    moved = others.any(axis=2) & (2 * others.sum(axis=2) >= lacking.sum(axis=2))
    moved |= 2 * others.any(axis=2).sum(axis=0) > number[:, 0]
    typical = np.array([np.median(own[own > 0]) if own.any() else 0 for own in counts.T])
    even = (np.abs(counts - typical) <= 1).sum(axis=0) >= _EVEN * number[:, 0]
    fewer = (counts < typical) & even
    return np.asarray(lacking & (~moved[..., None] | (fewer[..., None] & (having >= _STEADY * number))))


def fill_missing(table: Placement, missing: NDArray[np.bool_], cyclic: bool) -> tuple[Placement, int]:
    """Fill missing positions (frame, s, row) with the lines of the nearest frame that has them.

    Parameters
    ----------
    cyclic
        Whether the last frame is next to the first one, as in a heart beat.

    Returns
    -------
    placement
        The table with the new entries.
    distance
        Largest distance in frames over which a line was taken.
    """
    frames = len(missing)
    filled = table.lines(*missing.shape)
    parts, furthest = [table], 0
    for frame, s, row in np.argwhere(missing):
        sources = np.flatnonzero(filled[:, s, row])
        distance = np.abs(sources - frame)
        if cyclic:
            distance = np.minimum(distance, frames - distance)
        nearest = sources[np.argmin(distance)]
        copied = table.select((table.frame == nearest) & (table.s == s) & (table.row == row))
        parts.append(Placement(np.full_like(copied.frame, frame), copied.s, copied.row, copied.line, copied.weight))
        furthest = max(furthest, int(distance.min()))
    return Placement.joined(parts), furthest


def drop_frames(table: Placement, kept: NDArray[np.bool_]) -> Placement:
    """Keep some frames (frame,) and renumber them."""
    number = np.cumsum(kept) - 1
    stays = table.select(kept[table.frame])
    return Placement(number[stays.frame], stays.s, stays.row, stays.line, stays.weight)
