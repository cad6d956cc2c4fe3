"""Cardiac binning: heart beats from trigger stamps, arrhythmia rejection, lines to cardiac phases. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onebreath.gadgets.sort.placement import Placement

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PAUSE = 0.5
"""A gap without lines of more than this part of a beat hides when the beat ended (a pause between breath-holds)."""

_STANDS = 10
"""Ticks over which a running stamp never stays the same."""

_SPARSE = 2.5
"""Lines of one row further apart than this many times their usual distance are not interpolated between."""


@dataclass(frozen=True)
class Beats:
    """Heart beats of one slice.

    Parameters
    ----------
    of_line : (line,) int
        Beat in which each line was acquired.
    rr : (beat,) float
        Duration of each beat, in the unit of the stamps; the median where the end of the beat was not observed.
    accepted : (beat,) bool
        False for beats whose duration deviates too much from the median.
    fraction : (line,) float
        Cardiac phase of each line, 0 at the R-wave, below 1.
    """

    of_line: Ints
    rr: Floats
    accepted: NDArray[np.bool_]
    fraction: Floats

    @property
    def accepted_lines(self) -> NDArray[np.bool_]:
        """Lines of accepted beats (line,)."""
        return self.accepted[self.of_line]


def find_beats(since_trigger: Floats, time: Floats, rejector_factor: float) -> Beats:
    """Find heart beats in the stamps of lines given in the order of their acquisition.

    A beat begins where the time since the R-wave falls; its duration is the time to the next beat's R-wave. If the time
    of acquisition was not recorded, beats are taken to follow each other without a gap.

    Parameters
    ----------
    since_trigger : (line,)
        Time since the last R-wave.
    time : (line,)
        Time of acquisition in the same unit; the same for all lines if it was not recorded.
    rejector_factor
        A beat is rejected if its duration is outside ``(1 +- rejector_factor)`` times the median duration.
    """
    of_line = np.concatenate([[0], np.cumsum(np.diff(since_trigger) < 0)]).astype(np.int64)
    first = np.flatnonzero(np.diff(of_line, prepend=-1))
    last = np.append(first[1:], of_line.size) - 1
    if np.ptp(time) == 0:
        ends = np.cumsum(since_trigger[last] + _step(since_trigger))
        time = since_trigger + np.concatenate([[0.0], ends[:-1]])[of_line]
    r_wave = time[first] - since_trigger[first]
    longest = since_trigger[last]
    rr = np.append(np.diff(r_wave), np.nan)
    typical = float(np.nanmedian(rr)) if rr.size > 1 else float(longest[0]) + _step(time)
    silence = np.append(r_wave[1:] - time[last[:-1]], 0.0)
    rr[silence > _PAUSE * typical] = np.nan
    known = rr[np.isfinite(rr)]
    typical = float(np.median(known)) if known.size else typical
    rr = np.where(np.isfinite(rr), rr, np.maximum(typical, longest))
    accepted = np.abs(rr - typical) <= rejector_factor * typical
    fraction = np.minimum(since_trigger / np.maximum(rr, 1e-9)[of_line], np.nextafter(1.0, 0.0))
    return Beats(of_line, rr, accepted, fraction)


def standing(since_trigger: Floats, time: Floats, tick: float) -> NDArray[np.bool_]:
    """Return which lines (line,) have a stamp that stands still while time goes on: their ECG was lost.

    Parameters
    ----------
    since_trigger, time
        As in `find_beats`.
    tick
        Resolution of the stamps, in their unit.
    """
    run = np.concatenate([[0], np.cumsum(np.diff(since_trigger) != 0)])
    first = np.flatnonzero(np.diff(run, prepend=-1))
    last = np.append(first[1:], run.size) - 1
    return np.asarray((time[last] - time[first] > _STANDS * tick)[run])


def nearest(fraction: Floats, s: Ints, row: Ints, phases: int) -> Placement:
    """Assign to each cardiac phase, set and row the line acquired closest to the middle of the phase.

    One line is used, not the mean of several: whitened noise stays white, and motion is not blurred.
    """
    position = fraction * phases
    frame = np.minimum(position.astype(np.int64), phases - 1)
    order = np.lexsort((np.abs(position - frame - 0.5), row, s, frame))
    positions = np.stack([frame, s, row])[:, order]
    chosen = order[np.any(np.diff(positions, axis=1, prepend=-1), axis=0)] if order.size else order
    return Placement(frame[chosen], s[chosen], row[chosen], chosen, np.ones(chosen.size))


def linear(fraction: Floats, s: Ints, row: Ints, phases: int) -> Placement:
    """Interpolate each row between its two lines next to the middle of each cardiac phase, over the R-wave too.

    Where the two are too far apart, the nearer one serves if it lies within the phase, else nothing.
    """
    middle = (np.arange(phases) + 0.5) / phases
    parts = []
    for s_row in np.unique(np.stack([s, row]), axis=1).T:
        lines = np.flatnonzero((s == s_row[0]) & (row == s_row[1]))
        lines = lines[np.argsort(fraction[lines], kind="stable")]
        times = fraction[lines]
        after = np.searchsorted(times, middle) % lines.size
        before = after - 1
        to_before, to_after = (middle - times[before]) % 1, (times[after] - middle) % 1
        gap = to_before + to_after
        intervals = np.diff(times, append=times[0] + 1)
        apart = (gap > _SPARSE * np.median(intervals)) | (lines.size == 1)
        weight = np.where(apart, to_after < to_before, to_before / np.where(gap > 0, gap, 1))
        empty = apart & (np.minimum(to_before, to_after) > 0.5 / phases)
        for line, share in ((lines[before], 1 - weight), (lines[after], weight)):
            used = (share > 0) & ~empty
            frames = np.flatnonzero(used)
            same = np.ones_like(frames)
            parts.append(Placement(frames, s_row[0] * same, s_row[1] * same, line[used], share[used]))
    return Placement.joined(parts)


def _step(time: Floats) -> float:
    """Return the median time between lines."""
    return max(float(np.median(np.diff(time))), 0.0) if time.size > 1 else 1.0
