"""Choice of the method with the smallest error for a scan, estimated on held-back lines.

Every candidate reconstructs a part of a slice without a few acquired lines. The squared error of what it predicts
there, less the known energy of the noise, is an unbiased estimate of its true error at these lines; lines at the same
distance from the centre stand for those that were not acquired. All candidates are tested on the same lines, so that
their differences are far better known than their errors. The images are the weighted mean of the candidates' images
with the smallest error (`stacked`), which is smaller than that of each of them where their errors differ. Where one of
them has all the weight, the smallest error wins; a candidate that is no more than the standard error of the difference
behind it wins if the rule's order puts it first.

How much is tested is counted beforehand from sizes alone, never by the clock: the same scan has the same winner on
every machine, however busy that is.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onebreath.errors import MethodError
from onebreath.methods.base import Fact, Method, SliceData
from onebreath.methods.choice.edge import DRAWS, STATIC_FRAMES, EdgeTrial
from onebreath.methods.choice.lattice_edge import why_not
from onebreath.methods.choice.plan import Plan, plan_of, plan_of_edges
from onebreath.methods.choice.run import run_all
from onebreath.methods.choice.stacked import in_words, stacking_weights
from onebreath.methods.choice.trial import LineTrial, Tested, Trial

log = logging.getLogger("onebreath.choice")

_FEWEST = 2
"""Candidates among which there is something to decide."""
_NOTHING = 1e-30
"""In place of an energy of zero."""


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
    complete
        Whether it was tested in full; False if it was behind at a first look, which tells the least possible error.
    """

    name: str
    error: float
    uncertainty: float
    seconds: float
    failed: str = ""
    complete: bool = True

    def __str__(self) -> str:
        if self.failed:
            return f"{self.name} not tested: {self.failed}"
        found = f"{self.error:.4f} +- {self.uncertainty:.4f}"
        return f"{self.name} {found}" if self.complete else f"{self.name} at least {found}, by a first look"


@dataclass(frozen=True)
class Choice:
    """The decision for a series.

    Attributes
    ----------
    winner
        Index of the best single candidate.
    estimates
        One for each candidate, in the rule's order.
    reason
        Why it won, in words.
    noise_only
        The error, relative to the image, that the noise of the acquired lines alone makes.
    lines
        Number of held-back lines.
    seconds
        What the decision took.
    weights
        Of the candidates in the mean of their images that predicts best; 1 for the winner if no mean does better.
    error
        Estimated ``||image - truth|| / ||image||`` of that mean.
    calibrated
        Whether the interval about the error holds: all frames have the centre of k-space, where most of the energy is.
    interval
        That interval: the error of the magnitude image was within in nine of ten scans.
    slices
        How many slices were tested.
    """

    winner: int
    estimates: tuple[Estimate, ...]
    reason: str
    noise_only: float
    lines: int
    seconds: float
    weights: tuple[float, ...]
    error: float
    calibrated: bool = True
    interval: tuple[float, float] = (0.0, math.inf)
    slices: int = 1

    @property
    def middle(self) -> float:
        """Likely error of the magnitude: the middle of the interval, where that holds."""
        low, high = self.interval
        return math.sqrt(max(low, high / 4) * high) if self.calibrated else self.error

    @property
    def facts(self) -> dict[str, Fact]:
        """Return facts for the meta of the images."""
        error = self.error
        return {
            "choice": self.reason,
            "choice_error": round(error, 4),
            "choice_error_90_percent": f"{self.interval[0]:.4f} to {self.interval[1]:.4f}"
            if self.calibrated
            else "not known, as the centre of k-space was not acquired in all frames",
            "choice_errors": "; ".join(map(str, self.estimates)),
            "choice_noise_only": round(self.noise_only, 4),
            "choice_lines": self.lines,
            "choice_slices": self.slices,
            "choice_seconds": round(self.seconds, 3),
        }


