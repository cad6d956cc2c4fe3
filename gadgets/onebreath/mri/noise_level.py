"""Noise level of a scan without a noise scan, estimated from its samples."""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import to_device

from onebreath.mri import Array

_COLUMNS = 8
"""Samples along the readout in one block."""
_PERCENTILE = 5.0
"""Percentile of the blocks' energy that is taken as noise: if any part of k-space is noise alone, the weakest is."""


def noise_floor(kspace: Array, mask: Array) -> float:
    """Standard deviation of the weakest part of k-space, in the real and in the imaginary part.

    An upper bound of the noise, as even the rim of k-space may hold signal. Samples that are exactly zero were filled
    in by an earlier gadget and do not count.

    Parameters
    ----------
    kspace : (frame, coil, y, x) complex
    mask : bool, broadcastable to (frame, y, x)

    Returns
    -------
    float
        0 if all samples are zero.
    """
    samples = np.asarray(to_device(kspace, "cpu"))
    frames, _, ny, nx = samples.shape
    there = np.broadcast_to(np.asarray(to_device(mask, "cpu")), (frames, ny, nx))[:, None] & (samples != 0)
    energy, count = (np.abs(samples) ** 2 * there).sum(axis=(0, 1)), there.sum(axis=(0, 1))
    edges = np.arange(0, nx, _COLUMNS)
    energy, count = np.add.reduceat(energy, edges, axis=1), np.add.reduceat(count, edges, axis=1)
    full = (count > 0) & (count >= np.median(count[count > 0]) / 2 if count.any() else False)
    return math.sqrt(float(np.percentile(energy[full] / count[full], _PERCENTILE)) / 2) if full.any() else 0.0
