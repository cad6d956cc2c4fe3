"""Comparison of methods by Wilcoxon signed-rank tests, corrected for multiple testing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wilcoxon

from onebreath.optional import required


@dataclass(frozen=True)
class Comparison:
    """Result of one paired test.

    Attributes
    ----------
    n
        Number of pairs; equal ones are excluded from the ranks (F. Wilcoxon, Biometrics Bulletin 1:80 (1945)).
    n_different
        Number of pairs that differ.
    difference
        Median of reference minus other.
    statistic
        The smaller rank sum.
    p
        Two-sided p value; 1 if no pair differs.
    p_bonferroni, p_holm
        p values corrected for the number of comparisons: C. E. Bonferroni (1936); S. Holm, Scand J Stat 6:65 (1979).
    """

    n: int
    n_different: int
    difference: float
    statistic: float
    p: float
    p_bonferroni: float = 1.0
    p_holm: float = 1.0


def compare(reference: ArrayLike, other: ArrayLike) -> Comparison:
    """Two-sided Wilcoxon signed-rank test of paired values.

    Raises
    ------
    ValueError
        If the values are not pairs of finite numbers.
    """
    a, b = np.asarray(reference, float), np.asarray(other, float)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise ValueError(f"a paired test needs two lists of equal length, not {a.shape} and {b.shape}")
    difference = a - b
    if not np.isfinite(difference).all():
        raise ValueError("a paired test needs finite values")
    different = difference[difference != 0]
    if not different.size:
        return Comparison(a.size, 0, 0.0, 0.0, 1.0)
    result = wilcoxon(different, alternative="two-sided")
    middle = float(np.median(difference))
    return Comparison(a.size, different.size, middle, float(result.statistic), float(result.pvalue))


def compare_all(reference: ArrayLike, others: Mapping[str, ArrayLike]) -> dict[str, Comparison]:
    """Comparison of a reference with each of several others, corrected for their number."""
    found = {name: compare(reference, values) for name, values in others.items()}
    if not found:
        return {}
    correct = required("statsmodels.stats.multitest", "report", "A comparison of methods").multipletests
    plain = [one.p for one in found.values()]
    bonferroni, holm = (correct(plain, method=method)[1].tolist() for method in ("bonferroni", "holm"))
    corrected = zip(found.items(), bonferroni, holm, strict=True)
    return {name: Comparison(**(asdict(one) | {"p_bonferroni": b, "p_holm": h})) for (name, one), b, h in corrected}


class Spread(NamedTuple):
    """Mean and sample standard deviation (0 of a single value), and the number of values."""

    mean: float
    std: float
    n: int


def spread(values: Sequence[float] | np.ndarray) -> Spread:
    """Return mean and spread of one value or more."""
    return Spread(float(np.mean(values)), float(np.std(values, ddof=min(1, len(values) - 1))), len(values))


def mean_and_spread(mean: float, std: float, count: int, digits: int) -> str:
    """Mean and standard deviation as text, ``28.39 ± 1.02``; the mean alone of a single value, which has no spread."""
    return f"{mean:.{digits}f}" + (f" ± {std:.{digits}f}" if count > 1 else "")


def per_patient(patients: Sequence[str], values: Sequence[float]) -> list[float]:
    """Mean over the slices of each patient, as slices are not independent; patients in order of their first slice."""
    groups: dict[str, list[float]] = defaultdict(list)
    for patient, value in zip(patients, values, strict=True):
        groups[patient].append(value)
    return [float(np.mean(group)) for group in groups.values()]
