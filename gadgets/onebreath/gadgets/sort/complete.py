"""Frames that lack lines: which are incomplete, and how the policy of the scan treats them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.gadgets.sort.placement import Placement, drop_frames, fill_missing, missing_lines
from onebreath.names import listed

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

SHORT = 0.75
"""A frame with fewer than this part of the lines that frames usually have was broken off."""
LOST = 0.1
"""Of a pattern that the lines of a slice keep, at most this part may be missing; else it is another pattern."""
_FEW = 0.25
"""Of the lines of binned phases at most this part may be missing without a word about their number."""
_HOLLOW = 4
"""Rows that may always lie between the lines on both sides of the centre."""
_DISTANCES = 16
_TELLING = 10  # lines outside the block that show a lattice


@dataclass
class Placed:
    """Destination of each line of one message.

    Parameters
    ----------
    data, reference
        The imaging lines, and the calibration lines.
    frames, reference_frames, sets
        Lengths of axis N of either, and of axis S.
    counter, values
        Counter that numbers the frames, and its value in each of them; no counter if there is one frame only.
    facts
        What was found and decided, for the note.
    warnings
        What was filled, averaged or left out, as sentences.
    """

    data: Placement
    reference: Placement
    frames: int
    reference_frames: int
    sets: int
    counter: str = ""
    values: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def named(self, frames: Bools) -> str:
        """Name some frames (frame,) by the values of their counter."""
        numbers = [int(value) for value in self.values[: len(frames)][frames]]
        return f"{self.counter or 'frame'} {listed(numbers)}"


def complete(placed: Placed, policy: str, cyclic: bool, rows: int, centre: int) -> Placed:
    """Apply the policy for frames that lack lines which most frames have; frames without any line are never kept.

    Parameters
    ----------
    placed
        Where the lines go; changed in place.
    policy
        ``keep``, ``fill``, ``drop`` or ``error``.
    cyclic
        Whether the last frame is next to the first one.
    rows
        Rows up to the last one that was acquired.
    centre
        Row of the k-space centre.
    """
    filled = placed.data.lines(placed.frames, placed.sets, rows)
    hollow = np.array([around_centre_lost(np.flatnonzero(one.any(axis=0)), centre) for one in filled])
    hollow &= filled[~hollow].any()
    short: Bools = broken_off(filled) | hollow
    missing = _missing(filled, short, cyclic)
    used: Bools = np.asarray(filled.any(axis=(1, 2)))
    incomplete: Bools = np.asarray(missing.any(axis=(1, 2)) | short | ~used)
    placed.facts["incomplete_frames"] = int(incomplete.sum())
    placed.facts["missing_lines"] = int(missing.sum())
    if not incomplete.any():
        return placed
    if policy == "error":
        first = int(np.flatnonzero(incomplete)[0])
        lacking = np.unique(np.nonzero(missing[first])[1])
        raise ScanError(
            f"{int(incomplete.sum())} of {placed.frames} frames lack lines that most frames have (frame {first}: rows "
            f"{', '.join(str(row) for row in lacking[:8])}). Repeat the scan, ask for "
            "fewer phases, or set incomplete_phases of gadget 'sort' to keep, fill or drop."
        )
    placed.facts["incomplete_frames_policy"] = policy
    if cyclic and missing.sum() > _FEW * (filled | missing).sum():
        enough = max(int(filled.sum() / filled.any(axis=0).sum()), 1)
        placed.warnings.append(
            f"{missing.sum() / (filled | missing).sum():.0%} of the lines of {placed.frames} phases were not acquired "
            f"at that time of a heart beat; they suffice for about {enough}. Set phases of gadget 'sort' to that, or "
            "binning to linear."
        )
    kept = used.copy()
    if policy == "drop":
        kept = np.asarray(kept & ~incomplete)
    elif policy == "fill":
        kept = np.asarray(kept & (cyclic | ~_mostly_missing(filled, missing, short, centre) & (cyclic | ~hollow)))
        _fill(placed, missing & kept[:, None, None], cyclic, rows)
    else:
        _name(placed, np.asarray(incomplete & used), filled, missing, "kept as it is")
    _name(placed, np.asarray(used & ~kept), filled, missing, "left out")
    if not used.all():
        placed.warnings.append(f"no line is of {placed.named(~used)}: there is no image of it.")
    _keep(placed, kept)
    return placed


def tell_of_averages(placed: Placed, places: Ints, counts: Ints, averages: int, counted: int) -> None:
    """Warn of positions with other averages than most, and of frames with fewer.

    Parameters
    ----------
    placed
        Where the lines go; its warnings grow.
    places, counts
        As from `counts_of`.
    averages, counted
        Those of most positions, and as many as were counted.
    """
    more = int((np.minimum(counts, counted) > averages).sum())
    if more:
        placed.warnings.append(
            f"{more} of {len(counts)} positions of k-space have more averages than the {averages} of most: their noise "
            "is lower."
        )
    most = np.zeros((placed.frames, placed.sets), np.int64)
    np.maximum.at(most, (places[0], places[1]), np.minimum(counts, averages))
    fewer = int((np.minimum(counts, averages) < most[places[0], places[1]]).sum())
    if fewer:
        placed.warnings.append(
            f"{fewer} of {len(counts)} positions of k-space have fewer averages than the others: their noise is higher."
        )
    few: Bools = np.asarray(((most > 0) & (most < averages)).any(axis=1))
    if few.any():
        placed.warnings.append(
            f"{placed.named(few)} has fewer averages than the {averages} of most frames: its noise is higher than 1."
        )


def broken_off(filled: Bools) -> Bools:
    """Return which frames (frame,) have far fewer lines than usual.

    Parameters
    ----------
    filled : (frame, s, row)
        Places that were acquired.
    """
    counts = filled.sum(axis=(1, 2))
    used = counts > 0
    return np.asarray(used & (counts < SHORT * np.median(counts[used]))) if used.any() else used


def around_centre_lost(rows: NDArray[np.int64], centre: int) -> bool:
    """Return whether lines around the k-space centre are missing: the gap there is far larger than all others.

    Parameters
    ----------
    rows
        Rows that were acquired, rising.
    centre
        Row of the k-space centre.
    """
    below, above = rows[rows <= centre], rows[rows >= centre]
    if len(below) < 2 or len(above) < 2:
        return False
    others = max(int(np.diff(below).max()), int(np.diff(above).max()))
    return bool(above[0] - below[-1] > max(2 * others, _HOLLOW))


def lost_rows(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return rows that are missing from the lattice on which nearly all others lie; none without a lattice.

    Rows off the lattice are then one block without a gap, of calibration lines.

    Parameters
    ----------
    rows
        Rows that were acquired, in any order.
    """
    present = np.unique(rows)
    for distance in range(1, _DISTANCES + 1):
        offset = np.bincount(present % distance).argmax()
        lattice = np.arange(present[0] + (offset - present[0]) % distance, present[-1] + 1, distance)
        missing = np.setdiff1d(lattice, present, assume_unique=True)
        others = np.setdiff1d(present, lattice, assume_unique=True)
        first, last = (others[0], others[-1]) if len(others) else (present[-1] + 1, present[-1])
        gaps = (last - first + 1) - ((present >= first) & (present <= last)).sum()
        outside = ((lattice < first) | (lattice > last)).sum()
        if not gaps and len(missing) <= LOST * outside and outside >= _TELLING:
            return missing
    return present[:0]


