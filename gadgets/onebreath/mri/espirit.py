"""Coil maps from calibration lines by ESPIRiT.

M. Uecker et al., "ESPIRiT: an eigenvalue approach to autocalibrating parallel MRI: where SENSE meets GRAPPA", Magn
Reson Med 71:990 (2014). The weight curve of soft maps is that of the BART toolbox.

Two things differ from the paper. Which directions of the calibration windows hold signal is decided by their noise: a
fixed part of the largest eigenvalue keeps directions of noise where there is much of it, and loses directions of signal
where there is little. And maps are made for a field of view that is larger than that of the scan along the readout:
maps from kernels on the samples as they are continue from one edge to the opposite one. That is right along the phase
encoding, where a body that is too large folds over, but the readout's filter cuts it off.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array

from onebreath.budget import claim_equations
from onebreath.cancellation import checkpoint
from onebreath.errors import ScanError
from onebreath.mri import Array
from onebreath.mri.coils import BLOCK, dominant_eigenvectors, rss, with_reference_phase
from onebreath.mri.fourier import ifft2c, resize
from onebreath.threads import side_by_side

MOST_LOST = 0.005
"""Largest fraction of the bright pixels that cropping may remove."""
_BRIGHTEST, _BRIGHT = 0.97, 0.25
"""A pixel is bright (body, not noise or ringing) above `_BRIGHT` times the `_BRIGHTEST` quantile of the calibration
image."""
WIDER = 1.2
"""The field of view of the maps over that of the scan, along the readout."""
_NOISE, _ABOVE_NOISE = 0.1, 1.5
"""The smallest eigenvalues, by their share, that hold noise alone; the threshold over the end of those of noise."""
_MOST_NOISE = 0.05
"""Largest threshold."""
_USUAL, _LEAST_SIGNAL, _FAINTEST = 1e-3, 1e-4, 0.08
"""With little noise the threshold falls from a usual one with the root of the noise's energy, down to a least one: what
is fainter than that is signal, but no smooth map explains it."""
_LANES = 2
"""Blocks of rows that are computed at the same time; each needs room for its matrices."""


def espirit(
    acs: Array,
    shape: tuple[int, int],
    n_sets: int = 1,
    kernel: int | tuple[int, int] = 6,
    threshold: float | None = None,
    crop: float | None = 0.8,
    soft: bool = False,
    wider: float = WIDER,
) -> tuple[Array, Array]:
    """Coil maps at every pixel from the signal space of the calibration data.

    Parameters
    ----------
    acs
        Calibration k-space ``(coil, ya, xa)``, whitened, with the k-space centre inside.
    shape
        ``(y, x)`` of the maps.
    n_sets
        Number of map sets; 2 where the object is larger than the field of view.
    kernel
        Side of the square k-space window in samples, or its size as (lines, samples).
    threshold
        Signal space: eigenvalues of the calibration Gram matrix above this fraction of the largest one. (A program that
        cuts singular values at t uses ``threshold = t**2``.) None: by their noise, see `signal_threshold`.
    crop
        Maps are set to zero where their eigenvalue is not above this; None keeps them everywhere.
    soft
        Weight the maps by a smooth curve of the eigenvalue around `crop` instead of cutting them.
    wider
        The field of view in which the maps are periodic, over that of the scan, along x; 1: as in the paper.

    Returns
    -------
    maps
        ``(set, coil, y, x)``; before cropping sum over coils ``|S|^2 = 1``; phase convention of `coils`.
    eigenvalues
        ``(set, y, x)`` real, 1 where the calibration data support a map fully; not cropped.

    Raises
    ------
    ScanError
        Fewer calibration lines or samples than the kernel, or no signal in them; more sets than channels.
    """
    coils = acs.shape[0]
    window = (kernel, kernel) if isinstance(kernel, int) else kernel
    if acs.ndim != 3 or acs.shape[1] < window[0] or acs.shape[2] < window[1]:
        raise ScanError(
            f"ESPIRiT with a {window[0]}x{window[1]} kernel cannot calibrate on (coil, y, x) = {tuple(acs.shape)} "
            "samples. Acquire more calibration lines or use a smaller kernel."
        )
    if not 1 <= n_sets <= coils:
        raise ScanError(f"{coils} channels have no {n_sets} sets of coil maps. Ask ESPIRiT for fewer (espirit_sets).")
    wide = round(wider * shape[1])
    if threshold is None and wide != shape[1]:  # samples in between have no noise of their own
        threshold = signal_threshold(*_eigenvalues(acs, window))
    correlation = _signal_correlation(_resampled(acs, shape[1], wide), window, threshold)
    vectors, eigenvalues = _eigenmaps(correlation, shape, (shape[0], wide), n_sets)
    return with_reference_phase(vectors, acs) * _weight(eigenvalues, crop, soft)[:, None], eigenvalues


def cropped(
    acs: Array, shape: tuple[int, int], crop: float | None, soft: bool = False, **settings: Any
) -> tuple[Array, float]:
    """Coil maps from `espirit`, cropped unless that would remove parts of the body.

    With few calibration lines (8, with a kernel of 6) eigenvalues are low in the middle of the body, too, and cropping
    there would remove the heart from the images. The fraction of bright pixels lost was below 0.002 with 12 lines or
    more on hearts and phantoms at SNR 8 to 150, 0.01 to 0.02 with 10 lines, and 0.2 to 0.3 with 8.

    Returns
    -------
    maps
        ``(set, coil, y, x)``.
    lost
        Fraction of the bright pixels of the calibration image that cropping would remove; above `MOST_LOST` the maps
        are not cropped.
    """
    maps, eigenvalues = espirit(acs, shape, crop=None, **settings)
    if crop is None:
        return maps, 0.0
    xp = array_namespace(acs)
    image = rss(ifft2c(resize(acs, shape)), 0)
    level = xp.sort(xp.reshape(image, (-1,)))[int(_BRIGHTEST * (math.prod(shape) - 1))]
    bright = image > _BRIGHT * level
    lost = float(xp.sum(xp.astype(bright & (eigenvalues[0] <= crop), xp.int64)) / xp.sum(xp.astype(bright, xp.int64)))
    return maps if lost > MOST_LOST else maps * _weight(eigenvalues, crop, soft)[:, None], lost


def share_of_zeros(maps: Array) -> float:
    """Fraction of the pixels where the first set of the maps (place, set, coil, ...) is zero."""
    xp = array_namespace(maps)
    return round(1 - float(xp.mean(xp.astype(xp.any(maps[:, 0] != 0, axis=1), xp.float64))), 4)


def _resampled(acs: Array, size: int, wide: int) -> Array:
    """Calibration k-space as closely sampled along x as for `wide` pixels, with nothing beyond the `size` of the scan.

    What lies beyond its samples is taken for zero: next to their ends those between them are less exact.
    """
    if wide == size:
        return acs
    xp = array_namespace(acs)
    matrix = resampling(acs.shape[2], size, wide)
    return acs @ xp.astype(xp.asarray(matrix, device=device(acs)), acs.dtype).T


def resampling(samples: int, size: int, wide: int) -> np.ndarray:
    """Matrix from samples about the k-space centre to those of `wide` pixels in place of `size`."""
    pixel = np.arange(size) - size // 2
    given = np.arange(samples) - samples // 2
    count = round(samples * wide / size)
    wanted = np.arange(count) - count // 2
    there = np.exp(2j * np.pi / size * np.outer(pixel, given))
    matrix: np.ndarray = np.exp(-2j * np.pi / wide * np.outer(wanted, pixel)) @ there / math.sqrt(size * wide)
    return matrix


def _eigenmaps(correlation: Array, shape: tuple[int, int], wide: tuple[int, int], n_sets: int) -> tuple[Array, Array]:
    """Strongest eigenvectors ``(set, coil, y, x)`` and eigenvalues ``(set, y, x)`` of the matrix of every pixel.

    The matrix of a pixel is a short Fourier series with the coefficients `correlation` ``(coil, coil, lag, lag)``:
    summed along x for all lags in y at once, then block by block over the rows.
    """
    xp = array_namespace(correlation)
    coils, lags = correlation.shape[1:3]
    harmonics_y, harmonics_x = (
        _harmonics(*sizes, correlation) for sizes in zip(shape, wide, correlation.shape[2:], strict=True)
    )
    along_x = xp.permute_dims(xp.tensordot(correlation, harmonics_x, axes=((3,), (1,))), (2, 3, 0, 1))
    along_x = xp.reshape(along_x, (lags, -1))
    rows = max(1, BLOCK // (shape[1] * coils * coils))
    starts = range(0, shape[0], rows)

    def blocks_from(lane: int) -> list[tuple[Array, Array]]:
        found = []
        for first in starts[lane::lanes]:
            checkpoint()
            matrices = harmonics_y[first : first + rows] @ along_x
            found.append(dominant_eigenvectors(xp.reshape(matrices, (-1, shape[1], coils, coils)), n_sets))
        return found

    lanes = min(_LANES, len(starts)) if is_numpy_array(correlation) else 1
    by_lane = side_by_side([partial(blocks_from, lane) for lane in range(lanes)])
    blocks = [by_lane[i % lanes][i // lanes] for i in range(len(starts))]
    vectors, values = (xp.concat(parts, axis=0) for parts in zip(*blocks, strict=True))
    return xp.permute_dims(vectors, (3, 2, 0, 1)), xp.permute_dims(values, (2, 0, 1))


def signal_threshold(values: Sequence[float], windows: int) -> float:
    """Return the part of the largest eigenvalue above which the eigenvalues of the windows' Gram matrix hold signal.

    The tenth of the eigenvalues that is smallest holds nothing but noise. Where those of noise end follows from it, as
    they have the distribution of V. A. Marchenko and L. A. Pastur (Math USSR Sb 1:457, 1967); those of windows that
    overlap have it within 5 %. One and a half times that is the least threshold. With little noise it is 1e-3 to 1e-4,
    by what maps of simulated hearts, phantoms and a measured heart left unexplained of the images.

    Parameters
    ----------
    values
        The eigenvalues, rising.
    windows
        Number of windows.
    """
    count = min(len(values), windows)  # the others are zero
    noise = float(values[len(values) - count + int(_NOISE * (count - 1))])
    longest = max(len(values), windows)
    edge = noise * _edge_over_quantile(count / longest) / float(values[-1])
    faintest = min(max(_FAINTEST * math.sqrt(max(edge, 0.0)), _LEAST_SIGNAL), _USUAL)
    return min(max(_ABOVE_NOISE * edge, faintest), _MOST_NOISE)


def _edge_over_quantile(ratio: float) -> float:
    """Upper end of the distribution of Marchenko and Pastur over its quantile `_NOISE`, by the ratio of the sides."""
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    angle = np.linspace(0, math.pi, 2001)[1:]
    places = low + (high - low) * (1 - np.cos(angle)) / 2
    shares = np.cumsum(np.sin(angle) ** 2 / places)
    return float(high / np.interp(_NOISE, shares / shares[-1], places))


def _gram(acs: Array, kernel: tuple[int, int]) -> tuple[Array, int]:
    """Gram matrix of the windows of the calibration data, and the number of windows."""
    xp = array_namespace(acs)
    coils, (ky, kx) = acs.shape[0], kernel
    span_y, span_x = acs.shape[1] - ky + 1, acs.shape[2] - kx + 1
    offsets = [(i, j) for i in range(ky) for j in range(kx)]
    claim_equations(span_y * span_x, coils * ky * kx, "the calibration windows of ESPIRiT", size=8)
    windows = xp.reshape(
        xp.stack([acs[:, i : i + span_y, j : j + span_x] for i, j in offsets]), (len(offsets) * coils, -1)
    )
    gram = windows @ xp.conj(windows.T)
    energy = float(xp.sum(xp.real(xp.linalg.diagonal(gram))))
    if not energy > 0 or not math.isfinite(energy):
        raise ScanError("The calibration lines hold no signal (all zero, NaN or Inf), so no coil maps can be computed.")
    return gram, span_y * span_x


def _signal_correlation(acs: Array, kernel: tuple[int, int], threshold: float | None) -> Array:
    """Projector onto the signal space summed over equal lags, ``(coil, coil, lag, lag)``, 2 kernel - 1 lags each."""
    xp = array_namespace(acs)
    coils, (ky, kx) = acs.shape[0], kernel
    gram, windows = _gram(acs, kernel)
    values, vectors = _eigenpairs(gram)
    del gram
    if threshold is None:
        threshold = signal_threshold(values, windows)
    signal = vectors[:, values > threshold * values[-1]]
    projector = xp.reshape(signal @ xp.conj(signal.T), (ky, kx, coils, ky, kx, coils))
    by_lag = xp.zeros((2 * ky - 1, 2 * kx - 1, coils, coils), dtype=acs.dtype, device=device(acs))
    for i, j in np.ndindex(ky, kx):
        lags = (slice(ky - 1 - i, 2 * ky - 1 - i), slice(kx - 1 - j, 2 * kx - 1 - j))
        by_lag[lags] += xp.permute_dims(projector[i, j], (1, 2, 0, 3))
    return xp.permute_dims(by_lag, (2, 3, 0, 1)) / (ky * kx)


def _eigenpairs(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues, rising, and eigenvectors of a Hermitian matrix, which is destroyed where that saves room."""
    if not is_numpy_array(matrix):
        values, vectors = array_namespace(matrix).linalg.eigh(matrix)
        return values, vectors
    import scipy.linalg  # imported late: it is slow

    values, vectors = scipy.linalg.eigh(matrix, overwrite_a=True, check_finite=False, driver="evd")
    return values, vectors


