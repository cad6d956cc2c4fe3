"""Control charts: whether a number that each scan brings stays what it was.

Single values are judged by an individuals chart with moving range (D. C. Montgomery, *Introduction to Statistical
Quality Control*, chapter 6.4; W. A. Shewhart, 1931): limits at three standard deviations, which the mean difference of
neighbours gives. A slow drift is found by a tabular CUSUM (E. S. Page, Biometrika 41, 1954; Montgomery, chapter 9.1),
whose steps are limited as in the robust CUSUM (J. M. Lucas and R. B. Crosier, Comm. Stat. 11, 1982), so that no single
scan is a drift. Shares are judged by a chart of the number in a group, with exact limits of the binomial distribution.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from scipy.special import bdtrc

BASELINE = 50  # values from which the limits are computed
GROUP = 20  # scans whose fallbacks are counted together
LIMIT = 3.0  # standard deviations
ALLOWANCE, DECISION = 0.5, 10.0  # k and h of the CUSUM, in standard deviations
D2 = 1.128  # expected range of two values of unit standard deviation
LEAST = 0.01  # standard deviation, relative to the value: smaller changes are nobody's concern
TAIL = 0.00135  # probability beyond a limit, as of three standard deviations on one side

Kind: TypeAlias = Literal["jump", "drift", "share"]


@dataclass
class Chart:
    """Chart of one number of one protocol; logarithms are judged, so that limits are factors.

    Parameters
    ----------
    base
        Values of the baseline, as long as it grows.
    centre, sigma
        Mean and standard deviation of the logarithms; sigma 0: not known yet.
    up, down
        Sums of the CUSUM.
    sides
        On which side of the limits the last values were: 1, 0 or -1.
    told
        Alarms that nobody has closed yet; they are not raised again.
    """

    base: list[float] = field(default_factory=list)
    centre: float = 0.0
    sigma: float = 0.0
    up: float = 0.0
    down: float = 0.0
    sides: list[int] = field(default_factory=list)
    told: list[Kind] = field(default_factory=list)

    def take(self, value: float) -> list[Kind]:
        """Judge a value; return the alarms that it raises. Values that are not positive have no place on the chart."""
        if not (math.isfinite(value) and value > 0):
            return []
        if not self.sigma:
            self.base.append(math.log(value))
            if len(self.base) >= BASELINE:
                self.centre, self.sigma = limits(self.base)
                self.base.clear()
            return []
        z = (math.log(value) - self.centre) / self.sigma
        self.sides = [*self.sides[-2:], (z > LIMIT) - (z < -LIMIT)]
        step = min(max(z, -LIMIT), LIMIT)
        self.up = max(0.0, self.up + step - ALLOWANCE)
        self.down = max(0.0, self.down - step - ALLOWANCE)
        found: list[Kind] = []
        if max(self.sides.count(1), self.sides.count(-1)) >= 2:
            found.append("jump")
        if max(self.up, self.down) > DECISION:
            found.append("drift")
        return _news(self.told, found)

    def close(self) -> None:
        """Forget what was found: from here on alarms are raised again."""
        self.told.clear()
        self.sides.clear()
        self.up = self.down = 0.0

    @property
    def ready(self) -> bool:
        """Whether there are limits."""
        return self.sigma > 0

    def bounds(self) -> tuple[float, float, float]:
        """Return lower limit, centre and upper limit, as values."""
        reach = LIMIT * self.sigma
        return math.exp(self.centre - reach), math.exp(self.centre), math.exp(self.centre + reach)


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Return centre and standard deviation of a baseline, without the values that lie outside its own limits.

    The standard deviation is the larger one of that by moving ranges and that about the mean: scans of one patient
    follow each other and are alike, which makes neighbours differ less than patients do.
    """
    kept = list(values)
    centre, sigma = _spread(kept)
    inside = [value for value in kept if abs(value - centre) <= LIMIT * sigma]
    if len(kept) > len(inside) >= 2:
        centre, sigma = _spread(inside)
    return centre, sigma


def _spread(values: Sequence[float]) -> tuple[float, float]:
    ranges = [abs(after - before) for before, after in itertools.pairwise(values)]
    return statistics.fmean(values), max(statistics.fmean(ranges) / D2, statistics.stdev(values), LEAST)


@dataclass
class ShareChart:
    """Chart of how many scans in a group are of some kind.

    Parameters
    ----------
    seen, marked
        Scans of the baseline, and those of the kind among them.
    recent
        The last scans: 1 if of the kind.
    told
        As in `Chart`.
    """

    seen: int = 0
    marked: int = 0
    recent: list[int] = field(default_factory=list)
    told: list[Kind] = field(default_factory=list)

    def take(self, value: float) -> list[Kind]:
        """Judge a scan: 1 if it is of the kind, else 0; return the alarms that it raises."""
        one = int(bool(value))
        if not self.ready:
            self.seen += 1
            self.marked += one
            return []
        self.recent = [*self.recent[-GROUP + 1 :], one]
        return _news(self.told, ["share"] if sum(self.recent) >= self.most() else [])

    def close(self) -> None:
        """As `Chart.close`."""
        self.told.clear()
        self.recent.clear()

    @property
    def ready(self) -> bool:
        """Whether there are limits."""
        return self.seen >= 2 * BASELINE

    @property
    def share(self) -> float:
        """Share in the baseline; half a scan is added, as none in a hundred does not mean never (Jeffreys)."""
        return (self.marked + 0.5) / (self.seen + 1)

    def most(self) -> int:
        """Return the least number in a group that is an alarm; more than the group if none is."""
        return next((n for n in range(1, GROUP + 1) if bdtrc(n - 1, GROUP, self.share) <= TAIL), GROUP + 1)


def _news(told: list[Kind], found: list[Kind]) -> list[Kind]:
    news = [kind for kind in found if kind not in told]
    told += news
    return news


AnyChart: TypeAlias = Chart | ShareChart


def packed(chart: AnyChart) -> dict[str, Any]:
    """Return a chart as JSON can hold it; `Chart(**packed)` is equal."""
    return asdict(chart)
