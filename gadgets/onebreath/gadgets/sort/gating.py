"""Whether a scan was gated retrospectively, into how many cardiac phases its lines fall, and scans over midnight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onebreath.gadgets.sort.cine import find_beats
from onebreath.gadgets.sort.collected import Lines
from onebreath.gadgets.sort.survey import imaging_of
from onebreath.mrd.lines import DAY_MS

Ints = NDArray[np.int64]

_FEWEST = 4
"""Phases that a row must come in, in most heart beats, for lines without a phase counter to be of a gated scan."""
_PAUSE_MS = 3_600_000
"""A scan has no longer pause; stamps that fall without having been that near to midnight are no times of a day."""
_ONE_IMAGE = ("repetition", "set", "contrast", "average")


def over_midnight(counter: Ints, stamp: Ints, tick_ms: float, latest: int | None) -> Ints | None:
    """Return time stamps (line,) that go on where the scanner's clock begins again at 0; None if it does not.

    Parameters
    ----------
    counter, stamp
        Scan counter, by which the lines are in the order of their acquisition, and time stamp of each line (line,).
    tick_ms
        Unit of the stamps in ms.
    latest
        The last stamp of lines before these, which goes on already; None without any.
    """
    order = np.argsort(counter, kind="stable")
    in_order = stamp[order] if latest is None else np.append(latest, stamp[order])
    day, steps = round(DAY_MS / tick_ms), np.diff(in_order)
    falls = np.flatnonzero(2 * steps < -day)
    if falls.size != 1 or (2 * steps > day).any() or not 0 <= steps[falls[0]] + day <= _PAUSE_MS / tick_ms:
        return None
    first = int(falls[0]) + (latest is None)
    found = stamp.copy()
    found[order[first:]] += day
    return found


def go_on_over_midnight(slices: Sequence[Lines], tick_ms: float, latest: int | None) -> tuple[str, int]:
    """Have the time stamps of all lines go on over midnight; see `over_midnight` for the parameters.

    Returns
    -------
    warning
        What was done; empty if nothing.
    latest
        The last stamp.
    """
    table = np.concatenate([lines.table() for lines in slices])
    stamps = table["acquisition_time_stamp"].astype(np.int64)
    found = over_midnight(table["scan_counter"].astype(np.int64), stamps, tick_ms, latest)
    last = int(np.argmax(table["scan_counter"]))
    if found is None:
        return "", int(stamps[last])
    for lines, own in zip(slices, np.split(found, np.cumsum([len(lines) for lines in slices])[:-1]), strict=True):
        lines.stamp_anew(own)
    return (
        "The scan went on over midnight, where the scanner's clock begins again: the time stamps of the lines after "
        "midnight (acquisition_time_stamp) were raised by one day, so that they go on."
    ), int(found[last])


def typical_phases(table: NDArray[np.void], tick_ms: float) -> int:
    """Phases that were counted for most rows; 0 if none were. The largest count would be that of the longest beat.

    If the phase counter counts none, they are the lines of a row within a heart beat whose counters are all the same.
    """
    lines = table[imaging_of(table)]
    if lines["idx"]["phase"].any():
        idx = lines["idx"]
        columns = np.stack([idx["slice"], idx["kspace_encode_step_1"], idx["phase"]])
        _, counts = np.unique(np.unique(columns, axis=1)[:2], axis=1, return_counts=True)
    else:
        counts = np.concatenate(
            [
                np.zeros(0, np.int64),
                *(
                    _within_beats(lines[lines["idx"]["slice"] == number], tick_ms)
                    for number in np.unique(lines["idx"]["slice"])
                ),
            ]
        )
    typical = int(np.median(counts)) if counts.size else 0
    return typical - typical % 2 if typical > 1 else 0


def _within_beats(lines: NDArray[np.void], tick_ms: float) -> NDArray[np.int64]:
    """Count the lines of each row in each whole heart beat of one slice."""
    lines, beats = _in_beats(lines, tick_ms)
    whole = (beats > 0) & (beats < beats.max())
    idx = lines["idx"][whole]
    names = ("kspace_encode_step_1", "kspace_encode_step_2", *_ONE_IMAGE)
    return np.asarray(
        np.unique(np.stack([beats[whole], *(idx[name] for name in names)]), axis=1, return_counts=True)[1]
    )


def _in_beats(lines: NDArray[np.void], tick_ms: float) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Lines in the order of their acquisition, and the heart beat of each."""
    lines = lines[np.lexsort((lines["scan_counter"], lines["acquisition_time_stamp"]))]
    since, time = (lines[name].astype(float) * tick_ms for name in ("physiology_time_stamp", "acquisition_time_stamp"))
    return lines, find_beats(since[:, 0], time, 1.0).of_line


def gated_retrospectively(table: NDArray[np.void], tick_ms: float) -> bool:
    """Return whether the phases start again with each heart beat, and how many there are depends on the beat.

    The first and the last beat of a slice may be cut; of the others two must differ, or one be longer than most. Where
    no phases are counted, most rows must come several times within a beat, with all their counters the same.
    """
    imaging = table[imaging_of(table)]
    if not imaging["physiology_time_stamp"][:, 0].any():
        return False
    if not imaging["idx"]["phase"].any():
        return typical_phases(table, tick_ms) >= _FEWEST
    lengths = _phases_in_beats(imaging, tick_ms)
    if not lengths:
        return False
    usual = _usual(lengths)
    return max(lengths) > usual or sum(length != usual for length in lengths) > 1


def irregular(table: NDArray[np.void], tick_ms: float) -> bool:
    """Return whether a heart beat has other phases than most: with beats of other slices it may be a gated scan."""
    imaging = table[imaging_of(table)]
    stamped = bool(imaging["physiology_time_stamp"][:, 0].any())
    lengths = _phases_in_beats(imaging, tick_ms) if stamped else []
    return any(length != _usual(lengths) for length in lengths)


def _phases_in_beats(imaging: NDArray[np.void], tick_ms: float) -> list[int]:
    """Count the phases of each whole heart beat of each slice; none if they do not start again with each beat."""
    lengths: list[int] = []
    for number in np.unique(imaging["idx"]["slice"]):
        lines, beats = _in_beats(imaging[imaging["idx"]["slice"] == number], tick_ms)
        for beat in range(1, int(beats.max())):
            phases = lines["idx"]["phase"][beats == beat]
            if phases.min() > 0:
                return []
            lengths.append(int(phases.max()) + 1)
    return lengths


def _usual(lengths: list[int]) -> int:
    return int(np.bincount(lengths).argmax())
