"""Noise of samples that came without a noise scan, from the samples themselves."""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import to_device

from onebreath.mri import Array

_COLUMNS = 8
"""Samples along the readout that are taken together."""
_PERCENTILE = 5.0
"""Of all blocks; the faintest ones hold noise alone, if anything of k-space does."""


def faintest(kspace: Array, mask: Array) -> float:
    """Standard deviation of the faintest part of k-space, in the real and in the imaginary part.

    That is the noise, or more where even the rim of k-space holds signal. Samples that are exactly zero were filled in
    by a gadget before, and do not count.

    Parameters
    ----------
    kspace : (frame, coil, y, x) complex
    mask : bool, broadcastable to (frame, y, x)

    Returns
    -------
    float
        0 if there are no samples but zeros.
    """
    samples = np.asarray(to_device(kspace, "cpu"))
    frames, _, ny, nx = samples.shape
    there = np.broadcast_to(np.asarray(to_device(mask, "cpu")), (frames, ny, nx))[:, None] & (samples != 0)
    energy, count = (np.abs(samples) ** 2 * there).sum(axis=(0, 1)), there.sum(axis=(0, 1))
    edges = np.arange(0, nx, _COLUMNS)
    energy, count = np.add.reduceat(energy, edges, axis=1), np.add.reduceat(count, edges, axis=1)
    full = (count > 0) & (count >= np.median(count[count > 0]) / 2 if count.any() else False)
    return math.sqrt(float(np.percentile(energy[full] / count[full], _PERCENTILE)) / 2) if full.any() else 0.0
