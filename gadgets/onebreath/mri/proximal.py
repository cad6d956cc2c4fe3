"""Proximal maps of the nuclear norm and the 1-norm, for series written as matrices (frame, pixel), and of wavelets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

from array_api_compat import array_namespace

from onebreath.mri import Array

SPLIT, SPLITS = 3.0, (0.003, 0.3)
"""Penalty of L+S times the strength of a series, and the bounds of the penalty. The first threshold of the nuclear norm
is then a third of the largest singular value, from where L+S converges in ten to twenty iterations. The strength of a
series is its largest singular value over that of its noise."""


WAVELET_SHARE = 0.2
"""Penalty of the wavelets' split over that of L + S."""
WAVELET_SHIFTS = ((0, 0), (3, 5), (6, 2), (1, 7), (4, 4), (7, 1), (2, 6), (5, 3))
"""Of the wavelets, step by step: three scales have 8 x 8 ways to lie; these are far from each other."""
LESS_PENALTY = 0.5
"""Factor of the split's penalty where wavelets help. This, `less_sparse` and `smoothness` were chosen on hearts of
SCD0000101, SCD0000201 and SCD0000301, SNR 10 to 300, R 2 to 24."""
_CORNERS = tuple((..., slice(y, None, 2), slice(x, None, 2)) for y in (0, 1) for x in (0, 1))
"""Pixels of squares of four, in the order of `_haar`."""


def singular_values(matrix: Array) -> Array:
    """Singular values of a complex matrix (frame, pixel), ascending, in double precision."""
    return _left_vectors(matrix)[0]


def shrink_singular_values(matrix: Array, threshold: float, relative: bool = False) -> Array:
    """Soft-threshold the singular values of a matrix: the proximal map of the nuclear norm.

    J.-F. Cai et al., "A singular value thresholding algorithm for matrix completion", SIAM J Optim 20:1956 (2010),
    theorem 2.1. A series has few frames and many pixels, so the left singular vectors U are those of the small Gram
    matrix, and the result is ``U diag(shrinkage) U^H matrix`` without the long right vectors.

    Parameters
    ----------
    matrix : (frame, pixel) complex
    threshold
        Threshold of the singular values; with `relative` as a fraction of the largest.
    """
    xp = array_namespace(matrix)
    values, vectors = _left_vectors(matrix)
    factors = _shrinkage(values, threshold * values[-1] if relative else threshold)
    projector = (vectors * factors) @ xp.conj(xp.matrix_transpose(vectors))
    return xp.astype(projector, matrix.dtype) @ matrix


def soft_threshold(x: Array, threshold: float) -> Array:
    """Soft-threshold the magnitudes and keep the phases: the proximal map of the 1-norm."""
    xp = array_namespace(x)
    return x * _shrinkage(xp.abs(x), threshold)


def _left_vectors(matrix: Array) -> tuple[Array, Array]:
    """Singular values (frame,), ascending, and left singular vectors (frame, frame).

    In double precision, because the Gram matrix squares the values: in single precision all below 3e-4 of the largest
    would be lost in rounding errors.
    """
    xp = array_namespace(matrix)
    double = xp.astype(matrix, xp.complex128)
    squares, vectors = xp.linalg.eigh(double @ xp.conj(xp.matrix_transpose(double)))
    return xp.sqrt(xp.where(squares > 0, squares, xp.zeros_like(squares))), vectors


def _shrinkage(magnitude: Array, threshold: float) -> Array:
    """The factors max(0, 1 - threshold / magnitude)."""
    xp = array_namespace(magnitude)
    larger = magnitude > threshold
    kept = 1 - threshold / xp.where(larger, magnitude, xp.ones_like(magnitude))
    return xp.where(larger, kept, xp.zeros_like(magnitude))


def shrink_wavelets(images: Array, threshold: float, shift: tuple[int, int], levels: int = 3) -> Array:
    """Soft-threshold spatial wavelets, one factor for all frames: the proximal map of a norm of groups.

    The orthonormal Haar wavelets of images that are shifted in a circle, another way in each step of an iteration, so
    that no grid of blocks shows (cycle spinning: R. R. Coifman and D. L. Donoho, in: Wavelets and Statistics, 1995).
    What edges have in common in all frames, the group keeps (M. Yuan and Y. Lin, J R Stat Soc B 68:49, 2006).

    Parameters
    ----------
    images : (frame, set, y, x) complex
        Rows and columns beyond the last multiple of ``2**levels`` are left as they are; `shift` brings others there.
    threshold
        Of the root mean square of a coefficient over the frames.
    shift
        Pixels along y and x.
    levels
        Number of scales.
    """
    xp = array_namespace(images)
    turned = xp.roll(images, shift, axis=(-2, -1))
    ny, nx = (size >> levels << levels for size in images.shape[-2:])
    turned[..., :ny, :nx] = _shrunk(turned[..., :ny, :nx], threshold, levels)
    return xp.roll(turned, (-shift[0], -shift[1]), axis=(-2, -1))


