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
from dataclasses import replace

import numpy as np

from onebreath.errors import MethodError, OnebreathError
from onebreath.methods.base import Method, SliceData
from onebreath.methods.choice.decision import Choice, Estimate
from onebreath.methods.choice.edge import DRAWS, STATIC_FRAMES, EdgeTrial
from onebreath.methods.choice.lattice_edge import why_not
from onebreath.methods.choice.likeness import Likeness
from onebreath.methods.choice.plan import Plan, plan_of, plan_of_edges
from onebreath.methods.choice.run import run_all
from onebreath.methods.choice.stacked import efforts_of, in_words, stacking_weights
from onebreath.methods.choice.trial import LineTrial, Tested, Trial
from onebreath.methods.known_noise import WHITENING, noise_level

log = logging.getLogger("onebreath.choice")

_FEWEST = 2
"""Candidates among which there is something to decide."""
_NOTHING = 1e-30
"""In place of an energy of zero."""


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

    found, seconds = run_all([method for _, method in candidates], plan, trial)
    judged = {i: one for i, one in enumerate(found) if not isinstance(one, str)}
    tested = {i: one for i, one in judged.items() if one.complete}
    if not tested:
        raise MethodError("no candidate could be tested: " + "; ".join(str(text) for text in found))
    best = min(tested, key=lambda i: tested[i].total)
    _check_noise(data, tested[best].total)
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
    reason = _words(candidates, judged, best, winner, weights, error)
    log.info("%s (%s)", reason, "; ".join(map(str, estimates)))
    noise_only = math.sqrt(trial.noise_through / whole)
    lines, spent = trial.count, time.perf_counter() - begun
    relative = math.sqrt(max(error, 0.0) / whole)
    low, high = trial.likely
    least = math.sqrt(max(error - trial.beyond_maps(list(tested.values())), 0.0) / whole)
    interval = (low * least, math.hypot(high * relative, math.sqrt(trial.unshown(whole) / whole)))
    unknown = _unknown(data, trial)
    like = Likeness.of(_tested_slices([data, *further], plan.slices))
    found_by = (noise_only, lines, spent, weights, relative, unknown, interval, plan.slices, like)
    return Choice(winner, tuple(estimates), reason, *found_by)


def _check_noise(data: SliceData, total: float) -> None:
    """Raise MethodError if the best error is estimated below zero because the noise is not that of the lines."""
    source = noise_level(data)[1]
    if total <= 0 and source != WHITENING:
        raise MethodError(f"the lines differ by less than their noise would explain, so it is not known ({source})")


def _unknown(data: SliceData, trial: LineTrial) -> str:
    """Return why the interval does not hold; empty if it does."""
    if not trial.centre_is_known:
        return "the centre of k-space was not acquired in all frames"
    if data.sampling.partial_fourier < 1 or data.sampling.asymmetric_echo:
        return "a part of k-space was not acquired (partial Fourier), and no held-back line is like it"
    if noise_level(data)[1] != WHITENING and data.noise_floor.even is None:
        return "the noise is not known: what was measured in k-space may hold signal"
    return ""


def _tested_slices(there: Sequence[SliceData], count: int) -> list[SliceData]:
    """Return those of the slices there that are tested, spread evenly."""
    places = [int((i + 0.5) * len(there) / count) for i in range(count)]  # outer slices hold little
    return [there[i] for i in places]


def _prepared(
    methods: Sequence[Method], there: Sequence[SliceData], within: float, slices: int
) -> tuple[Plan, LineTrial]:
    """Plan and prepare the tests: at the edge of the calibration lines, or at lines between the others."""
    first, kernels = there[0], {i for i, method in enumerate(methods) if not method.acs_as_data}
    reason = why_not(first)
    edge, wide = not reason, len(first.kspace) <= STATIC_FRAMES or bool(kernels)
    refused = _refused(methods, first)
    able = [i for i in range(len(methods)) if i not in refused and (edge or i not in kernels)]
    if not able and len(refused) == len(methods):
        raise MethodError("no candidate could be tested: " + "; ".join(refused.values()))
    if not able:
        raise MethodError(f"all candidates learn from calibration lines, and {reason}")
    efforts = efforts_of([methods[i].for_replicas() for i in able], first)
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
    left_out = {i: text for i, text in left_out.items() if i not in refused}
    if left_out and len(methods) - len(refused) - len(left_out) < _FEWEST:
        raise MethodError(left_out[min(left_out)])
    plan = replace(plan, left_out=left_out | refused, reference=reference)
    if not edge:
        return plan, Trial.of(first, plan.frames, plan.columns)
    return plan, EdgeTrial.of(_tested_slices(there, plan.slices), plan.frames, plan.columns)


def _refused(methods: Sequence[Method], data: SliceData) -> dict[int, str]:
    """Return the methods that cannot reconstruct a slice at all, by index, with the reason: they cost no time."""
    found: dict[int, str] = {}
    for i, method in enumerate(methods):
        try:
            method.check(data)
        except OnebreathError as error:
            found[i] = str(error)
        except MemoryError:
            found[i] = "memory ran out"
    return found


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
    error: float,
) -> str:
    name = candidates[winner][0]
    if max(weights) < 1:
        parts = in_words([one for one, _ in candidates], weights)
        ratio = math.sqrt(max(tested[best].total, _NOTHING) / max(error, _NOTHING))
        return (
            f"the mean of {parts} by held-back lines: the error of {candidates[best][0]} is {ratio:.2f} times as large"
        )
    others = [i for i in tested if i != winner]
    if not others:
        return (
            f"{name}, the only candidate" if len(candidates) == 1 else f"{name}, as no other candidate could be tested"
        )
    second = min(others, key=lambda i: tested[i].total)
    ratio = math.sqrt(max(tested[second].total, _NOTHING) / max(tested[winner].total, _NOTHING))
    against = candidates[second][0]
    if winner != best:
        return f"{name} by its place in the rule: {against} is ahead by less than the standard error"
    least = "" if tested[second].complete else "at least "
    return f"{name} by held-back lines: the error of {against} is {least}{ratio:.2f} times as large"
