"""Iterations of L+S on series written as matrices (frame, pixel): as published, and by proximal optimised gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from array_api_compat import array_namespace

from onebreath.mri import Array
from onebreath.mri.fourier import fft, ifft
from onebreath.mri.proximal import shrink_singular_values, soft_threshold

Normal: TypeAlias = Callable[[Array], Array]


class Weights(NamedTuple):
    """Weights, or thresholds, of the nuclear norm, of the 1-norm of the temporal spectrum, and of the wavelets."""

    low_rank: float
    sparse: float
    wavelet: float = 0.0


@dataclass(frozen=True)
class Step:
    """State after one iteration: L, S and the series that the stopping rule watches, each (frame, pixel)."""

    low_rank: Array
    sparse: Array
    series: Array


def published_steps(normal: Normal, start: Array, low_rank: float, sparse: float) -> Iterator[Step]:
    """Iterate as published, the low-rank threshold relative to the present largest singular value as in its script.

    S is found with the L of the iteration before. The temporal transform needs no shifts, because they change neither
    magnitudes nor what the inverse transform undoes.
    """
    series, found, changes = start, start, 0 * start
    while True:
        previous, found = found, shrink_singular_values(series - changes, low_rank, relative=True)
        changes = shrink_spectrum(series - previous, sparse)
        both = found + changes
        series = both - normal(both) + start
        yield Step(found, changes, series)


def accelerated_steps(normal: Normal, start: Array, low_rank: float, sparse: float) -> Iterator[Step]:
    """Iterate by the proximal optimised gradient method (POGM) with restarts, on L and S together.

    A. B. Taylor et al., "Exact worst-case performance of first-order methods for composite convex optimization", SIAM J
    Optim 27:1283 (2017); restarts by D. Kim and J. A. Fessler, "Adaptive restart of the optimized gradient method for
    convex optimization", J Optim Theory Appl 178:240 (2018); for L+S first by C. Y. Lin and J. A. Fessler, "Efficient
    dynamic parallel MRI reconstruction for the low-rank plus sparse model", IEEE Trans Comput Imaging 5:51 (2019).

    `low_rank` is lambda_L itself. Steps have length 1/2: the gradient's Lipschitz constant is ||E||^2 <= 1 in L + S,
    but twice that in (L, S).
    """
    xp = array_namespace(start)
    length, momentum, reach = 0.5, 1.0, 1.0
    pair = before = lifted = descended = xp.stack((start, 0 * start))
    while True:
        gradient = normal(pair[0] + pair[1]) - start
        plain = pair - length * gradient
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        inertia = (momentum - 1) / following
        lifted = (
            plain
            + inertia * (plain - before)
            + (momentum / following) * (plain - pair)
            + (length * inertia / reach) * (lifted - pair)
        )
        reach = length * (2 * momentum + following - 1) / following
        shrunk = xp.stack(
            (
                shrink_singular_values(lifted[0], reach * low_rank),
                shrink_spectrum(lifted[1], reach * sparse),
            )
        )
        slope = gradient + (lifted - shrunk) / reach
        previous, descended = descended, pair - length * slope
        uphill = float(xp.sum(xp.real(xp.conj(slope) * (descended - previous)))) > 0
        pair, before, momentum = shrunk, plain, 1.0 if uphill else following
        yield Step(pair[0], pair[1], pair[0] + pair[1])


def shrink_spectrum(series: Array, threshold: float) -> Array:
    """Lower the magnitudes of the temporal spectrum of a series (frame, pixel) by a threshold."""
    return ifft(soft_threshold(fft(series, 0), threshold), 0, overwrite=True)
