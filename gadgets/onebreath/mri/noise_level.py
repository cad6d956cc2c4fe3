"""Noise level of a scan without a noise scan, estimated from its samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from array_api_compat import to_device
from numpy.typing import NDArray

from onebreath.mri import Array

_COLUMNS = 8
"""Samples along the readout in one block."""
_SAMPLES = 12
"""Samples for each channel that an estimate of their covariance needs."""
_ROUNDS, _SIGMAS = 10, 3.0
_EVEN = 2.0
"""Ratio of the strongest to the weakest independent channel of noise alone: with so many samples at most 1.8."""
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
    _, energy, count, full = _blocks(kspace, mask)
    return math.sqrt(float(np.percentile(energy[full] / count[full], _PERCENTILE)) / 2) if full.any() else 0.0


def even_noise(kspace: Array, mask: Array) -> float | None:
    """Standard deviation of the weakest part of k-space if that is noise of whitened channels, on another scale or not.

    Whitened noise is equally strong in all channels, and no channel knows of another. Signal is not like that: what
    smooth coils see of it is nearly the same in several channels.

    Parameters
    ----------
    kspace, mask
        As in `noise_floor`.

    Returns
    -------
    float or None
        None if it is not such noise, or if this cannot be determined: fewer than three channels, or too few samples.
    """
    samples, energy, count, full = _blocks(kspace, mask)
    channels = samples.shape[1]
    if channels < 3 or not full.any():
        return None
    level = np.where(full, energy / np.maximum(count, 1), np.inf)
    weakest = level <= np.percentile(level[full], _PERCENTILE)
    for _ in range(_ROUNDS):  # the weakest of the noise is weaker than noise is: take in all that is no stronger
        mean = energy[weakest].sum() / count[weakest].sum()
        weakest = level <= mean * (1 + _SIGMAS / np.sqrt(np.maximum(count * channels, 1)))
    within = np.repeat(weakest, _COLUMNS, axis=1)[:, : samples.shape[3]]
    there = np.broadcast_to(np.asarray(to_device(mask, "cpu")), (samples.shape[0], *samples.shape[2:]))
    found = samples.transpose(0, 2, 3, 1)[there & within]
    if len(found) < _SAMPLES * channels:
        return None
    powers = np.linalg.eigvalsh(found.T.astype(np.complex128) @ found.conj() / len(found))
    if not 0 < powers[-1] < _EVEN * powers[0]:
        return None
    return math.sqrt(float(powers.mean()) / 2)


def _blocks(kspace: Array, mask: Array) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Samples (frame, coil, y, x), and of blocks (y, block): energy, number of samples, whether these are enough."""
    samples = np.asarray(to_device(kspace, "cpu"))
    frames, _, ny, nx = samples.shape
    there = np.broadcast_to(np.asarray(to_device(mask, "cpu")), (frames, ny, nx))[:, None] & (samples != 0)
    energy, count = (np.abs(samples) ** 2 * there).sum(axis=(0, 1)), there.sum(axis=(0, 1))
    edges = np.arange(0, nx, _COLUMNS)
    energy, count = np.add.reduceat(energy, edges, axis=1), np.add.reduceat(count, edges, axis=1)
    full = np.asarray((count > 0) & (count >= np.median(count[count > 0]) / 2 if count.any() else False))
    return samples, energy, count, full
