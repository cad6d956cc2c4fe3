"""Frames: the counter that numbers them, the lines of each, and the policies for missing lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ConfigError, ScanError
from onebreath.gadgets.sort.cine import Beats, find_beats, linear, nearest, standing
from onebreath.gadgets.sort.complete import Placed, complete, tell_of_averages
from onebreath.gadgets.sort.gating import gated_retrospectively, typical_phases
from onebreath.gadgets.sort.placement import Placement, by_counters, counts_of
from onebreath.gadgets.sort.survey import OWN_TIME, imaging_of
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import calibrates

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class FrameChoice:
    """Counters behind the axes of the messages, chosen once for the whole scan.

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
        Averages of imaging lines that are combined into one k-space, 1 if none are.
    combine
        Whether lines of one position are combined, however many averages a slice has.
    separate
        Whether the calibration lines belong to another time.
    warning
        What was decided against the counters, as a sentence.
    """

    frames: str
    sets: tuple[str, ...]
    keys: tuple[str, ...]
    phases: int
    averages: int
    combine: bool
    separate: bool
    warning: str = ""

    @classmethod
    def of(cls, header: ScanHeader, properties: Any, table: NDArray[np.void]) -> FrameChoice:
        """Choose the counters for the lines in `table` (line,), given the properties of `sort`.

        Raises
        ------
        ScanError
            If binning is wanted but the lines have no trigger stamps, or the number of phases is not known.
        """
        frames = properties.N_dimension if properties.N_dimension != "auto" else cls._auto(properties, table)
        if frames == properties.S_dimension != "none":
            raise ConfigError(
                f"N_dimension and S_dimension of gadget 'sort' are both {frames}: one counter cannot number two axes."
            )
        sets: tuple[str, ...] = () if properties.S_dimension == "none" else (properties.S_dimension,)
        if properties.S_dimension == "auto":
            sets = tuple(one for one in ("set", "contrast") if one != frames and not _readouts_differ(table, one))
        keys = [counter for counter in ("repetition", "set", "contrast") if counter not in (frames, *sets)]
        if frames not in ("phase", "physiology") and "phase" not in sets:
            keys.append("phase")
        combine = properties.averages == "combine" and "average" not in (frames, *sets)
        if not combine and "average" not in (frames, *sets):
            keys.append("average")
        phases = cls._phases(header, properties, table) if frames == "physiology" else 0
        imaged = table["idx"]["average"][imaging_of(table)]
        averages = int(np.unique(imaged).size) if combine else 1
        warning = ""
        if frames == "physiology" and properties.N_dimension == "auto" and not properties.phases:
            counted = bool(table["idx"]["phase"].any())
            why = "more phases in some heart beats than in others" if counted else "none, but rows come again and again"
            warning = (
                f"The counter phase counts {why}, so the scan was gated "
                f"retrospectively; its lines were binned into {phases} cardiac phases by their trigger stamps. "
                "Property phases of gadget 'sort' sets another number."
            )
        return cls(frames, sets, tuple(keys), phases, averages, combine, header.calibration_mode in OWN_TIME, warning)

    @staticmethod
    def _auto(properties: Any, table: NDArray[np.void]) -> str:
        if properties.phases:
            return "physiology"
        if gated_retrospectively(table, properties.time_tick):
            return "physiology"
        counters = ["phase"] if properties.trigger_dimension == "repetition" else ["phase", "repetition"]
        free = [counter for counter in counters if counter != properties.S_dimension]
        return next((counter for counter in free if np.unique(table["idx"][counter]).size > 1), "none")

    @staticmethod
    def _phases(header: ScanHeader, properties: Any, table: NDArray[np.void]) -> int:
        if not table["physiology_time_stamp"][:, 0].any():
            raise ScanError(
                "The lines cannot be binned into cardiac phases: physiology_time_stamp[0] is zero in all of them. Was "
                "the ECG connected? Else set N_dimension of gadget 'sort' to phase or repetition."
            )
        limits = header.limits("phase")
        phases = int(
            properties.phases or typical_phases(table, properties.time_tick) or (limits.maximum + 1 if limits else 0)
        )
        if phases < 2:
            raise ScanError(
                "The number of cardiac phases is not known: neither the lines nor the header's encoding limits count "
                "any. Set phases of gadget 'sort'."
            )
        return phases


def place_frames(
    choice: FrameChoice, properties: Any, table: NDArray[np.void], rows: Ints, imaging: Bools, centre: int
) -> Placed:
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
    centre
        Row of the k-space centre.
    """
    flagged = calibrates(table["flags"])
    s, sets = _sets(choice, table, imaging)
    if choice.frames == "physiology":
        placed = _bin(choice, properties, table, s, sets, rows, imaging, flagged)
    else:
        placed = _count(choice, table, s, sets, rows, imaging, flagged)
    if len(placed.reference) and choice.separate:
        chosen = np.flatnonzero(flagged)
        placed.reference, _ = by_counters(np.zeros_like(chosen), s[chosen], rows[chosen], chosen, 1)
        placed.reference_frames = 1
    return complete(placed, properties.incomplete_phases, choice.frames == "physiology", _matrix_rows(rows), centre)


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
    counts = counts_of(frame[lines], s[lines], rows[lines])
    counted = int(np.unique(table["idx"]["average"][lines]).size) if choice.combine else 1
    averages = int(np.bincount(np.minimum(counts[1], counted)).argmax()) if len(lines) else 1
    data, repeated = by_counters(frame[lines], s[lines], rows[lines], lines, averages)
    reference, _ = by_counters(frame[calibration], s[calibration], rows[calibration], calibration, averages)
    facts = {"frames_from": choice.frames, "averages_combined": averages, "repeated_lines_averaged": repeated}
    counter = "" if choice.frames == "none" else choice.frames
    values = np.unique(counters[0][imaging]).astype(np.int64) if counters else np.zeros(1, np.int64)
    placed = Placed(data, reference, frames, frames, sets, counter, values, facts)
    tell_of_averages(placed, *counts, averages, counted)
    return placed


