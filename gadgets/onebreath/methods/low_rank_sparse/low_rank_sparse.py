"""L+S: a series as the sum of a low-rank background and changes that are sparse in temporal frequency.

R. Otazo et al., "Low-rank plus sparse matrix decomposition for accelerated dynamic MRI with separation of background
and dynamic components", Magn Reson Med 73:1125 (2015). The function to minimise is
``1/2 ||E(L + S) - d||^2 + lambda_L ||L||_* + lambda_S ||T S||_1``, T the unitary Fourier transform along time.

The noise of the data is known, and both weights are in units of it. In the zero-filled series of noise, E^H n, a pixel
has the standard deviation s = sqrt(2 / R), R the ratio of all samples to the acquired ones. The largest singular value
of T frames and N pixels of it is near s (sqrt(N) + sqrt(T)) (K. R. Davidson and S. J. Szarek, in: Handbook of the
Geometry of Banach Spaces, 2001, theorem II.13); its temporal spectrum has the deviation s. Such weights are small
against a bright image, and plain proximal gradients with them need hundreds of steps; `split_steps` needs about
fifteen. It is stopped there: further steps only fit what the lines do not determine, and lose up to 2 dB at high
accelerations.

Neither norm knows that images are smooth in space, so where all frames have the same lines nothing holds the background
in directions that coils hardly tell apart. The default adds what the paper has not: a third norm, of spatial wavelets
of all frames together (`onebreath.mri.proximal.shrink_wavelets`), in units of the same noise. With it thresholds can be
lower and the split needs less damping. ``wavelet=0`` leaves it out.

All this takes the coil maps to be exact. Where their error is larger than the noise, thresholds for the noise are too
low, which shows between the lines (`between_lines`); the default ones are then made for 2, 4, ... times the noise, as
long as that helps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from array_api_compat import array_namespace
from pydantic import Field, model_validator

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
from onebreath.methods.known_noise import contradicted, noise_level
from onebreath.methods.low_rank_sparse.between_lines import FALLS, FINE, BetweenLines
from onebreath.methods.low_rank_sparse.problem import Problem, norm
from onebreath.methods.low_rank_sparse.split import exact_data_step, split_steps, total_penalty
from onebreath.methods.low_rank_sparse.steps import Step, Weights
from onebreath.mri.proximal import LESS_PENALTY

GROWTH = 1e3
"""An iterate with this times the energy norm of the zero-filled series has diverged; no mask can cause it."""
FEW, MORE = 15, 30
"""Steps of the split where the data step is exact, and where it is not."""
FEW_WITH_WAVELETS, MORE_WITH_WAVELETS = 25, 45
"""The same with wavelets; further steps do no harm then, but hardly help."""

MOST_TIMES = 256
"""Times the noise that the default thresholds are made for at most; see `between_lines`."""


class LowRankSparseParameters(MethodParameters):
    """Parameters of `LowRankSparse`."""

    algorithm: Literal["noise", "published", "accelerated"] = Field(
        default="noise",
        description="noise: weights in units of the noise, a few steps with an exact data step; published: the paper's "
        "iteration, its threshold relative to the present largest singular value; accelerated: the same thresholds by "
        "proximal optimised gradient, which needs less than half the iterations",
    )
    low_rank: float | None = Field(
        default=None,
        gt=0,
        description="Threshold of the singular values; noise: over the largest that noise alone has (default 1), else "
        "relative to the largest of the series (default 0.01).",
    )
    sparse: float | None = Field(
        default=None,
        gt=0,
        description="Threshold in the temporal spectrum; noise: over the standard deviation that noise has there "
        "(default: balanced with low_rank by the zero-filled series), else where the largest zero-filled pixel is 1 in "
        "magnitude (default 0.0025).",
    )
    wavelet: float | None = Field(
        default=None,
        ge=0,
        description="noise: threshold of spatial wavelets, the root mean square of a coefficient over the frames, over "
        "the standard deviation that noise has there; 0: none, as published (default: 0.1, less with little noise). "
        "Others have none.",
    )
    iterations: int | None = Field(
        default=None,
        ge=1,
        le=MOST_ITERATIONS,
        description="Largest number of iterations (default: noise 25, 45 where lines change with the frame, without "
        "wavelets 15, 30; else 50).",
    )
    tolerance: float | None = Field(
        default=None,
        ge=0,
        description="Stop when the series changes by less than this in one iteration, relatively (default: noise "
        "0, for its few steps are fixed; else 0.0025).",
    )
    device: Device = Field(default="auto", description="Where to compute: auto (a GPU if there is one), cpu, cuda.")

    @property
    def thresholds(self) -> tuple[float, float | None]:
        """Thresholds of low rank and of sparsity, in the units of the algorithm; None: balanced for each series."""
        usual = (1.0, None) if self.algorithm == "noise" else (0.01, 0.0025)
        return self.low_rank or usual[0], self.sparse or usual[1]

    @model_validator(mode="after")
    def _wavelets_need_noise(self) -> LowRankSparseParameters:
        if self.wavelet and self.algorithm != "noise":
            raise ValueError(f"wavelet={self.wavelet:g} is in units of the noise and goes with algorithm=noise alone")
        return self

    @property
    def limits(self) -> tuple[int | None, float]:
        """Largest number of iterations, None: by the data step, and the tolerance."""
        noise = self.algorithm == "noise"
        usual = 0.0 if noise else 0.0025
        return self.iterations or (None if noise else 50), usual if self.tolerance is None else self.tolerance


@dataclass(frozen=True)
class _Solved:
    """The last step, the number of steps, the last relative change, weights in both units, facts about the noise."""

    step: Step
    done: int
    change: float
    weights: Weights
    thresholds: Weights
    facts: dict[str, Fact]


class LowRankSparse(Method):
    """L+S of all frames together, with one or two sets of coil maps and any mask, fixed or changing with time.

    The data are divided by the largest magnitude of the zero-filled series inside, so that one threshold fits all
    scans, and the images are multiplied by it again: their units stay.
    """

    name = "low_rank_sparse"
    seconds_per_million = 0.35
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
        solved = self._solved(problem, data)
        step, thresholds = solved.step, solved.thresholds
        # The split's own solution fits the data; L + S lags behind it by a step.
        series = step.series if self.parameters.algorithm == "noise" else step.low_rank + step.sparse
        images = join_sets(problem.images(series)) * problem.scale
        facts: dict[str, Fact] = {
            "algorithm": self.parameters.algorithm,
            "iterations": solved.done,
            **self._ending(solved.done, solved.change),
            "change": solved.change,
            "objective": problem.objective(step, *solved.weights),
            "lambda_low_rank": thresholds.low_rank,
            "lambda_sparse": thresholds.sparse,
            "lambda_wavelet": thresholds.wavelet,
            **solved.facts,
            "map_sets": problem.operator.n_sets,
            "backend": where,
            **contradicted(data),
        }
        return Reconstruction(back(images, data.kspace), None, facts)

    def effort(self, data: SliceData) -> float:
        """Seconds of one core of a usual CPU for a slice; six times as many where lines change with the frame."""
        xp = array_namespace(data.mask)
        same = bool(xp.all(data.mask == data.mask[:1]))
        return (1.0 if same else 6.0) * super().effort(data)

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

    def _solved(self, problem: Problem, data: SliceData) -> _Solved:
        """Solve with thresholds for the noise or, if they are the default ones, for as much more as images need."""
        p = self.parameters
        if p.algorithm != "noise":
            return self._attempt(problem, *self._relative_weights(problem), {})
        level, how = noise_level(data)
        facts: dict[str, Fact] = {"noise_std": level, "noise_std_from": how}
        if any(one is not None for one in (p.low_rank, p.sparse, p.wavelet)):
            return self._attempt(problem, *self._weights(problem, level), facts)
        between = BetweenLines(problem.operator, problem.kspace, data.sampling, level / problem.scale)
        key = self.name, p
        times = data.settled.get(key, 1)
        solved = self._attempt(problem, *self._weights(problem, times * level), facts)
        ratio = between(problem.images(solved.step.series))
        while key not in data.settled and ratio > FINE and times < MOST_TIMES:
            following = self._attempt(problem, *self._weights(problem, 2 * times * level), facts)
            lower = between(problem.images(following.step.series))
            if lower > FALLS * ratio:
                break
            solved, ratio, times = following, lower, 2 * times
        data.settled[key] = times
        return replace(solved, facts={**facts, "between_lines": round(ratio, 3), "thresholds_for_noise_times": times})

    def _attempt(self, problem: Problem, weights: Weights, thresholds: Weights, facts: dict[str, Fact]) -> _Solved:
        step, done, change = self._iterate(problem, weights, thresholds)
        return _Solved(step, done, change, weights, thresholds, facts)

    def _relative_weights(self, problem: Problem) -> tuple[Weights, Weights]:
        """Return the weights of the published algorithm, in units of the problem and of the algorithm."""
        low_rank, sparse = self.parameters.thresholds
        assert sparse is not None
        return Weights(problem.weight(low_rank), sparse), Weights(low_rank, sparse)

    def _weights(self, problem: Problem, level: float) -> tuple[Weights, Weights]:
        """Return the weights for noise of a standard deviation, in units of the problem and of that noise."""
        low_rank, sparse = self.parameters.thresholds
        largest, deviation = problem.noise_units(level)
        wavelet = problem.smoothness(largest) if self.parameters.wavelet is None else self.parameters.wavelet
        if sparse is None:
            sparse = low_rank * problem.balance(largest) * (problem.less_sparse(largest) if wavelet else 1.0)
        weights = Weights(low_rank * largest, sparse * deviation, wavelet * deviation)
        return weights, Weights(low_rank, sparse, wavelet)

    def _ending(self, done: int, change: float) -> dict[str, Fact]:
        """Return facts about convergence, where a tolerance ends the iteration."""
        _, tolerance = self.parameters.limits
        return {"converged": "yes" if done == 0 or change < tolerance else "no"} if tolerance else {}

    def _iterate(self, problem: Problem, weights: Weights, thresholds: Weights) -> tuple[Step, int, float]:
        """Run to the stopping rule; return the last step, the number of steps and the last relative change."""
        p = self.parameters
        iterations, tolerance = p.limits
        previous, size = problem.start, norm(problem.start)
        limit, change, done = GROWTH * size, 0.0, 0
        step = Step(previous, 0 * previous, previous)
        if size == 0:
            return step, done, change
        if p.algorithm == "noise":
            penalty = problem.penalty(weights.low_rank / thresholds.low_rank)
            penalty *= LESS_PENALTY if weights.wavelet else 1.0
            exact = exact_data_step(problem, total_penalty(penalty, weights.wavelet))
            few, more = (FEW_WITH_WAVELETS, MORE_WITH_WAVELETS) if weights.wavelet else (FEW, MORE)
            iterations = iterations or (few if exact else more)
            steps = split_steps(problem, *weights, penalty, exact)
        else:
            steps = problem.steps(p.algorithm, thresholds.low_rank, thresholds.sparse)
        for step in islice(steps, iterations):
            checkpoint()
            change = norm(step.series - previous) / max(size, math.ulp(0))
            previous, size, done = step.series, norm(step.series), done + 1
            if not size < limit:
                raise MethodError(f"low_rank_sparse diverged in iteration {done}: check coil maps and raw data")
            if change < tolerance or size == 0:
                break
        return step, done, change
