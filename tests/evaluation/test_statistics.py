import itertools

import numpy as np
import pytest

from onebreath.evaluation.statistics import Comparison, compare, compare_all, mean_and_spread, per_patient

# Charles Darwin's differences in height of cross- and self-fertilised corn plants, in eighths of an inch.
DARWIN = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], float)


def exact_p(differences):
    """Two-sided p by counting all signs of the ranks."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    observed = min(ranks[differences > 0].sum(), ranks[differences < 0].sum())
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))])
    return min(1.0, 2 * np.mean(sums <= observed)), observed


def test_published_example():
    found = compare(DARWIN + 100, np.full(15, 100.0))
    assert (found.n, found.n_different, found.statistic) == (15, 15, 24)
    assert found.p == pytest.approx(0.041259765625)
    assert found.difference == np.median(DARWIN)


def test_p_counts_all_signs():
    differences = np.random.default_rng(3).normal(0.4, 1, 9)
    found = compare(differences, np.zeros(9))
    p, statistic = exact_p(differences)
    assert found.p == pytest.approx(p)
    assert found.statistic == statistic


def test_equal_pairs_are_left_out():
    same = compare([*DARWIN, 0.0, 0.0], np.zeros(17))
    assert (same.n, same.n_different, same.statistic) == (17, 15, 24)
    assert compare([1.0, 2.0], [1.0, 2.0]).p == 1


def test_corrections(monkeypatch):
    monkeypatch.setattr("onebreath.evaluation.statistics.compare", lambda _, p: Comparison(9, 9, 0.0, 0.0, p))
    found = compare_all([], {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}).values()
    assert [one.p_bonferroni for one in found] == pytest.approx([0.04, 0.16, 0.12, 0.02])
    assert [one.p_holm for one in found] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert max(one.p_holm for one in compare_all([], {"a": 0.6, "b": 0.9}).values()) == 1
    assert compare_all([], {}) == {}


def test_several_methods_are_corrected_for_their_number():
    reference = np.arange(8.0)
    found = compare_all(reference, {"worse": reference - np.arange(1, 9), "same": reference})
    assert found["worse"].p == pytest.approx(2 / 2**8)
    assert found["worse"].p_bonferroni == pytest.approx(4 / 2**8)
    assert found["worse"].p_holm == pytest.approx(4 / 2**8)
    assert found["same"].p_bonferroni == 1


def test_slices_of_a_patient_are_averaged():
    assert per_patient(["b", "a", "b"], [1.0, 5.0, 3.0]) == [2.0, 5.0]


def test_a_single_value_has_no_spread():
    assert (mean_and_spread(1.0, 0.5, 2, 2), mean_and_spread(1.0, 0.0, 1, 2)) == ("1.00 ± 0.50", "1.00")


@pytest.mark.parametrize(("a", "b", "words"), [([1.0], [1.0, 2.0], "equal length"), ([np.inf], [1.0], "finite")])
def test_what_cannot_be_compared(a, b, words):
    with pytest.raises(ValueError, match=words):
        compare(a, b)
