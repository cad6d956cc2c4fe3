"""Data of a scan's lines from the states of the body, and their ground truth; for slices and slabs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from onebreath.simulation.options import ScanOptions
from onebreath.simulation.sampling import Lines, Readout
from onebreath.simulation.schedule import CALIBRATION, CALIBRATION_AND_IMAGING, Schedule, frame_time_ms, is_extra
from onebreath.terminal import steps

Encoder: TypeAlias = Callable[[int, float, float, np.ndarray], np.ndarray]
"""Function from slice, cardiac phase, displacement (mm) and positions (line,) to lines (line, coil, sample)."""


def line_signals(
    options: ScanOptions,
    plan: Lines,
    readout: Readout,
    schedule: Schedule,
    factors: tuple[np.ndarray, np.ndarray],
    encoded: Encoder,
) -> np.ndarray:
    """Noise-free data of all lines ``(line, coil, sample)`` complex64; the object is drawn once for each state.

    Parameters
    ----------
    options, plan, readout, schedule
        The scan, its positions, its samples and its lines.
    factors
        Complex factors of the sets and of the contrasts.
    encoded
        Function that draws and encodes the object.
    """
    data = np.empty((len(schedule.lines), options.coils, readout.samples), np.complex64)
    states: dict[tuple[int, float, float], list[int]] = {}
    for index, line in enumerate(schedule.lines):
        states.setdefault((line.slice, line.cardiac_phase, line.shift_mm), []).append(index)
    sets, contrasts = factors
    for state, indices in steps(states.items(), "simulating", unit="states"):
        lines = [schedule.lines[index] for index in indices]
        # Lines other than image lines hold a strong echo, which is visible if they are mistaken for image lines.
        positions = [
            plan.centre_position if is_extra(line.flags) else plan.position(line.partition, line.row) for line in lines
        ]
        weights = np.array([sets[line.set] * contrasts[line.contrast] for line in lines])
        data[indices] = encoded(*state, np.array(positions)) * weights[:, None, None]
    return data


def line_truth(options: ScanOptions, schedule: Schedule) -> dict[str, np.ndarray]:
    """Masks and times of the lines; see `SimulatedScan.truth`."""
    mask = np.zeros((options.slices, schedule.frames, options.encoded_partitions, options.matrix[0]), bool)
    calibration = np.zeros_like(mask)
    for line in schedule.lines:
        if is_extra(line.flags):
            continue
        key = (line.slice, line.phase, line.partition, line.row)
        mask[key] |= CALIBRATION not in line.flags
        calibration[key] |= CALIBRATION in line.flags or CALIBRATION_AND_IMAGING in line.flags
    if options.partitions == 1:
        mask, calibration = mask[:, :, 0], calibration[:, :, 0]
    last = schedule.rhythm.beat(schedule.lines[-1].time_ms)
    times = [frame_time_ms(options, schedule.segment_lines, frame) for frame in range(options.phases)]
    return {
        "mask": mask,
        "calibration_mask": calibration,
        "frame_times_ms": np.array(times),
        "rr_intervals_ms": schedule.rhythm.intervals_ms[: last + 1],
    }