def _missing(filled: Bools, short: Bools, cyclic: bool) -> Bools:
    """Return which lines (frame, s, row) are missing: those of the complete frames if these agree."""
    whole = filled[~short & filled.any(axis=(1, 2))]
    if not cyclic and short.any() and len(whole) and (whole == whole[0]).all():
        return np.asarray(whole[0] & ~filled)
    return missing_lines(filled, cyclic)


def _mostly_missing(filled: Bools, missing: Bools, short: Bools, centre: int) -> Bools:
    """Return which frames would be mostly filled from other frames, or have no k-space centre."""
    lacking, own = missing.sum(axis=(1, 2)), filled.sum(axis=(1, 2))
    rows = np.arange(filled.shape[2])
    around = (filled & (rows <= centre)).any(axis=(1, 2)) & (filled & (rows >= centre)).any(axis=(1, 2))
    return np.asarray((lacking > own) | (short & ~around))


def _fill(placed: Placed, missing: Bools, cyclic: bool, rows: int) -> None:
    """Fill missing lines of frames, in data and reference, and add warnings and facts."""
    furthest, repaired = 0, np.asarray(missing.any(axis=(1, 2)))
    if missing.any():
        placed.data, furthest = fill_missing(placed.data, missing, cyclic)
        placed.warnings.append(
            f"{int(missing.sum())} lines were not acquired in {placed.named(repaired)} and were taken from the "
            f"nearest frame that has them, up to {furthest} frames away."
        )
    if placed.reference_frames == placed.frames and len(placed.reference):
        lines = placed.reference.lines(placed.frames, placed.sets, rows)
        lacking = missing_lines(lines, cyclic) & repaired[:, None, None]
        placed.reference, distance = fill_missing(placed.reference, lacking, cyclic)
        furthest = max(furthest, distance)
    placed.facts["filled_from_frames_away"] = furthest


def _name(placed: Placed, frames: Bools, filled: Bools, missing: Bools, fate: str) -> None:
    """Warn of incomplete frames, if there are any."""
    if not frames.any():
        return
    counts = filled[frames].sum(axis=(1, 2))
    usual = int(np.median((filled | missing)[filled.any(axis=(1, 2))].sum(axis=(1, 2))))
    few = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    placed.warnings.append(f"{placed.named(frames)} is incomplete ({few} of {usual} lines) and was {fate}.")


def _keep(placed: Placed, kept: Bools) -> None:
    """Drop the other frames."""
    if not kept.any():
        raise ScanError("Every frame lacks lines. Set incomplete_phases of gadget 'sort' to keep or fill.")
    placed.facts["frames_dropped"] = int((~kept).sum())
    placed.data = drop_frames(placed.data, kept)
    placed.values = placed.values[kept]
    if placed.reference_frames == placed.frames:
        placed.reference = drop_frames(placed.reference, kept)
        placed.reference_frames = int(kept.sum())
    placed.frames = int(kept.sum())
