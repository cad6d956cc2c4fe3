"""L+S: a series as the sum of a low-rank background and changes that are sparse in temporal frequency.

R. Otazo et al., "Low-rank plus sparse matrix decomposition for accelerated dynamic MRI with separation of background
and dynamic components", Magn Reson Med 73:1125 (2015). The function to minimise is
``1/2 ||E(L + S) - d||^2 + lambda_L ||L||_* + lambda_S ||T S||_1``, T the unitary Fourier transform along time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

from array_api_compat import array_namespace
from pydantic import Field

from onebreath.cancellation import checkpoint
from onebreath.errors import MethodError
from onebreath.methods.base import (
    MOST_ITERATIONS,
    Fact,
    Method,
    MethodParameters,
    Reconstruction,
    SliceData,
    check_finite,
    join_sets,
)
from onebreath.methods.device import Device, back, place
from onebreath.mri import Array
from onebreath.mri.fourier import fft, ifft
from onebreath.mri.proximal import shrink_singular_values, singular_values, soft_threshold
from onebreath.mri.sense import SenseOperator

Normal: TypeAlias = Callable[[Array], Array]

GROWTH = 1e3
"""An iterate with this times the energy norm of the zero-filled series has diverged; no mask can cause it."""


class LowRankSparseParameters(MethodParameters):
    """Parameters of `LowRankSparse`."""

    algorithm: Literal["published", "accelerated"] = Field(
        default="published",
        description="published: the paper's iteration, its threshold relative to the present largest singular value; "
        "accelerated: proximal optimised gradient, which needs less than half the iterations",
    )
    low_rank: float = Field(
        default=0.01, gt=0, description="Threshold of the singular values, relative to the largest one."
    )
    sparse: float = Field(
        default=0.0025,
        gt=0,
        description="Threshold in the temporal spectrum, where the largest zero-filled pixel is 1 in magnitude.",
    )
    iterations: int = Field(default=50, ge=1, le=MOST_ITERATIONS, description="Largest number of iterations.")
    tolerance: float = Field(
        default=0.0025, ge=0, description="Stop when the series changes by less than this in one iteration, relatively."
    )
    device: Device = Field(default="auto", description="Where to compute: auto (a GPU if there is one), cpu, cuda.")


@dataclass(frozen=True)
class Step:
    """State after one iteration: L, S and the series that the stopping rule watches, each (frame, pixel)."""

    low_rank: Array
    sparse: Array
    series: Array


class LowRankSparse(Method):
    """L+S of all frames together, with one or two sets of coil maps and any mask, fixed or changing with time.

    The data are divided by the largest magnitude of the zero-filled series inside, so that one threshold fits all
    scans, and the images are multiplied by it again: their units stay.
    """

    name = "low_rank_sparse"
    Parameters = LowRankSparseParameters
    parameters: LowRankSparseParameters

    def __call__(self, data: SliceData) -> Reconstruction:
        """Reconstruct one slice.

        Raises
        ------
        MethodError
            If there is only one frame, there are no coil maps or they are not normalised, samples are not finite, or
            the iteration diverges.
        """
        self._check(data)
        placed, where = place(data, self.parameters.device)
        problem = Problem.of(placed)
        step, done, change = self._iterate(problem)
        images = join_sets(problem.images(step.low_rank + step.sparse)) * problem.scale
        facts: dict[str, Fact] = {
            "algorithm": self.parameters.algorithm,
            "iterations": done,
            "converged": "yes" if done == 0 or change < self.parameters.tolerance else "no",
            "change": change,
            "objective": problem.objective(step, self.parameters.low_rank, self.parameters.sparse),
            "lambda_low_rank": self.parameters.low_rank,
            "lambda_sparse": self.parameters.sparse,
            "map_sets": problem.operator.n_sets,
            "backend": where,
        }
        return Reconstruction(back(images, data.kspace), None, facts)

    def _check(self, data: SliceData) -> None:
        if data.kspace.shape[0] < 2:
            raise MethodError(
                "low_rank_sparse separates what moves from what does not, and this scan has one frame; use cg_sense"
            )
        if data.maps is None:
            raise MethodError("low_rank_sparse needs coil maps; let the calibrate gadget run before it")
        check_finite(data, self.name)
        xp = array_namespace(data.maps)
        largest = float(xp.max(xp.sum(xp.abs(data.maps) ** 2, axis=1)))
        if largest > 1.01:
            raise MethodError(
                f"low_rank_sparse needs coil maps whose sum of squares is at most 1, but it is {largest:.3g}: with "
                "steps of fixed length the iteration would diverge; normalise the maps"
            )

    def _iterate(self, problem: Problem) -> tuple[Step, int, float]:
        """Run to the stopping rule; return the last step, the number of steps and the last relative change."""
        p = self.parameters
        previous, size = problem.start, _norm(problem.start)
        limit, change, done = GROWTH * size, 0.0, 0
        step = Step(previous, 0 * previous, previous)
        if size == 0:
            return step, done, change
        for step in islice(problem.steps(p.algorithm, p.low_rank, p.sparse), p.iterations):
            checkpoint()
            change = _norm(step.series - previous) / size
            previous, size, done = step.series, _norm(step.series), done + 1
            if not size < limit:
                raise MethodError(f"low_rank_sparse diverged in iteration {done}: check coil maps and raw data")
            if change < p.tolerance or size == 0:
                break
        return step, done, change


@dataclass(frozen=True)
class Problem:
    """One slice as L+S sees it: series are matrices (frame, pixel), the pixels of all map sets in one row.

    Parameters
    ----------
    operator
        The model E.
    kspace : (frame, coil, y, x) complex
        Divided by `scale`.
    start : (frame, pixel) complex
        E^H d, its largest magnitude 1.
    scale
        Units of the images in one of `start`.
    """

    operator: SenseOperator
    kspace: Array
    start: Array
    scale: float

    @classmethod
    def of(cls, data: SliceData) -> Problem:
        """Scale a slice and set up its model."""
        xp = array_namespace(data.kspace)
        operator = SenseOperator(data.maps, data.mask)
        zero_filled = operator.adjoint(data.kspace)
        scale = float(xp.max(xp.abs(zero_filled))) or 1.0
        masked = data.kspace * xp.astype(data.mask[:, None], xp.real(data.kspace).dtype)
        return cls(operator, masked / scale, _matrix(zero_filled / scale), scale)

    def images(self, series: Array) -> Array:
        """Series (frame, pixel) as images (set, frame, y, x)."""
        xp = array_namespace(series)
        sets, _, ny, nx = self.operator.maps.shape
        return xp.permute_dims(xp.reshape(series, (series.shape[0], sets, ny, nx)), (1, 0, 2, 3))

    def normal(self, series: Array) -> Array:
        """E^H E of a series (frame, pixel)."""
        return _matrix(self.operator.normal(self.images(series)))

    def steps(self, algorithm: str, low_rank: float, sparse: float) -> Iterator[Step]:
        """Iterate without end; `low_rank` and `sparse` as in `LowRankSparseParameters`."""
        if algorithm == "published":
            return published_steps(self.normal, self.start, low_rank, sparse)
        return accelerated_steps(self.normal, self.start, self.weight(low_rank), sparse)

    def weight(self, low_rank: float) -> float:
        """lambda_L: the relative threshold times the largest singular value of the zero-filled series."""
        return low_rank * float(singular_values(self.start)[-1])

    def objective(self, step: Step, low_rank: float, sparse: float) -> float:
        """Return the minimised function, in scaled units, with the `weight` of the low rank held fixed."""
        xp = array_namespace(step.low_rank)
        residual = self.operator.forward(self.images(step.low_rank + step.sparse)) - self.kspace
        nuclear = float(xp.sum(singular_values(step.low_rank)))
        spectrum = float(xp.sum(xp.abs(fft(step.sparse, 0))))
        return _norm(residual) ** 2 / 2 + self.weight(low_rank) * nuclear + sparse * spectrum


def published_steps(normal: Normal, start: Array, low_rank: float, sparse: float) -> Iterator[Step]:
    """Iterate as published, the low-rank threshold relative to the present largest singular value as in its script.

    S is found with the L of the iteration before. The temporal transform needs no shifts, because they change neither
    magnitudes nor what the inverse transform undoes.
    """
    series, found, changes = start, start, 0 * start
    while True:
        previous, found = found, shrink_singular_values(series - changes, low_rank, relative=True)
        changes = _shrink_spectrum(series - previous, sparse)
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
            (shrink_singular_values(lifted[0], reach * low_rank), _shrink_spectrum(lifted[1], reach * sparse))
        )
        slope = gradient + (lifted - shrunk) / reach
        previous, descended = descended, pair - length * slope
        uphill = float(xp.sum(xp.real(xp.conj(slope) * (descended - previous)))) > 0
        pair, before, momentum = shrunk, plain, 1.0 if uphill else following
        yield Step(pair[0], pair[1], pair[0] + pair[1])


def _shrink_spectrum(series: Array, threshold: float) -> Array:
    return ifft(soft_threshold(fft(series, 0), threshold), 0, overwrite=True)


def _matrix(images: Array) -> Array:
    """Images (frame, y, x) or (set, frame, y, x) as a matrix (frame, pixel)."""
    xp = array_namespace(images)
    by_frame = images if images.ndim == 3 else xp.permute_dims(images, (1, 0, 2, 3))
    return xp.reshape(by_frame, (by_frame.shape[0], -1))


def _norm(x: Array) -> float:
    xp = array_namespace(x)
    return math.sqrt(float(xp.sum(xp.real(x) ** 2 + xp.imag(x) ** 2)))