def _sets(choice: FrameChoice, table: NDArray[np.void], imaging: Bools) -> tuple[Ints, int]:
    """Number the sets (line,) of imaging lines; calibration lines of a set without any of these are of the first."""
    if not choice.sets:
        return np.zeros(len(table), np.int64), 1
    columns = np.stack([table["idx"][counter] for counter in choice.sets]).astype(np.int64)
    values = np.unique(columns[:, imaging], axis=1)
    same = (columns[:, :, None] == values[:, None, :]).all(axis=0)
    return np.where(same.any(axis=1), same.argmax(axis=1), 0).astype(np.int64), values.shape[1]


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
    lost = standing(since, time, properties.time_tick)
    lost &= not lost.all()
    beats = find_beats(since[~lost], time[~lost], properties.arrhythmia_rejector_factor)
    fraction, accepted = np.zeros(len(table)), np.ones(len(table), bool)
    fraction[order[~lost]], accepted[order] = beats.fraction, False
    accepted[order[~lost]] = beats.accepted_lines
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
    placed = Placed(data, binned(flagged), choice.phases, choice.phases, sets, "phase", np.arange(choice.phases), facts)
    if lost.any():
        placed.warnings.append(
            f"{int(lost.sum())} of {len(lost)} lines have a trigger stamp that stands still: was the ECG lost? They "
            "were left out, but for those that are the only ones of their row."
        )
    if not beats.accepted.all():
        used = int((rescued & imaging).sum())
        placed.warnings.append(
            f"{int((~beats.accepted).sum())} of {len(beats.rr)} heart beats were left out: their RR deviates by more "
            f"than {properties.arrhythmia_rejector_factor:.0%} from the median of {np.median(beats.rr):.0f} ms"
            + (f"; {used} of their lines were used, as no other beat has their rows." if used else ".")
        )
    return placed


def _beat_facts(beats: Beats) -> dict[str, Any]:
    return {
        "beats": len(beats.rr),
        "beats_rejected": int((~beats.accepted).sum()),
        "rr_median_ms": round(float(np.median(beats.rr)), 1),
        "rr_range_ms": f"{beats.rr.min():.0f}..{beats.rr.max():.0f}",
    }


def _only_in_rejected(s: Ints, rows: Ints, imaging: Bools, accepted: Bools) -> Bools:
    """Return which lines of rejected beats are the only ones of their row."""
    held = np.zeros((int(s.max()) + 1, int(rows.max()) + 1), bool)
    good = accepted & imaging
    held[s[good], rows[good]] = True
    return ~accepted & ~held[s, rows]


def _variance(placed: Placement) -> NDArray[np.float64]:
    """Noise variance of each position, for lines with variance 1."""
    _, position = np.unique(np.stack([placed.frame, placed.s, placed.row]), axis=1, return_inverse=True)
    variance: NDArray[np.float64] = np.bincount(position.reshape(-1), placed.weight**2).astype(np.float64)
    return variance


def _number(counters: list[NDArray[Any]], lines: int) -> tuple[Ints, int]:
    """Number the combinations of counter values (line,) in order; return the numbers and their count."""
    if not counters:
        return np.zeros(lines, np.int64), 1
    values, number = np.unique(np.stack(counters), axis=1, return_inverse=True)
    return number.reshape(-1).astype(np.int64), values.shape[1]


def _readouts_differ(table: NDArray[np.void], counter: str) -> bool:
    """Return whether the measured part of the readout differs between values of a counter (bipolar echoes)."""
    imaging = table[imaging_of(table)]
    names = ("number_of_samples", "center_sample", "discard_pre", "discard_post")
    forms = np.unique(np.stack([imaging["idx"][counter], *(imaging[name] for name in names)]), axis=1)
    per_value = [forms[1:, forms[0] == value] for value in np.unique(forms[0])]
    return any(not np.array_equal(per_value[0], other) for other in per_value[1:])


def _matrix_rows(rows: Ints) -> int:
    return int(rows.max()) + 1
