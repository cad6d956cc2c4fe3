"""What a choice among methods found: each candidate's estimated error, who won, and how far that is to be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onebreath.methods.base import Fact, SliceData
from onebreath.methods.choice.likeness import Likeness


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
    unknown
        Why nothing is known of the error but who has the least; empty if the interval holds.
    interval
        About the error: that of the magnitude image was within in nine of ten scans.
    slices
        How many slices were tested.
    like
        What these slices are, for comparison with others.
    """

    winner: int
    estimates: tuple[Estimate, ...]
    reason: str
    noise_only: float
    lines: int
    seconds: float
    weights: tuple[float, ...]
    error: float
    unknown: str = ""
    interval: tuple[float, float] = (0.0, math.inf)
    slices: int = 1
    like: Likeness | None = None

    @property
    def middle(self) -> float:
        """Likely error of the magnitude: the middle of the interval, where that holds."""
        return self.error if self.unknown else _middle(self.interval)

    def interval_of(self, data: SliceData) -> tuple[float, float] | str:
        """Return the interval about the error of a slice, or why nothing is known of it."""
        if self.unknown:
            return self.unknown
        if self.like is None:
            return self.interval
        other = Likeness.of([data])
        return self.like.differs(other) or self.like.extended(self.interval, other)

    def error_of(self, data: SliceData) -> float | None:
        """Return the likely error of a slice's magnitude; None where nothing is known of it."""
        found = self.interval_of(data)
        return None if isinstance(found, str) else _middle(found)

    @property
    def facts(self) -> dict[str, Fact]:
        """Return facts for the meta of the images."""
        error: dict[str, Fact] = {} if self.unknown else {"choice_error": round(self.error, 4)}
        return {
            "choice": self.reason,
            **error,
            "choice_error_90_percent": f"not known, as {self.unknown}" if self.unknown else _range(self.interval),
            "choice_errors": "; ".join(map(str, self.estimates)),
            "choice_noise_only": round(self.noise_only, 4),
            "choice_lines": self.lines,
            "choice_slices": self.slices,
            "choice_seconds": round(self.seconds, 3),
        }

    def facts_of(self, data: SliceData) -> dict[str, Fact]:
        """Return the facts that another slice has of its own: its interval, where that is known."""
        if self.unknown or self.like is None:
            return {}
        found = self.interval_of(data)
        return {"choice_error_90_percent": f"not known, as {found}" if isinstance(found, str) else _range(found)}


def _middle(interval: tuple[float, float]) -> float:
    low, high = interval
    return math.sqrt(max(low, high / 4) * high)


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"
