"""Noise of any reconstruction, pixel by pixel, from its response to random noise on the measured samples.

Two responses give such a map. A *replica* is the change of the image when noise is added and everything is computed
anew (P. M. Robson et al., Magn Reson Med 60:895 (2008)). A *probe* is the derivative of the image along that noise:
E |J v|^2 for white v is the diagonal of J J^H, estimated without ever forming J (C. Bekas et al., "An estimator for
the diagonal of a matrix", Appl Numer Math 57:1214 (2007)); it holds for noise that is small against the signal.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, is_numpy_array

from onebreath.cancellation import checkpoint
from onebreath.mri import Array


@dataclass(frozen=True)
class NoiseMap:
    """Noise of an image.

    Attributes
    ----------
    std : (frame or 1, y, x) real
        Standard deviation; of the real and the imaginary part together, or of the part along the image's phase.
    samples
        Number of random samples used.
    error
        Relative standard error of `std`, from the number of samples.
    """

    std: Array
    samples: int
    error: float


def noise_map(
    response: Callable[[Array], Array],
    like: Array,
    mask: Array,
    samples: int,
    seed: int = 0,
    along: Array | None = None,
    pool_frames: bool = False,
    seconds: float = math.inf,
) -> NoiseMap:
    """Standard deviation of the noise in each pixel of a reconstruction.

    Parameters
    ----------
    response
        Noise on the k-space (frame, coil, y, x) -> change of the images (frame, y, x): a replica or a probe.
    like : (frame, coil, y, x) complex
        Array whose shape, type and device the noise takes.
    mask : bool, broadcastable to (frame, y, x)
        Where samples were acquired; there the noise has unit standard deviation in real and in imaginary part.
    samples
        Largest number of random samples, at least 2.
    seed
        Seed of the random numbers: the same scan gives the same map.
    along : (frame, y, x) complex
        Images of whose magnitude the noise is measured: only noise along their phase counts.
    pool_frames
        Whether all frames share one map, the root of their mean variance, which needs fewer samples.
    seconds
        Time limit; no sample is started that would exceed it.

    Raises
    ------
    ValueError
        If there are fewer than 2 samples.
    TimeoutError
        If the time limit is too short for 2 samples.
    """
    if samples < 2:
        raise ValueError(f"a standard deviation needs at least 2 samples, not {samples}")
    xp = array_namespace(like)
    rng, begun, used = np.random.default_rng(seed), time.monotonic(), 0
    weight = xp.astype(mask[:, None], xp.real(like).dtype)
    phase = None if along is None else xp.conj(along) / xp.clip(xp.abs(along), min=xp.finfo(along.dtype).tiny)
    total = squares = 0
    while used < samples and (used == 0 or (time.monotonic() - begun) * (used + 1) / used <= seconds):
        checkpoint()
        change = response(weight * white_noise(rng, like))
        if phase is not None:
            change = xp.real(change * phase)
        total = total + change
        squares = squares + xp.abs(change) ** 2
        used += 1
    if used < 2:
        raise TimeoutError(
            f"one noise sample took {time.monotonic() - begun:.1f} s; {seconds:g} s are too short for two"
        )
    parts = 1 if phase is not None else 2
    # Where all samples are nearly the same, rounding makes the difference negative.
    variance = xp.clip(squares - xp.abs(total) ** 2 / used, min=0) / (parts * (used - 1))
    if pool_frames:
        variance = xp.mean(variance, axis=0, keepdims=True)
    independent = parts * (used - 1) * (like.shape[0] if pool_frames else 1)
    return NoiseMap(xp.sqrt(variance), used, 1 / math.sqrt(2 * independent))


def white_noise(rng: np.random.Generator, like: Array) -> Array:
    """Complex noise of unit standard deviation in real and imaginary part; shape, type and device of `like`."""
    noise = rng.standard_normal((*like.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    if is_numpy_array(like):
        return noise
    xp = array_namespace(like)
    return xp.asarray(noise, dtype=like.dtype, device=like.device)
