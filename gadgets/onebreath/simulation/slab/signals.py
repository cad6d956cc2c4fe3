"""Simulated scans with partitions: one slab, excited and encoded as a whole."""

from __future__ import annotations

import numpy as np

from onebreath.simulation.encoding import Receiver, crop_readout, encode_volume, slab_profile
from onebreath.simulation.options import EXTRA_LINES, ScanOptions
from onebreath.simulation.phantom import Phantom
from onebreath.simulation.sampling import Lines, Readout
from onebreath.simulation.schedule import CALIBRATION, CALIBRATION_AND_IMAGING, Schedule, frame_state, frame_time_ms


def partition_heights(options: ScanOptions) -> np.ndarray:
    """Heights (z,) of the encoded partitions in mm; the middle one, ``n // 2``, is that of the slab."""
    return (np.arange(options.encoded_partitions) - options.encoded_partitions // 2) * options.thickness_mm


def volume_signals(
    options: ScanOptions,
    plan: Lines,
    readout: Readout,
    schedule: Schedule,
    phantom: Phantom,
    heights: np.ndarray,
    receiver: Receiver,
    factors: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Noise-free data of all lines ``(line, coil, sample)`` complex64; the slab is drawn once for each state."""
    data = np.empty((len(schedule.lines), options.coils, readout.samples), np.complex64)
    states: dict[tuple[float, float], list[int]] = {}
    for index, line in enumerate(schedule.lines):
        states.setdefault((line.cardiac_phase, line.shift_mm), []).append(index)
    maps = receiver.maps.swapaxes(0, 1)
    for state, indices in states.items():
        lines = [schedule.lines[index] for index in indices]
        places = [
            plan.centre_place if is_extra(line.flags) else line.partition * plan.matrix[1] + line.row for line in lines
        ]
        kspace = encode_volume(maps * _slab(phantom, heights, *state), np.array(places), readout)
        weights = np.array([factors[0][line.set] * factors[1][line.contrast] for line in lines])
        data[indices] = kspace * weights[:, None, None]
    return data


def volume_truth(
    options: ScanOptions, schedule: Schedule, phantom: Phantom, heights: np.ndarray, receiver: Receiver
) -> dict[str, np.ndarray]:
    """Return the ground truth of the scan; see `SimulatedScan.truth`."""
    columns, partitions = options.matrix[1], options.partitions
    first = options.encoded_partitions // 2 - partitions // 2
    kept = slice(first, first + partitions)
    shading = np.stack([receiver.shading(z) for z in range(len(heights))])
    image = np.empty((1, options.phases, partitions, *options.matrix), np.complex64)
    for frame in range(options.phases):
        state = frame_state(options, schedule, schedule.lines, frame)
        image[0, frame] = crop_readout(_slab(phantom, heights, *state) * shading, columns)[kept]
    mask = np.zeros((1, schedule.frames, options.encoded_partitions, options.matrix[0]), bool)
    calibration = np.zeros_like(mask)
    for line in schedule.lines:
        if not is_extra(line.flags):
            key = (0, line.phase, line.partition, line.row)
            mask[key] |= CALIBRATION not in line.flags
            calibration[key] |= CALIBRATION in line.flags or CALIBRATION_AND_IMAGING in line.flags
    last = schedule.rhythm.beat(schedule.lines[-1].time_ms)
    return {
        "image": image,
        "maps": crop_readout(receiver.maps.swapaxes(0, 1), columns)[None, :, kept],
        "mask": mask,
        "calibration_mask": calibration,
        "frame_times_ms": np.array(
            [frame_time_ms(options, schedule.segment_lines, frame) for frame in range(options.phases)]
        ),
        "rr_intervals_ms": schedule.rhythm.intervals_ms[: last + 1],
        "heart_mask": np.stack([crop_readout(phantom.heart_mask(float(z)), columns) for z in heights[kept]])[None],
    }


def is_extra(flags: tuple[int, ...]) -> bool:
    """Return whether the flags of a line say that it is no image line."""
    return any(flag in EXTRA_LINES.values() for flag in flags)


def _slab(phantom: Phantom, heights: np.ndarray, phase: float, shift_mm: float) -> np.ndarray:
    """The excited object (z, y, x) complex64."""
    profile = slab_profile(heights).astype(np.float32)
    return np.stack([phantom.draw(float(z), phase, shift_mm) for z in heights]) * profile[:, None, None]
