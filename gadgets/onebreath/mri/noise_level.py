"""Noise level of a scan without a noise scan, estimated from its samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
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


@dataclass(frozen=True)
class NoiseFloor:
    """Noise of the weakest part of k-space.

    Attributes
    ----------
    level
        Standard deviation of that part, in the real and in the imaginary part: an upper bound of the noise, as even the
        rim of k-space may hold signal. 0 if all samples are zero.
    even
        Standard deviation of the noise, if that part is noise of whitened channels, on another scale or not. Whitened
        noise is equally strong in all channels, and no channel knows of another. Signal is not like that: what smooth
        coils see of it is nearly the same in several channels. Where the weakest part holds signal, it is that of the
        differences of successive frames, which hold less of it. None if neither is such noise, or if this cannot be
        determined: fewer than three channels, or too few samples.
    """

    level: float
    even: float | None

    @classmethod
    def of(cls, kspace: Array, mask: Array) -> NoiseFloor:
        """Measure the noise floor; samples that are exactly zero were filled in by an earlier gadget and do not count.

        Parameters
        ----------
        kspace : (frame, coil, y, x) complex
        mask : bool, broadcastable to (frame, y, x)
        """
        samples = np.asarray(to_device(kspace, "cpu"))
        frames, _, ny, nx = samples.shape
        acquired = np.broadcast_to(np.asarray(to_device(mask, "cpu")), (frames, ny, nx))
        level, even = _of_samples(samples, acquired)
        if even is None and frames > 1:
            apart = (samples[1:] - samples[:-1]) / np.float32(math.sqrt(2))
            even = _of_samples(apart, acquired[1:] & acquired[:-1])[1]
        return cls(level, even)


def _of_samples(samples: NDArray[Any], acquired: NDArray[np.bool_]) -> tuple[float, float | None]:
    """Return level and even standard deviation of samples (frame, channel, y, x), of those that were acquired."""
    channels, nx = samples.shape[1], samples.shape[3]
    there = acquired[:, None] & (samples != 0)
    energy, count = (np.abs(samples) ** 2 * there).sum(axis=(0, 1)), there.sum(axis=(0, 1))
    edges = np.arange(0, nx, _COLUMNS)
    energy, count = np.add.reduceat(energy, edges, axis=1), np.add.reduceat(count, edges, axis=1)
    full = np.asarray((count > 0) & (count >= np.median(count[count > 0]) / 2 if count.any() else False))
    if not full.any():
        return 0.0, None
    level = math.sqrt(float(np.percentile(energy[full] / count[full], _PERCENTILE)) / 2)
    weakest = np.repeat(_weakest(energy, count, full, channels), _COLUMNS, axis=1)[:, :nx]
    return level, _even(samples.transpose(0, 2, 3, 1)[acquired & weakest])


def _weakest(energy: NDArray[Any], count: NDArray[Any], full: NDArray[Any], channels: int) -> NDArray[np.bool_]:
    """Return which blocks (y, block) are no stronger than the noise of the weakest, by their energy and samples."""
    level = np.where(full, energy / np.maximum(count, 1), np.inf)
    weakest = level <= np.percentile(level[full], _PERCENTILE)
    for _ in range(_ROUNDS):  # the weakest of the noise is weaker than noise is: take in all that is no stronger
        mean = energy[weakest].sum() / count[weakest].sum()
        weakest = level <= mean * (1 + _SIGMAS / np.sqrt(np.maximum(count * channels, 1)))
    return np.asarray(weakest)


def _even(samples: NDArray[Any]) -> float | None:
    """Return the standard deviation of samples (sample, channel) that are noise of whitened channels; None if not."""
    channels = samples.shape[1]
    if channels < 3 or len(samples) < _SAMPLES * channels:
        return None
    powers = np.linalg.eigvalsh(samples.T.astype(np.complex128) @ samples.conj() / len(samples))
    if not 0 < powers[-1] < _EVEN * powers[0]:
        return None
    return math.sqrt(float(powers.mean()) / 2)
