"""Which of several methods makes the best images of a scan: decided by acquired lines that none of them sees.

Every candidate reconstructs the middle columns of a slice without a few acquired lines. The squared error of what it
predicts there, less the known energy of the noise, is an unbiased estimate of its true error at these lines; lines at
the same distance from the centre stand for those that were not acquired. All candidates are tested on the same lines,
so that their differences are far better known than their errors. The smallest error wins; a candidate that is no more
than the standard error of the difference behind it wins if the rule's order puts it first.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onebreath.errors import MethodError, OnebreathError
from onebreath.methods.base import Fact, Method, SliceData
from onebreath.methods.device import as_numpy
from onebreath.methods.low_rank_sparse import noise_level
from onebreath.methods.score import BANDS, WIDTH, held_out, middle_columns, without
from onebreath.mri.fourier import fft2c

log = logging.getLogger("onebreath.choice")

NARROWEST = 32
"""Columns; networks see their surroundings, and a narrower part would be unlike what they were trained on."""

_FEWEST = 2


@dataclass(frozen=True)
class Estimate:
    """Error of one candidate, estimated from held-back lines.

    Attributes
    ----------
    name
        The candidate.
    error
        Estimated ``||image - truth|| / ||image||``; NaN if it was not tested.
    uncertainty
        Standard error of that; of the candidate's difference to the best one, where this is not it.
    seconds
        That its test took.
    failed
        Why it was not tested.
    """

    name: str
    error: float
    uncertainty: float
    seconds: float
    failed: str = ""

    def __str__(self) -> str:
        if self.failed:
            return f"{self.name} not tested: {self.failed}"
        return f"{self.name} {self.error:.4f} +- {self.uncertainty:.4f}"


@dataclass(frozen=True)
class Choice:
    """The decision for a series.

    Attributes
    ----------
    winner
        Index of the candidate.
    estimates
        One for each candidate, in the rule's order.
    reason
        Why it won, in words.
    noise_only
        The error, relative to the image, that the noise of the acquired lines alone makes.
    lines
        Number of lines kept back.
    seconds
        What the decision took.
    """

    winner: int
    estimates: tuple[Estimate, ...]
    reason: str
    noise_only: float
    lines: int
    seconds: float

    @property
    def facts(self) -> dict[str, Fact]:
        """For the meta of the images."""
        return {
            "choice": self.reason,
            "choice_errors": "; ".join(map(str, self.estimates)),
            "choice_noise_only": round(self.noise_only, 4),
            "choice_lines": self.lines,
            "choice_seconds": round(self.seconds, 3),
        }


def strip_width(nx: int, slices: int, candidates: int, within: float) -> int:
    """Columns to test on, so that the tests take about `within` of the time that one candidate needs for the scan."""
    return int(min(WIDTH, nx, max(NARROWEST, within * nx * slices / max(candidates, 1))))


def choose(candidates: Sequence[tuple[str, Method]], data: SliceData, within: float = 0.3, slices: int = 1) -> Choice:
    """Choose among methods by lines kept back from a slice.

    Parameters
    ----------
    candidates
        Names and methods, in the order of preference.
    data
        The first slice of the scan.
    within
        Share of the time that may be spent, of what the slowest candidate so far will need for all slices; no test is
        begun after that, and none is broken off. Two are made in any case: fewer decide nothing.
    slices
        How many slices the scan has.

    Raises
    ------
    MethodError
        If nothing can be told: there are no coil maps, too few lines, or no candidate could be tested.
    """
    begun = time.perf_counter()
    test = _Test.of(as_numpy(data), strip_width(data.kspace.shape[3], slices, len(candidates), within))
    found: list[_Tested | str] = []
    seconds: list[float] = []
    allowed = math.inf
    for _, method in candidates:
        started = time.perf_counter()
        late = len(found) >= _FEWEST and started - begun > allowed
        found.append(f"{within:g} of the reconstruction's time was spent" if late else test.run(method, data))
        seconds.append(time.perf_counter() - started)
        if not isinstance(found[-1], str):
            share = test.data.kspace.shape[3] / data.kspace.shape[3]
            needed = within * slices * seconds[-1] / share
            allowed = needed if allowed == math.inf else max(allowed, needed)
    tested = {i: one for i, one in enumerate(found) if not isinstance(one, str)}
    if not tested:
        raise MethodError("no candidate could be tested: " + "; ".join(str(text) for text in found))
    best = min(tested, key=lambda i: tested[i].total)
    behind = {i: test.standard_error(one, tested[best]) for i, one in tested.items()}
    winner = next(i for i, one in tested.items() if one.total - tested[best].total <= behind[i])
    whole = max(tested[best].energy, np.finfo(np.float32).tiny)
    estimates = []
    for i, (name, _) in enumerate(candidates):
        one = found[i]
        if isinstance(one, str):
            estimates.append(Estimate(name, math.nan, math.nan, seconds[i], one))
            continue
        error = math.sqrt(max(one.total, 0.0) / whole)
        spread = behind[i] if i != best else test.standard_error(one, None)
        estimates.append(Estimate(name, error, _root_spread(one.total, spread, whole), seconds[i]))
    reason = _words(candidates, tested, best, winner)
    log.info("%s (%s)", reason, "; ".join(map(str, estimates)))
    noise_only = math.sqrt(test.noise_through / whole)
    return Choice(winner, tuple(estimates), reason, noise_only, int(test.held.sum()), time.perf_counter() - begun)


@dataclass(frozen=True)
class _Tested:
    """One candidate's error energies: at each line kept back (frame, y), and of the whole image; the image's energy."""

    at_held: np.ndarray
    total: float
    energy: float


@dataclass(frozen=True)
class _Test:
    """The part of a slice that is tested on, the lines kept back (frame, y), and for how many lines each stands."""

    data: SliceData
    held: np.ndarray
    weight: np.ndarray
    noise: float

    @classmethod
    def of(cls, data: SliceData, width: int) -> _Test:
        if data.maps is None:
            raise MethodError("lines kept back can tell nothing without coil maps")
        part = middle_columns(data, width)
        frames, _, ny, _ = part.kspace.shape
        acquired = np.any(np.broadcast_to(part.mask, (frames, ny, part.mask.shape[2])), axis=2)
        held = held_out(acquired, part.sampling.centre)
        return cls(
            part, held, _weights(held, acquired, part.sampling.centre, data.sampling.acquired), noise_level(data)[0]
        )

    def run(self, method: Method, whole: SliceData) -> _Tested | str:
        """Test a method; return the reason if it could not be tested."""
        try:
            method.check(whole)
            images = np.asarray(method.for_replicas().trial(without(self.data, self.held)).images)
        except OnebreathError as reason:
            return str(reason)
        except MemoryError:
            return "memory ran out"
        if not np.isfinite(images).all():
            return "it made pixels that are NaN or infinite"
        kspace, mask = self.data.kspace, np.broadcast_to(self.data.mask, (len(images), *images.shape[1:]))
        predicted = fft2c(images[:, None] * np.asarray(self.data.maps)[0])
        error = (np.abs(np.where(mask[:, None], predicted - kspace, 0)) ** 2).sum(axis=(1, 3))
        excess = error - 2 * self.noise**2 * kspace.shape[1] * mask.sum(axis=2)
        acquired = np.any(mask, axis=2)
        used = acquired & ~self.held
        total = float((self.weight * excess)[self.held].sum())
        total += self._at_used(float(excess[used].sum()), used) * acquired.sum() / used.sum()
        return _Tested(np.where(self.held, excess, 0), total, float((np.abs(images) ** 2).sum()))

    def _at_used(self, excess: float, used: np.ndarray) -> float:
        """Error energy of an image at lines that its method saw, by the `excess` of its residual over the noise there.

        An image is one of C channels' worth of numbers, so that only a C-th of the noise can get into it. A method
        that keeps a part p of that noise leaves (1 - p)^2 of it in the residual. More than all of it is error.
        """
        mask = np.broadcast_to(self.data.mask, (*used.shape, self.data.mask.shape[2]))
        samples = mask.sum(axis=2)[used].sum() * (self.data.kspace.shape[3] / mask.shape[2])
        through = 2 * self.noise**2 * float(samples)
        left = excess + through
        if left > through or through == 0:
            return max(excess, 0.0)
        return through * (1 - math.sqrt(max(left, 0.0) / through)) ** 2

    @property
    def noise_through(self) -> float:
        """Energy of the noise of the acquired lines in the image: a unit-norm combination keeps that of one coil."""
        mask = np.broadcast_to(self.data.mask, (len(self.held), self.held.shape[1], self.data.kspace.shape[3]))
        return 2 * self.noise**2 * float(mask.sum())

    def standard_error(self, one: _Tested, other: _Tested | None) -> float:
        """Of the difference of two candidates' errors, or of one's error, by the scatter from line to line."""
        values = one.at_held - (0 if other is None else other.at_held)
        variance = 0.0
        for weight in np.unique(self.weight[self.held]):
            these = values[self.held & (self.weight == weight)]
            spread = float(np.var(these, ddof=1)) if len(these) > 1 else float(np.mean(values[self.held] ** 2))
            variance += weight**2 * len(these) * spread
        return math.sqrt(variance)


def _weights(held: np.ndarray, acquired: np.ndarray, centre: int, limits: tuple[int, int]) -> np.ndarray:
    """For how many missing lines each line kept back stands (frame, y), by its distance from the centre.

    Lines beyond partial Fourier are not the methods' affair, and are not counted.
    """
    rows = np.arange(held.shape[1])
    distance = np.broadcast_to(np.abs(rows - centre), held.shape)
    missing = ~acquired & (rows >= limits[0]) & (rows <= limits[1])
    edges = np.unique(np.geomspace(1, distance.max() + 1, BANDS).round().astype(int))
    band = np.digitize(distance, edges)
    tested = np.unique(band[held])
    nearest = tested[np.abs(band[..., None] - tested).argmin(axis=-1)]
    weight = np.zeros(held.shape)
    for b in tested:
        weight[held & (band == b)] = (missing & (nearest == b)).sum() / (held & (band == b)).sum()
    return weight


def _root_spread(total: float, spread: float, whole: float) -> float:
    """Standard error of sqrt(total / whole)."""
    level = math.sqrt(max(total, 0.0) / whole)
    return math.sqrt((max(total, 0.0) + spread) / whole) - level


def _words(candidates: Sequence[tuple[str, Method]], tested: dict[int, _Tested], best: int, winner: int) -> str:
    name = candidates[winner][0]
    others = [i for i in tested if i != winner]
    if not others:
        return f"{name}, as no other candidate could be tested"
    second = min(others, key=lambda i: tested[i].total)
    ratio = math.sqrt(max(tested[second].total, 1e-30) / max(tested[winner].total, 1e-30))
    against = candidates[second][0]
    if winner != best:
        return f"{name} by its place in the rule: {against} is ahead by less than the standard error"
    return f"{name} by lines kept back: the error of {against} is {ratio:.2f} times as large"
