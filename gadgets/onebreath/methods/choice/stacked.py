"""Stacking: the weighted mean of several methods' images, whose errors are not the same and partly cancel.

D. H. Wolpert, "Stacked generalization", Neural Netw 5:241 (1992); L. Breiman, "Stacked regressions", Mach Learn 24:49
(1996): the weights are those that predict data best that the methods have not seen, none negative, with sum 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from onebreath.methods.base import Fact, Method, Reconstruction, SliceData
from onebreath.mri import Array
from onebreath.mri.sampling import describe
from onebreath.threads import side_by_side
from onebreath.zoo.domain import Scan

LEAST = 0.1
"""Weight below which a method is left out: its time would bring next to nothing."""


@dataclass(frozen=True)
class Member:
    """One of the methods: its name, as the rule has it, the method, and its weight."""

    name: str
    method: Method
    weight: float


class Stacked(Method):
    """Weighted mean of the complex images of methods that use the same coil maps.

    Parameters
    ----------
    members
        The methods, classical ones first.
    """

    name = "stacked"
    learned = True

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        self.members = tuple(members)

    def __str__(self) -> str:
        """What it consists of, in words."""
        return in_words([one.name for one in self.members], [one.weight for one in self.members])

    def prepare(self, scan: Scan | None = None) -> None:
        """Prepare all members."""
        for one in self.members:
            one.method.prepare(scan)

    def foresee(self, slices: Sequence[SliceData]) -> None:
        """Let all members prepare for the slices."""
        for one in self.members:
            one.method.foresee(slices)

    def check(self, data: SliceData) -> None:
        """Check that all members are meant for a slice."""
        for one in self.members:
            one.method.check(data)

    def for_replicas(self) -> Method:
        """Return the same with the members' methods for replicas."""
        return Stacked([Member(one.name, one.method.for_replicas(), one.weight) for one in self.members])

    def effort(self, data: SliceData) -> float:
        """Sum of the members' efforts; nothing is made twice."""
        return sum(efforts_of([one.method for one in self.members], data))

    def trial(self, part: SliceData) -> Reconstruction:
        """Mean of the members' trials."""
        return self._mean([one.method.trial(_seen_by(one.method, part)) for one in self.members])

    def __call__(self, data: SliceData) -> Reconstruction:
        """Reconstruct one slice by all members, at the same time where one does not begin with another one's images.

        Raises
        ------
        MethodError
            If one of them cannot do it.
        """
        for one in self.members:
            one.method.derive = self.derive
        at_once = [one for one in self.members if self._start_of(one) is None]
        made = dict(
            zip(
                at_once, side_by_side([partial(one.method, _seen_by(one.method, data)) for one in at_once]), strict=True
            )
        )
        for one in self.members:
            start = self._start_of(one)
            if start is not None:
                made[one] = one.method(replace(data, start=made[start].images))
        return self._mean([made[one] for one in self.members])

    def _start_of(self, member: Member) -> Member | None:
        """Member whose images another one begins with, if it makes them as that one would."""
        return next((other for other in self.members if begins(member.method, other.method)), None)

    def _mean(self, made: Sequence[Reconstruction]) -> Reconstruction:
        images = weighted_mean([found.images for found in made], [one.weight for one in self.members])
        facts: dict[str, Fact] = {}
        for found in made:
            facts |= found.facts
        return Reconstruction(images, None, {**facts, "stacked": str(self)})


def begins(method: Method, other: Method) -> bool:
    """Whether a method begins with the images of another one, as this one makes them."""
    return other.name == method.begins_with and other.parameters == type(other)().parameters


def efforts_of(methods: Sequence[Method], data: SliceData) -> list[float]:
    """Return the methods' efforts for a slice where those that begin with another one's images take these."""
    alone = [method.effort(data) for method in methods]
    begun = [next((alone[i] for i, one in enumerate(methods) if begins(method, one)), 0.0) for method in methods]
    return [effort - start for effort, start in zip(alone, begun, strict=True)]


def _seen_by(method: Method, data: SliceData) -> SliceData:
    """Return what a member gets: of a lattice with calibration lines without these, if it learns from them alone."""
    if method.acs_as_data or not data.sampling.uniform:
        return data
    rows, found = np.arange(data.kspace.shape[2]), data.sampling
    mask = data.mask & (rows % found.acceleration == found.offset)[:, None]
    kspace = np.where(mask[:, None], data.kspace, np.complex64(0))
    sampling = describe(mask, found.centre, acceleration=found.acceleration)
    return replace(data, kspace=kspace, mask=mask, sampling=sampling)


def weighted_mean(parts: Sequence[Array], weights: Sequence[float]) -> Array:
    """Return the mean of arrays with weights of sum 1."""
    return sum(weight * part for weight, part in zip(weights, parts, strict=True))


def in_words(names: Sequence[str], weights: Sequence[float]) -> str:
    """Say what a mean consists of; weights of 0 are left out."""
    return " and ".join(f"{weight:.2f} of {name}" for name, weight in zip(names, weights, strict=True) if weight)


def stacking_weights(errors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the weights of `best_weights` of those methods whose weight is not next to nothing."""
    kept = np.arange(len(errors))
    while True:
        weights = best_weights(errors[np.ix_(kept, kept)])
        enough = weights >= LEAST
        if enough.all():
            whole = np.zeros(len(errors))
            whole[kept] = weights
            return whole
        kept = kept[enough]


def best_weights(errors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the weights of least error, none negative, with sum 1.

    Parameters
    ----------
    errors
        Inner products of the methods' errors ``(method, method)``; what is added to all of them makes no difference.
    """
    best, least = np.zeros(len(errors)), np.inf
    for weights in _candidates(np.asarray(errors, np.float64)):
        value = float(weights @ errors @ weights)
        if value < least:
            best, least = weights, value
    return best


def _candidates(errors: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Minimisers over each subset of the methods that are inside of it; the best of them is that of all."""
    count = len(errors)
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            index = list(chosen)
            # Weights of sum 1 are the first plus differences to it: a problem without constraints.
            differences = np.zeros((size - 1, count))
            for row, other in enumerate(index[1:]):
                differences[row, other], differences[row, index[0]] = 1, -1
            start = np.zeros(count)
            start[index[0]] = 1
            normal = differences @ errors @ differences.T
            moved = np.linalg.lstsq(normal, -differences @ errors @ start, rcond=None)[0] if size > 1 else np.zeros(0)
            weights = start + moved @ differences
            if weights.min() >= 0:
                yield weights
