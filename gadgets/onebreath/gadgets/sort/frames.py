"""Frames: which counter numbers them, and which line goes into which; with the policies for what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.gadgets.sort.cine import Beats, find_beats, linear, nearest
from onebreath.gadgets.sort.placement import Placement, by_counters, drop_frames, expected_lines, fill_missing
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING, bit

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SEPARATE = ("separate", "external")
"""Calibration modes whose lines come from another time than the images, so that they have no frames of the data."""


@dataclass(frozen=True)
class FrameChoice:
    """What the axes of the messages are, decided once for the whole scan.

    Parameters
    ----------
    frames
        Counter of axis N, ``physiology`` or ``none``.
    sets
        Counters of axis S.
    keys
        Counters that get messages of their own.
    phases
        Cardiac phases to bin into; 0 without binning.
    averages
        Averages that are combined into one k-space.
    separate
        Whether the calibration lines belong to another time.
    """

    frames: str
    sets: tuple[str, ...]
    keys: tuple[str, ...]
    phases: int
    averages: int
    separate: bool

    @classmethod
    def of(cls, header: ScanHeader, properties: Any, table: NDArray[np.void]) -> FrameChoice:
        """Choose for the lines in `table` (line,), given the properties of `sort`.

        Raises
        ------
        ScanError
            If binning is wanted but the lines have no trigger stamps, or the number of phases is not known.
        """
        frames = properties.N_dimension if properties.N_dimension != "auto" else cls._auto(properties, table)
        sets: tuple[str, ...] = () if properties.S_dimension == "none" else (properties.S_dimension,)
        if properties.S_dimension == "auto":
            sets = tuple(counter for counter in ("set", "contrast") if counter != frames)
        keys = [counter for counter in ("repetition", "set", "contrast") if counter not in (frames, *sets)]
        if frames not in ("phase", "physiology") and "phase" not in sets:
            keys.append("phase")
        combine = properties.averages == "combine" and "average" not in (frames, *sets)
        if not combine and "average" not in (frames, *sets):
            keys.append("average")
        phases = cls._phases(header, properties, table) if frames == "physiology" else 0
        averages = int(np.unique(table["idx"]["average"]).size) if combine else 1
        return cls(frames, sets, tuple(keys), phases, averages, header.calibration_mode in _SEPARATE)

    @staticmethod
    def _auto(properties: Any, table: NDArray[np.void]) -> str:
        if properties.phases:
            return "physiology"
        counters = ["phase"] if properties.trigger_dimension == "repetition" else ["phase", "repetition"]
        return next((counter for counter in counters if np.unique(table["idx"][counter]).size > 1), "none")

    @staticmethod
    def _phases(header: ScanHeader, properties: Any, table: NDArray[np.void]) -> int:
        if not table["physiology_time_stamp"][:, 0].any():
            raise ScanError(
                "The lines cannot be binned into cardiac phases: physiology_time_stamp[0] is zero in all of them. Was "
                "the ECG connected? Else set N_dimension of gadget 'sort' to phase or repetition."
            )
        limits = header.limits("phase")
        phases = int(properties.phases or _typical_phases(table) or (limits.maximum + 1 if limits else 0))
        if phases < 2:
            raise ScanError(
                "The number of cardiac phases is not known: neither the lines nor the header's encoding limits count "
                "any. Set phases of gadget 'sort'."
            )
        return phases


@dataclass
class Placed:
    """Where the lines of one message go.

    Parameters
    ----------
    data, reference
        The imaging lines, and the calibration lines.
    frames, reference_frames, sets
        Lengths of axis N of either, and of axis S.
    facts
        What was found and decided, for the note.
    """

    data: Placement
    reference: Placement
    frames: int
    reference_frames: int
    sets: int
    facts: dict[str, Any] = field(default_factory=dict)


def place_frames(choice: FrameChoice, properties: Any, table: NDArray[np.void], rows: Ints, imaging: Bools) -> Placed:
    """Place the lines of one message.

    Parameters
    ----------
    choice
        The axes.
    properties
        The properties of `sort`.
    table
        Headers (line,).
    rows
        Row of each line (line,).
    imaging
        Whether each line is an imaging line (line,).
    """
    flagged = table["flags"] & (bit(CALIBRATION) | bit(CALIBRATION_AND_IMAGING)) != 0
    s, sets = _number([table["idx"][counter] for counter in choice.sets], len(table))
    if choice.frames == "physiology":
        placed = _bin(choice, properties, table, s, sets, rows, imaging, flagged)
    else:
        placed = _count(choice, table, s, sets, rows, imaging, flagged)
    if len(placed.reference) and choice.separate:
        chosen = np.flatnonzero(flagged)
        placed.reference, _ = by_counters(np.zeros_like(chosen), s[chosen], rows[chosen], chosen, 1)
        placed.reference_frames = 1
    return _complete(placed, properties.incomplete_phases, choice.frames == "physiology", _matrix_rows(rows))


def _count(
    choice: FrameChoice, table: NDArray[np.void], s: Ints, sets: int, rows: Ints, imaging: Bools, flagged: Bools
) -> Placed:
    """Number the frames by a counter."""
    counters = [] if choice.frames == "none" else [table["idx"][choice.frames]]
    numbers, frames = _number([counter[imaging] for counter in counters], int(imaging.sum()))
    frame = np.zeros(len(table), np.int64)
    frame[imaging] = numbers
    if counters and not imaging.all():
        values = np.unique(counters[0][imaging])
        frame[~imaging] = np.minimum(np.searchsorted(values, counters[0][~imaging]), frames - 1)
    lines, calibration = np.flatnonzero(imaging), np.flatnonzero(flagged)
    data, repeated = by_counters(frame[lines], s[lines], rows[lines], lines, choice.averages)
    reference, _ = by_counters(frame[calibration], s[calibration], rows[calibration], calibration, choice.averages)
    facts = {"frames_from": choice.frames, "averages_combined": choice.averages, "repeated_lines_averaged": repeated}
    return Placed(data, reference, frames, frames, sets, facts)


def _bin(
    choice: FrameChoice,
    properties: Any,
    table: NDArray[np.void],
    s: Ints,
    sets: int,
    rows: Ints,
    imaging: Bools,
    flagged: Bools,
) -> Placed:
    """Bin into cardiac phases, without the beats of an arrhythmia."""
    timed = np.flatnonzero(imaging if choice.separate else imaging | flagged)
    order = timed[np.lexsort((table["scan_counter"][timed], table["acquisition_time_stamp"][timed]))]
    since = table["physiology_time_stamp"][order, 0].astype(float) * properties.time_tick
    time = table["acquisition_time_stamp"][order].astype(float) * properties.time_tick
    beats = find_beats(since, time, properties.arrhythmia_rejector_factor)
    fraction, accepted = np.zeros(len(table)), np.ones(len(table), bool)
    fraction[order], accepted[order] = beats.fraction, beats.accepted_lines
    rescued = _only_in_rejected(s, rows, imaging, accepted)
    place = nearest if properties.binning == "nearest" else linear

    def binned(wanted: Bools) -> Placement:
        lines = np.flatnonzero(wanted & (accepted | rescued))
        found = place(fraction[lines], s[lines], rows[lines], choice.phases)
        return Placement(found.frame, found.s, found.row, lines[found.line], found.weight)

    data = binned(imaging)
    facts = {
        "frames_from": f"trigger stamps, {properties.binning}",
        "lines_used": int(np.unique(data.line).size),
        "noise_std": round(float(np.sqrt(np.mean(_variance(data)))), 4),
        **_beat_facts(beats),
        "lines_of_rejected_beats_used": int((rescued & imaging).sum()),
    }
    return Placed(data, binned(flagged), choice.phases, choice.phases, sets, facts)


def _beat_facts(beats: Beats) -> dict[str, Any]:
    return {
        "beats": len(beats.rr),
        "beats_rejected": int((~beats.accepted).sum()),
        "rr_median_ms": round(float(np.median(beats.rr)), 1),
        "rr_range_ms": f"{beats.rr.min():.0f}..{beats.rr.max():.0f}",
    }


def _only_in_rejected(s: Ints, rows: Ints, imaging: Bools, accepted: Bools) -> Bools:
    """Tell which lines of rejected beats are the only ones of their row: without them the row lacks in every phase."""
    held = np.zeros((int(s.max()) + 1, int(rows.max()) + 1), bool)
    good = accepted & imaging
    held[s[good], rows[good]] = True
    return ~accepted & ~held[s, rows]


def _variance(placed: Placement) -> NDArray[np.float64]:
    """Noise variance of each place, for lines with variance 1."""
    _, place = np.unique(np.stack([placed.frame, placed.s, placed.row]), axis=1, return_inverse=True)
    variance: NDArray[np.float64] = np.bincount(place.reshape(-1), placed.weight**2).astype(np.float64)
    return variance


def _complete(placed: Placed, policy: str, cyclic: bool, rows: int) -> Placed:
    """Apply the policy for frames that lack lines which most frames have; frames without any line are never kept."""
    filled = placed.data.lines(placed.frames, placed.sets, rows)
    missing = expected_lines(filled) & ~filled
    incomplete, used = np.any(missing, axis=(1, 2)), np.any(filled, axis=(1, 2))
    placed.facts["incomplete_frames"] = int(incomplete.sum())
    placed.facts["missing_lines"] = int(missing.sum())
    if not incomplete.any():
        return placed
    if policy == "error":
        first = int(np.flatnonzero(incomplete)[0])
        raise ScanError(
            f"{int(incomplete.sum())} of {placed.frames} frames lack lines that most frames have (frame {first}: rows "
            f"{', '.join(str(row) for row in np.unique(np.nonzero(missing[first])[1])[:8])}). Repeat the scan, ask for "
            "fewer phases, or set incomplete_phases of gadget 'sort' to keep, fill or drop."
        )
    placed.facts["incomplete_frames_policy"] = policy
    if policy == "fill":
        placed.facts["filled_from_frames_away"] = _fill(placed, used, cyclic, rows)
    _keep(placed, used if policy != "drop" else np.asarray(used & ~incomplete))
    return placed


def _fill(placed: Placed, used: Bools, cyclic: bool, rows: int) -> int:
    """Fill what the used frames lack, in data and reference; return the largest distance in frames."""
    furthest = 0
    for name in ("data", "reference") if placed.reference_frames == placed.frames else ("data",):
        table = getattr(placed, name)
        lines = table.lines(placed.frames, placed.sets, rows)
        repaired, distance = fill_missing(table, expected_lines(lines) & ~lines & used[:, None, None], cyclic)
        setattr(placed, name, repaired)
        furthest = max(furthest, distance)
    return furthest


def _keep(placed: Placed, kept: Bools) -> None:
    """Drop the other frames."""
    if not kept.any():
        raise ScanError("Every frame lacks lines. Set incomplete_phases of gadget 'sort' to keep or fill.")
    placed.facts["frames_dropped"] = int((~kept).sum())
    placed.data = drop_frames(placed.data, kept)
    if placed.reference_frames == placed.frames:
        placed.reference = drop_frames(placed.reference, kept)
        placed.reference_frames = int(kept.sum())
    placed.frames = int(kept.sum())


def _number(counters: list[NDArray[Any]], lines: int) -> tuple[Ints, int]:
    """Number the combinations of values that some counters (line,) take, in order; and how many there are."""
    if not counters:
        return np.zeros(lines, np.int64), 1
    values, number = np.unique(np.stack(counters), axis=1, return_inverse=True)
    return number.reshape(-1).astype(np.int64), values.shape[1]


def _typical_phases(table: NDArray[np.void]) -> int:
    """Phases that were counted for most rows; 0 if none were. The largest count would be that of the longest beat."""
    imaging = table["idx"][table["flags"] & bit(CALIBRATION) == 0]
    row_phase = np.unique(np.stack([imaging["slice"], imaging["kspace_encode_step_1"], imaging["phase"]]), axis=1)
    _, counts = np.unique(row_phase[:2], axis=1, return_counts=True)
    typical = int(np.median(counts)) if counts.size else 0
    return typical if typical > 1 else 0


def _matrix_rows(rows: Ints) -> int:
    return int(rows.max()) + 1