def choose(
    candidates: Sequence[tuple[str, Method]],
    data: SliceData,
    within: float = 0.3,
    slices: int = 1,
    further: Sequence[SliceData] = (),
) -> Choice:
    """Choose among methods by lines held back from a slice, of static scans also from further ones.

    Parameters
    ----------
    candidates
        Names and methods, in the order of preference.
    data
        The first slice of the scan, with embedded calibration lines as data.
    within
        Share of the time that may be spent, of what the winner will need for all slices. It decides how large the part
        is that is tested on; a candidate whose test would take too long for any part is left out.
    slices
        How many slices the scan has.
    further
        Those that are there already, besides the first.

    Raises
    ------
    MethodError
        If the candidates cannot be tested: there are no coil maps, too few lines, or no two candidates could be tested.
    """
    begun = time.perf_counter()
    plan, trial = _prepared([method for _, method in candidates], [data, *further], within, slices)

    found, seconds = run_all([method for _, method in candidates], data, plan, trial)
    judged = {i: one for i, one in enumerate(found) if not isinstance(one, str)}
    tested = {i: one for i, one in judged.items() if one.complete}
    if not tested:
        raise MethodError("no candidate could be tested: " + "; ".join(str(text) for text in found))
    best = min(tested, key=lambda i: tested[i].total)
    behind = {i: trial.standard_error(one, tested[best]) for i, one in judged.items()}
    winner = next(i for i, one in tested.items() if one.total - tested[best].total <= behind[i])
    whole = max(tested[best].energy, _NOTHING)
    estimates = []
    for i, (name, _) in enumerate(candidates):
        one = found[i]
        if isinstance(one, str):
            estimates.append(Estimate(name, math.nan, math.nan, seconds[i], one))
            continue
        error = math.sqrt(max(one.total, 0.0) / whole)
        spread = behind[i] if i != best else trial.standard_error(one, None)
        estimates.append(Estimate(name, error, _root_spread(one.total, spread, whole), seconds[i], "", one.complete))
    weights, error = _weights(trial, tested, winner, len(candidates))
    reason = _words(candidates, judged, best, winner, weights)
    log.info("%s (%s)", reason, "; ".join(map(str, estimates)))
    noise_only = math.sqrt(trial.noise_through / whole)
    lines, spent = trial.count, time.perf_counter() - begun
    relative = math.sqrt(max(error, 0.0) / whole)
    low, high = trial.likely
    least = math.sqrt(max(error - trial.beyond_maps(list(tested.values())), 0.0) / whole)
    interval = (low * least, math.hypot(high * relative, math.sqrt(trial.unshown(whole) / whole)))
    found_by = (noise_only, lines, spent, weights, relative, trial.centre_is_known, interval, plan.slices)
    return Choice(winner, tuple(estimates), reason, *found_by)


def _prepared(
    methods: Sequence[Method], there: Sequence[SliceData], within: float, slices: int
) -> tuple[Plan, LineTrial]:
    """Plan and prepare the tests: at the edge of the calibration lines, or at lines between the others."""
    first, kernels = there[0], {i for i, method in enumerate(methods) if not method.acs_as_data}
    reason = why_not(first)
    edge, wide = not reason, len(first.kspace) <= STATIC_FRAMES or bool(kernels)
    able = [i for i in range(len(methods)) if edge or i not in kernels]
    if not able:
        raise MethodError(f"all candidates learn from calibration lines, and {reason}")
    efforts = [methods[i].for_replicas().effort(first) for i in able]
    shape = first.kspace.shape
    if edge and wide:
        plan = plan_of_edges(efforts, shape, slices, within, len(there), DRAWS)
    else:
        plan = plan_of(efforts, shape, slices, within, DRAWS if edge else 1)
        if edge and plan.left_out:  # lines between the others need one reconstruction in place of two
            edge, plan = False, plan_of(efforts, shape, slices, within)
    left_out = {able[i]: text for i, text in plan.left_out.items()}
    reference = None if plan.reference is None or not edge else able[plan.reference]
    left_out |= {i: f"it learns from calibration lines, and {reason}" for i in kernels if not edge}
    plan = replace(plan, left_out=left_out, reference=reference)
    if left_out and len(methods) - len(left_out) < _FEWEST:
        raise MethodError(left_out[min(left_out)])
    if not edge:
        return plan, Trial.of(first, plan.frames, plan.columns)
    places = [int((i + 0.5) * len(there) / plan.slices) for i in range(plan.slices)]  # outer slices hold little
    return plan, EdgeTrial.of([there[i] for i in places], plan.frames, plan.columns)


def _weights(trial: LineTrial, tested: dict[int, Tested], winner: int, count: int) -> tuple[tuple[float, ...], float]:
    """Return the weights of all candidates, and the energy of the error of their mean.

    The winner has all the weight unless a mean is ahead of it by more than the standard error of the difference.
    """
    weights = [0.0] * count
    found = stacking_weights(trial.inner_products(list(tested.values())))
    mean = trial.mean(list(tested.values()), list(found))
    ahead = tested[winner].total - mean.total
    if np.count_nonzero(found) < _FEWEST or ahead <= trial.standard_error(mean, tested[winner]):
        weights[winner] = 1.0
        return tuple(weights), tested[winner].total
    for index, weight in zip(tested, found, strict=True):
        weights[index] = float(weight)
    return tuple(weights), mean.total


def _root_spread(total: float, spread: float, whole: float) -> float:
    """Standard error of sqrt(total / whole)."""
    level = math.sqrt(max(total, 0.0) / whole)
    return math.sqrt((max(total, 0.0) + spread) / whole) - level


def _words(
    candidates: Sequence[tuple[str, Method]],
    tested: dict[int, Tested],
    best: int,
    winner: int,
    weights: Sequence[float],
) -> str:
    name = candidates[winner][0]
    if max(weights) < 1:
        parts = in_words([one for one, _ in candidates], weights)
        return f"the mean of {parts} by held-back lines: its error is smaller than that of each"
    others = [i for i in tested if i != winner]
    if not others:
        return f"{name}, as no other candidate could be tested"
    second = min(others, key=lambda i: tested[i].total)
    ratio = math.sqrt(max(tested[second].total, _NOTHING) / max(tested[winner].total, _NOTHING))
    against = candidates[second][0]
    if winner != best:
        return f"{name} by its place in the rule: {against} is ahead by less than the standard error"
    return f"{name} by held-back lines: the error of {against} is {ratio:.2f} times as large"
