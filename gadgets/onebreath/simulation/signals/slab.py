"""Simulated scans with partitions: one slab, excited and encoded as a whole."""

from __future__ import annotations

import numpy as np

from onebreath.simulation.encoding import Receiver, crop_readout, encode_volume, slab_profile
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.phantom import Phantom
from onebreath.simulation.sampling import Readout
from onebreath.simulation.schedule import Schedule, frame_state
from onebreath.simulation.signals.lines import Encoder, line_truth


def partition_heights(options: ScanOptions) -> np.ndarray:
    """Heights (z,) of the encoded partitions in mm; partition ``n // 2`` is the centre of the slab."""
    return (np.arange(options.encoded_partitions) - options.encoded_partitions // 2) * options.thickness_mm


def slab_encoder(phantom: Phantom, heights: np.ndarray, receiver: Receiver, readout: Readout) -> Encoder:
    """Function that draws and encodes the slab; see `Encoder`."""
    maps = receiver.maps.swapaxes(0, 1)

    def encoded(_: int, phase: float, shift_mm: float, positions: np.ndarray) -> np.ndarray:
        return encode_volume(maps * _slab(phantom, heights, phase, shift_mm), positions, readout)

    return encoded


def volume_truth(
    options: ScanOptions, schedule: Schedule, phantom: Phantom, heights: np.ndarray, receiver: Receiver
) -> dict[str, np.ndarray]:
    """Ground truth of the scan; see `SimulatedScan.truth`."""
    columns, partitions = options.matrix[1], options.partitions
    first = options.encoded_partitions // 2 - partitions // 2
    kept = slice(first, first + partitions)
    shading = np.stack([receiver.shading(z) for z in range(len(heights))])
    image = np.empty((1, options.phases, partitions, *options.matrix), np.complex64)
    for frame in range(options.phases):
        state = frame_state(options, schedule, schedule.lines, frame)
        image[0, frame] = crop_readout(_slab(phantom, heights, *state) * shading, columns)[kept]
    return {
        "image": image,
        "maps": crop_readout(receiver.maps.swapaxes(0, 1), columns)[None, :, kept],
        **line_truth(options, schedule),
        "heart_mask": np.stack([crop_readout(phantom.heart_mask(float(z)), columns) for z in heights[kept]])[None],
    }


def _slab(phantom: Phantom, heights: np.ndarray, phase: float, shift_mm: float) -> np.ndarray:
    """The excited object (z, y, x) complex64."""
    profile = slab_profile(heights).astype(np.float32)
    return np.stack([phantom.draw(float(z), phase, shift_mm) for z in heights]) * profile[:, None, None]
