"""Order and time of all lines of a scan relative to the heartbeats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from onebreath.errors import ConfigError
from onebreath.simulation.options import EXTRA_LINES, ScanOptions
from onebreath.simulation.physiology import Rhythm, breathing_mm, rr_intervals
from onebreath.simulation.sampling import Lines, on_lattice, on_plane_lattice

FIRST_IN_SLICE, LAST_IN_SLICE, LAST_IN_REPETITION, LAST_IN_MEASUREMENT = 7, 8, 14, 25
CALIBRATION, CALIBRATION_AND_IMAGING = 20, 21
"""Flags of the ISMRMRD acquisition header, counted from 1."""

# Fraction of the RR interval at which calibration lines of a gated scan are acquired: mid-diastole.
_DIASTOLE = 0.6
# Displacements are rounded to invisibly small steps, so that the same body is not drawn twice.
_SHIFT_STEPS_PER_MM = 8


@dataclass(frozen=True)
class Line:
    """One acquisition of the image or calibration scan.

    Attributes
    ----------
    row
        Row in the matrix.
    slice, partition, phase, segment, average, repetition, set, contrast
        Counters of the acquisition header.
    flags
        Flags, counted from 1.
    time_ms, since_r_ms
        Time since the first R-wave of the scan, and since the last R-wave.
    cardiac_phase, shift_mm
        State of the body, the same for all lines of a segment (or of a frame where lines are not segmented).
    separate
        Whether the line belongs to a separate calibration scan.
    """

    row: int
    slice: int = 0
    partition: int = 0
    phase: int = 0
    segment: int = 0
    average: int = 0
    repetition: int = 0
    set: int = 0
    contrast: int = 0
    flags: tuple[int, ...] = ()
    time_ms: float = 0.0
    since_r_ms: float = 0.0
    cardiac_phase: float = 0.0
    shift_mm: float = 0.0
    separate: bool = False


@dataclass(frozen=True)
class _Burst:
    """Rows of one frame of one slice acquired in sequence; the body is frozen in its state at `middle_ms`."""

    start_ms: float
    middle_ms: float
    rows: np.ndarray
    line: Line
    step_ms: float


@dataclass(frozen=True)
class Schedule:
    """Lines in the order of time, the heartbeats, and the lines per segment."""

    lines: list[Line]
    rhythm: Rhythm
    segment_lines: int

    @property
    def frames(self) -> int:
        """Number of values of the phase counter."""
        return max(line.phase for line in self.lines) + 1


def is_extra(flags: tuple[int, ...]) -> bool:
    """Whether the flags of a line mark it as one of `EXTRA_LINES`."""
    return any(flag in EXTRA_LINES.values() for flag in flags)


def plan_schedule(options: ScanOptions, plan: Lines) -> Schedule:
    """All lines of a scan with their times, counters and flags.

    Raises
    ------
    ConfigError
        If the phases of a segmented scan do not fit into the RR interval.
    """
    size = segment_lines(options, plan)
    rhythm = _rhythm(options, plan, size)
    lines = [
        line
        for burst, origin in _bursts(options, plan, rhythm, size)
        for line in _lines_of(options, plan, rhythm, burst, origin)
    ]
    lines.sort(key=lambda line: (line.time_ms, line.contrast))
    lines = _with_boundary_flags(lines)
    return Schedule(_with_extra_lines(lines, options), rhythm, size)


def segment_lines(options: ScanOptions, plan: Lines) -> int:
    """Lines per phase and heartbeat; all lines of a frame where lines are not segmented.

    Raises
    ------
    ConfigError
        If the phases do not fit into the RR interval.
    """
    longest = max(rows.size for rows in plan.frames)
    if not options.segmented:
        return longest
    window = options.rr_ms * (0.95 if options.mode == "prospective" else 1.0)
    fitting = int(window / (options.phases * options.tr_ms))
    wanted = options.lines_per_segment or min(fitting, longest)
    if not 1 <= wanted <= fitting:
        raise ConfigError(
            f"Cannot simulate this scan: {options.phases} phases of {max(wanted, 1)} lines of {options.tr_ms} ms "
            f"do not fit into {window:.0f} ms of the RR interval; use fewer of them, or a shorter tr_ms."
        )
    return wanted


def frame_state(options: ScanOptions, schedule: Schedule, slice_lines: list[Line], frame: int) -> tuple[float, float]:
    """Cardiac phase and displacement (mm) in the image of a frame.

    Without segments these are the frame's own. With segments they are those at the frame's time after the R-wave of a
    heartbeat of mean length, with the organs as at the start of the slice.
    """
    if not options.segmented:
        line = next(line for line in slice_lines if line.phase == frame and CALIBRATION not in line.flags)
        return line.cardiac_phase, line.shift_mm
    regular = Rhythm(np.array([options.rr_ms, options.rr_ms]))
    return regular.heart(frame_time_ms(options, schedule.segment_lines, frame)), 0.0


def frame_time_ms(options: ScanOptions, size: int, frame: int) -> float:
    """Time of a frame in ms: after the R-wave with segments, after the start of the slice without."""
    if options.mode == "retrospective":
        return (frame + 0.5) * options.rr_ms / options.phases
    return (frame + 0.5) * size * options.tr_ms


def _rhythm(options: ScanOptions, plan: Lines, size: int) -> Rhythm:
    """Heartbeats of the scan, enough for any irregularity."""
    longest = max(rows.size for rows in plan.frames)
    units = options.slices * options.repetitions * options.averages * options.sets
    shots = -(-longest // size) * 4 + 4
    duration = options.phases * longest * options.tr_ms + plan.acs.size * options.tr_ms
    beats = shots if options.segmented else int(np.ceil(duration / (0.3 * options.rr_ms))) + 4
    return Rhythm(
        rr_intervals(units * beats + 4, options.rr_ms, options.rr_variability, options.ectopic_every, options.seed)
    )


def _bursts(options: ScanOptions, plan: Lines, rhythm: Rhythm, size: int) -> Iterator[tuple[_Burst, float]]:
    """Yield the bursts of the whole scan, each with the start time of its slice."""
    now = 0.0
    for repetition in range(options.repetitions):
        for group in _slice_groups(options):
            origin = now
            heads = [Line(0, slice=index, repetition=repetition) for index in group]
            for head in heads if options.acs_mode == "separate" and plan.acs.size else ():
                start = now if not options.segmented else rhythm.next_r_wave(now) + _DIASTOLE * options.rr_ms
                now = start + plan.acs.size * options.tr_ms
                yield _Burst(start, (start + now) / 2, plan.acs, replace(head, separate=True), options.tr_ms), origin
            for average in range(options.averages):
                for number in range(options.sets):
                    heads = [replace(head, average=average, set=number) for head in heads]
                    for burst in _measurement(options, plan, rhythm, size, heads, now):
                        yield burst, origin
                        now = max(now, burst.start_ms + burst.rows.size * burst.step_ms)


def _slice_groups(options: ScanOptions) -> list[list[int]]:
    """Groups of slices that are acquired together; the slice counter follows the order of time."""
    indices = list(range(options.slices))
    return [indices] if options.slice_order == "per_line" else [[index] for index in indices]


def _measurement(
    options: ScanOptions, plan: Lines, rhythm: Rhythm, size: int, heads: list[Line], start_ms: float
) -> Iterator[_Burst]:
    """Yield the bursts of one measurement of one slice, or of several alternating slices."""
    if options.segmented:
        yield from _gated(options, plan, rhythm, size, heads[0], start_ms)
        return
    now = start_ms
    for frame, rows in enumerate(plan.frames):
        step = options.tr_ms * len(heads)
        middle = now + 0.5 * rows.size * step
        for turn, head in enumerate(heads):
            yield _Burst(now + turn * options.tr_ms, middle, rows, replace(head, phase=frame), step)
        now += rows.size * step


def _gated(
    options: ScanOptions, plan: Lines, rhythm: Rhythm, size: int, head: Line, start_ms: float
) -> Iterator[_Burst]:
    """Yield the bursts of a segmented scan: one segment per phase and heartbeat."""
    duration = size * options.tr_ms
    now = start_ms
    shots = -(-max(rows.size for rows in plan.frames) // size)
    for shot in range(shots):
        trigger = rhythm.next_r_wave(now)
        phases = options.phases
        if options.mode == "retrospective":
            phases = max(int(rhythm.intervals_ms[rhythm.beat(trigger)] / duration), 1)
        for phase in range(phases):
            rows = plan.frames[phase % len(plan.frames)][shot::shots]
            line = replace(head, phase=phase, segment=shot)
            start = trigger + phase * duration
            yield _Burst(start, start + duration / 2, rows, line, options.tr_ms)
        now = trigger + phases * duration


def _lines_of(options: ScanOptions, plan: Lines, rhythm: Rhythm, burst: _Burst, origin_ms: float) -> Iterator[Line]:
    """Yield the lines of a burst; breathing is counted from `origin_ms`."""
    still = options.mode == "static"
    shift = breathing_mm(
        burst.middle_ms - origin_ms,
        options.breathing_drift_mm_per_s,
        options.breathing_amplitude_mm,
        options.breathing_period_s,
    )
    state = replace(
        burst.line,
        cardiac_phase=0.0 if still else rhythm.heart(burst.middle_ms),
        shift_mm=0.0 if still else round(float(shift) * _SHIFT_STEPS_PER_MM) / _SHIFT_STEPS_PER_MM,
    )
    for index, (partition, row) in enumerate(zip(*divmod(burst.rows, plan.matrix[1]), strict=True)):
        time = burst.start_ms + index * burst.step_ms
        flags = (
            (CALIBRATION,)
            if state.separate
            else _embedded_flags(options, plan, burst.line.phase, int(partition), int(row))
        )
        line = replace(
            state, row=int(row), partition=int(partition), time_ms=time, since_r_ms=rhythm.since_r(time), flags=flags
        )
        for contrast in range(1 if state.separate else options.contrasts):
            yield replace(line, contrast=contrast)


def _embedded_flags(options: ScanOptions, plan: Lines, frame: int, partition: int, row: int) -> tuple[int, ...]:
    """Flags of a line in an embedded calibration block; lines that also belong to the pattern are image lines too."""
    if options.acs_mode != "embedded" or plan.position(partition, row) not in plan.acs:
        return ()
    if options.partitions > 1:
        both = bool(on_plane_lattice(options, np.array(partition), np.array(row)))
        return (CALIBRATION_AND_IMAGING,) if both else (CALIBRATION,)
    if options.pattern == "vista" or on_lattice(options, frame, row, plan.centre):
        return (CALIBRATION_AND_IMAGING,)
    return (CALIBRATION,)


def _with_boundary_flags(lines: list[Line]) -> list[Line]:
    """Lines with the flags of the first and last image line of each slice and repetition, and of the measurement."""
    first: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], int] = {}
    last_of_repetition: dict[int, int] = {}
    for index, line in enumerate(lines):
        if line.separate:
            continue
        key = (line.repetition, line.slice)
        first.setdefault(key, index)
        last[key] = last_of_repetition[line.repetition] = index
    extra: dict[int, tuple[int, ...]] = {}
    for flag, indices in (
        (FIRST_IN_SLICE, first.values()),
        (LAST_IN_SLICE, last.values()),
        (LAST_IN_REPETITION, last_of_repetition.values()),
        (LAST_IN_MEASUREMENT, [len(lines) - 1]),
    ):
        for index in indices:
            extra[index] = (*extra.get(index, ()), flag)
    return [replace(line, flags=line.flags + extra.get(index, ())) for index, line in enumerate(lines)]


def _with_extra_lines(lines: list[Line], options: ScanOptions) -> list[Line]:
    """Lines with `EXTRA_LINES` inserted; these carry the counters of the line that follows."""
    result = []
    for index, line in enumerate(lines):
        if options.extra_lines and index % options.extra_every == 0:
            for kind in options.extra_lines:
                result.append(replace(line, flags=(EXTRA_LINES[kind],)))
        result.append(line)
    return result
