"""Noise amplification of a reconstruction: from GRAPPA kernels in closed form, or from noise replicas of any method.

A g-factor is the noise of an accelerated image over the noise of a fully sampled one, without the sqrt(R) that the
shorter scan costs by itself (K. P. Pruessmann et al., Magn Reson Med 42:952 (1999), eq. 25). Noise enters with unit
standard deviation in the real and in the imaginary part of every acquired sample.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from onebreath.mri import Array
from onebreath.mri.noise_map import noise_map

# Columns of the image processed at once: bounds the memory for masks with many kinds of missing lines.
_COLUMNS = 32


def line_kernel_gfactor(
    kernels: Mapping[tuple[int, int], np.ndarray],
    kinds: np.ndarray,
    acquired: np.ndarray,
    maps: np.ndarray,
    acceleration: float,
) -> np.ndarray:
    """g-factor of a reconstruction that fills missing lines from acquired ones, in closed form.

    A sample contributes to a pixel through its own Fourier component (it stays where it was measured) and through those
    of the missing lines that it helps to predict. Samples that help to predict the same kinds of lines have the same
    weight, so one sum per such group suffices, also at the ends of the sampled range and beside calibration lines.
    Where every source has the same kinds this is sqrt(sum_c |u_c|^2) / R with the unmixing coefficients u of F. A.
    Breuer et al., "General formulation for quantitative g-factor calculation in GRAPPA reconstructions", Magn Reson
    Med 62:739 (2009), eq. 10.

    Parameters
    ----------
    kernels
        For each kind of missing line and line distance (target minus source) the weights (x, target coil, source
        coil), with x in image space.
    kinds : (y,) int
        Kind of each line that was predicted, -1 for all other lines.
    acquired : (y,) bool
        Measured lines.
    maps : (coil, y, x) complex
        Coil maps with sum over coils |map|^2 = 1, or 0 outside the object.
    acceleration
        The R to divide out.

    Returns
    -------
    (y, x) float32
        1 where a scan is fully sampled, 0 where the maps are 0. The reference is a full scan of the lines that were
        acquired or predicted, so that partial Fourier does not count as noise reduction.
    """
    groups = _served(kernels, kinds, acquired)
    covered = np.count_nonzero(acquired | (kinds >= 0))
    columns = [
        _block_variance(
            {k: w[start : start + _COLUMNS] for k, w in kernels.items()}, groups, maps[..., start : start + _COLUMNS]
        )
        for start in range(0, maps.shape[-1], _COLUMNS)
    ]
    variance = np.concatenate(columns, axis=1)
    found: np.ndarray = np.sqrt(variance / (covered * acceleration)).astype(np.float32)
    return found


def _served(
    kernels: Mapping[tuple[int, int], np.ndarray], kinds: np.ndarray, acquired: np.ndarray
) -> dict[tuple[tuple[int, int], ...], int]:
    """Number of acquired lines that are sources of each group of (kind, distance) pairs."""
    groups: dict[tuple[tuple[int, int], ...], int] = {}
    for line in np.flatnonzero(acquired):
        pairs = tuple((kind, d) for kind, d in kernels if 0 <= line + d < len(kinds) and kinds[line + d] == kind)
        groups[pairs] = groups.get(pairs, 0) + 1
    return groups


def _block_variance(
    kernels: Mapping[tuple[int, int], np.ndarray], groups: Mapping[tuple[tuple[int, int], ...], int], maps: np.ndarray
) -> np.ndarray:
    """Sum over the acquired lines and coils of the squared weight in each pixel of some columns (y, x)."""
    ny = maps.shape[1]
    combine = np.conj(maps).astype(np.result_type(maps, np.complex64), copy=False)
    turn = 2j * np.pi * (np.arange(ny) - ny // 2)[:, None] / ny
    paths = {
        (kind, d): np.einsum("dyx,xds->syx", combine, weights, optimize=True) * np.exp(d * turn).astype(combine.dtype)
        for (kind, d), weights in kernels.items()
    }
    variance = np.zeros(maps.shape[1:])
    for pairs, count in groups.items():
        total = combine.copy()
        for pair in pairs:
            total += paths[pair]
        variance += count * np.sum(total.real**2 + total.imag**2, axis=0)
    return variance


def pseudo_replica(
    reconstruct: Callable[[Array], Array],
    kspace: Array,
    mask: Array,
    acceleration: float = 1.0,
    replicas: int = 200,
    coverage: float = 1.0,
    seed: int = 0,
    magnitude: bool = False,
) -> Array:
    """g-factor from reconstructions of the same data with different added noise.

    P. M. Robson et al., "Comprehensive quantification of signal-to-noise ratio and g-factor for image-based and
    k-space-based parallel imaging reconstructions", Magn Reson Med 60:895 (2008).

    Parameters
    ----------
    reconstruct
        K-space (frame, coil, y, x) -> complex images (frame, y, x).
    kspace : (frame, coil, y, x) complex
        The measured k-space (with unit noise), or zeros for a linear method.
    mask : bool, broadcastable to (frame, y, x)
        Where samples were acquired; noise is added only there.
    acceleration
        The R to divide out.
    replicas
        Number of reconstructions; the relative standard error of the map is about 1 / (2 sqrt(replicas)), of the
        magnitude alone 1 / sqrt(2 replicas).
    coverage
        Fraction of the full k-space that the reconstruction fills; below 1 with zero-filled partial Fourier.
    seed
        Seed of the random numbers: the same scan gives the same map.
    magnitude
        Whether only the noise along the phase of the image counts, which differs where conjugated data enter.

    Returns
    -------
    (frame, y, x) real
        Standard deviation of the noise in real and imaginary part together, or in the magnitude, over
        sqrt(acceleration * coverage).

    Raises
    ------
    ValueError
        If there are fewer than 2 replicas.
    """
    reference = reconstruct(kspace)
    along = reference if magnitude else None
    found = noise_map(lambda noise: reconstruct(kspace + noise) - reference, kspace, mask, replicas, seed, along)
    return found.std / math.sqrt(acceleration * coverage)