class WaveletSplit:
    """The split between images and images with few wavelets, with its dual variable, in an iteration of L+S.

    Parameters
    ----------
    threshold
        See `shrink_wavelets`; another shift of `WAVELET_SHIFTS` is taken in each step.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold, self._shifts = threshold, cycle(WAVELET_SHIFTS)
        self._dual: Array = 0

    def __call__(self, images: Array) -> Array:
        """Take the next step from images (frame, set, y, x); return those that they are drawn to."""
        split = images + self._dual
        sparse = shrink_wavelets(split, self._threshold, next(self._shifts))
        self._dual = split - sparse
        return sparse - self._dual


def wavelet_norm(images: Array, levels: int = 3) -> float:
    """The norm that `shrink_wavelets` lowers: the sum over coefficients of their norms over the frames."""
    xp = array_namespace(images)
    ny, nx = (size >> levels << levels for size in images.shape[-2:])
    mean, total = images[..., :ny, :nx], 0.0
    for _ in range(levels if ny and nx else 0):
        mean, *details = _haar(*(mean[corner] for corner in _CORNERS))
        total += sum(float(xp.sum(xp.sqrt(xp.sum(xp.abs(one) ** 2, axis=0)))) for one in details)
    return total


def _shrunk(images: Array, threshold: float, levels: int) -> Array:
    """One scale of `shrink_wavelets`, and the coarser ones of its means."""
    xp = array_namespace(images)
    if not levels or 0 in images.shape:
        return images
    mean, *details = _haar(*(images[corner] for corner in _CORNERS))
    powers = (xp.mean(xp.real(one) ** 2 + xp.imag(one) ** 2, axis=0) for one in details)
    kept = [one * _shrinkage(xp.sqrt(power), threshold) for one, power in zip(details, powers, strict=True)]
    result = xp.empty_like(images)
    for corner, pixels in zip(_CORNERS, _haar(_shrunk(mean, threshold, levels - 1), *kept), strict=True):
        result[corner] = pixels
    return result


def _haar(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    """Mean and details along x, y and both of squares of four pixels; it is its own inverse."""
    top, bottom, left, right = a + b, c + d, a - b, c - d
    return (top + bottom) / 2, (left + right) / 2, (top - bottom) / 2, (left - right) / 2


def balance(evenness: Any, strength: Any) -> Any:
    """Weight of the 1-norm in L+S for a weight of 1 of the nuclear norm, both in units of the noise.

    A static background b costs ``lambda_L sqrt(T) ||b||_2`` in L and ``lambda_S sqrt(T) ||b||_1`` in S. Where both are
    equal neither part is empty, and images are best at usual noise; with little noise less sparsity is better (exponent
    and factor were fitted to simulated scans, SNR 10 to 150, R 4 to 24).

    Parameters
    ----------
    evenness
        ``||b||_2 / ||b||_1`` times the largest singular value of noise of standard deviation 1; a number or an array.
    strength
        Strength of the series (see `SPLIT`); a number or an array.
    """
    return 1.1 * evenness * (25.0 / strength) ** 0.15


def less_sparse(strength: Any, common: Any, clip: Callable[[Any, float, float], Any]) -> Any:
    """Factor of `balance` where there are wavelets, which do a part of what sparsity over time does.

    Half of it is enough. With little noise the iteration would no longer reach its end in a few steps, unless all
    frames have the same, many lines: then half of the half is better, by 0.5 to 2 dB where the heart moves.

    Parameters
    ----------
    strength
        Strength of the series (see `SPLIT`); a number or an array.
    common
        Part of the samples that all frames have, of the same kind.
    clip
        Function that brings such values into bounds: ``np.clip``, ``torch.clamp``.
    """
    many, quiet = clip((common - 0.27) / 0.07, 0, 1), clip((strength - 50) / 100, 0, 1)
    return clip(strength / 400, 0.5, 1) * (1 - 0.55 * many * quiet)


def smoothness(strength: Any) -> Any:
    """Threshold of the wavelets over the noise's deviation: with little noise they hide more than they hold.

    Parameters
    ----------
    strength
        Strength of the series (see `SPLIT`); a number or an array.
    """
    return 0.1 * (25.0 / strength) ** 0.2