def _eigenvalues(acs: Array, kernel: tuple[int, int]) -> tuple[Array, int]:
    """Eigenvalues, rising, of the windows' Gram matrix, and the number of windows."""
    gram, windows = _gram(acs, kernel)
    if not is_numpy_array(gram):
        return array_namespace(gram).linalg.eigvalsh(gram), windows
    import scipy.linalg  # imported late: it is slow

    return scipy.linalg.eigh(gram, eigvals_only=True, overwrite_a=True, check_finite=False, driver="evd"), windows


def _harmonics(size: int, period: int, lags: int, like: Array) -> Array:
    """``exp(-2 pi i p l / period)`` for pixels p and lags l about the centre, ``(size, lags)``."""
    xp = array_namespace(like)
    pixel = xp.arange(size, dtype=xp.float64, device=device(like)) - size // 2
    lag = xp.arange(lags, dtype=xp.float64, device=device(like)) - lags // 2
    return xp.astype(xp.exp(-2j * math.pi / period * xp.astype(pixel[:, None] * lag, xp.complex128)), like.dtype)


def _weight(eigenvalues: Array, crop: float | None, soft: bool) -> Array:
    """Weight of the maps at each pixel: 1 without `crop`, else a step at it or a smooth curve around it."""
    xp = array_namespace(eigenvalues)
    if crop is None:
        return xp.ones_like(eigenvalues)
    if not soft:
        return xp.astype(eigenvalues > crop, eigenvalues.dtype)
    t = xp.clip((xp.sqrt(xp.clip(eigenvalues, 0.0, None)) - crop) / (1 - crop), -1.0, 1.0)
    return 0.5 + t / (1 + t**2)
