"""Control charts: published properties of the rules, false alarms that are rare, and changes that are found."""

import math

import numpy as np
import pytest

from onebreath.web.trends.control import ALLOWANCE, BASELINE, DECISION, GROUP, TAIL, Chart, ShareChart, limits, packed

RUNS, LENGTH = 200, 400


def first_alarm(chart, values) -> int | None:
    return next((index for index, value in enumerate(values) if chart.take(float(value))), None)


def watched(rng: np.random.Generator, spread: float = 0.1) -> Chart:
    chart = Chart()
    for value in np.exp(spread * rng.standard_normal(BASELINE)):
        assert chart.take(float(value)) == []
    assert chart.ready
    return chart


def test_limits_are_those_of_a_textbook_example() -> None:
    # Montgomery, chapter 6.4: viscosity of aircraft primer paint, batches 1 to 15; x-bar 33.52, MR-bar 0.48.
    batches = [33.75, 33.05, 34.00, 33.81, 33.46, 34.02, 33.68, 33.27, 33.49, 33.20, 33.62, 33.00, 33.54, 33.12, 33.84]
    centre, sigma = limits(batches)
    assert centre == pytest.approx(33.52, abs=0.005)
    assert centre + 3 * sigma == pytest.approx(34.80, abs=0.02)
    assert centre - 3 * sigma == pytest.approx(32.24, abs=0.02)


def test_values_of_a_baseline_that_lie_outside_do_not_widen_the_limits() -> None:
    rng = np.random.default_rng(0)
    values = list(rng.standard_normal(50))
    _, sigma = limits(values)
    values[20] = 40.0
    _, with_outlier = limits(values)
    assert with_outlier == pytest.approx(sigma, rel=0.15)


def test_scans_of_one_patient_that_are_alike_do_not_narrow_the_limits() -> None:
    rng = np.random.default_rng(1)
    values = np.repeat(rng.uniform(-1, 1, 25), 10) + 0.01 * rng.standard_normal(250)
    by_ranges = np.abs(np.diff(values)).mean() / 1.128
    _, sigma = limits(list(values))
    assert by_ranges < 0.2
    assert sigma == pytest.approx(values.std(), rel=0.1)


def test_false_alarms_on_stable_data_are_rare() -> None:
    rng = np.random.default_rng(2)
    alarms = [first_alarm(watched(rng), np.exp(0.1 * rng.standard_normal(LENGTH))) for _ in range(RUNS)]
    share = sum(one is not None for one in alarms) / RUNS
    assert share <= 0.15, f"{share:.0%} of protocols have a false alarm within {LENGTH} scans"


def test_false_alarms_stay_rare_with_heavy_tails() -> None:
    rng = np.random.default_rng(3)
    spread = 0.1
    alarms = 0
    for _ in range(RUNS):
        chart = Chart()
        values = np.exp(spread * rng.standard_t(5, BASELINE + LENGTH))
        alarms += first_alarm(chart, values) is not None
    assert alarms / RUNS <= 0.3, alarms


@pytest.mark.parametrize(("shift", "within"), [(1.0, 40), (1.5, 20), (4.0, 6)])
def test_a_step_is_found_in_both_directions(shift: float, within: int) -> None:
    rng = np.random.default_rng(4)
    for sign in (1, -1):
        delays = []
        for _ in range(50):
            chart = watched(rng)
            values = np.exp(0.1 * (rng.standard_normal(200) + sign * shift))
            delays.append(first_alarm(chart, values))
        assert None not in delays
        assert np.median(delays) <= within


def test_a_slow_drift_is_found() -> None:
    rng, drift = np.random.default_rng(5), 0.02 * np.arange(300)
    found = [first_alarm(watched(rng), np.exp(0.1 * (rng.standard_normal(300) + drift))) for _ in range(50)]
    assert None not in found
    assert np.median(found) < 100, "two standard deviations of drift"


def test_run_length_is_that_of_theory() -> None:
    """Siegmund's approximation of the CUSUM's run length at a shift of one standard deviation."""
    b, delta = DECISION + 1.166, 1.0 - ALLOWANCE
    theory = (math.exp(-2 * delta * b) + 2 * delta * b - 1) / (2 * delta**2)
    rng = np.random.default_rng(6)
    lengths = []
    for _ in range(400):
        chart = Chart(centre=0.0, sigma=0.1)
        lengths.append(1 + first_alarm(chart, np.exp(0.1 * (rng.standard_normal(300) + 1.0))))
    assert np.mean(lengths) == pytest.approx(theory, rel=0.12)


def test_one_wild_scan_is_no_alarm_and_two_of_three_are() -> None:
    chart = Chart(centre=0.0, sigma=0.1)
    for value in (1.0, 50.0, 1.0, 1.0, 1.0, 50.0, 1.0):
        assert chart.take(value) == []
    assert chart.take(50.0) == ["jump"]
    assert chart.take(50.0) == [], "it is told once"
    chart.close()
    assert chart.take(50.0) == []
    assert chart.take(50.0) == ["jump"]


def test_what_is_no_number_is_not_judged() -> None:
    chart = Chart(centre=0.0, sigma=0.1)
    before = packed(chart)
    for value in (0.0, -1.0, math.nan, math.inf):
        assert chart.take(value) == []
    assert packed(chart) == before


def test_values_that_never_change_do_not_make_limits_of_no_width() -> None:
    chart = Chart()
    for _ in range(BASELINE):
        chart.take(2.0)
    low, centre, high = chart.bounds()
    assert (low, centre, high) == pytest.approx((2 * math.exp(-0.03), 2.0, 2 * math.exp(0.03)))


def test_fallbacks_that_become_frequent_are_an_alarm() -> None:
    rng = np.random.default_rng(7)
    false = late = 0
    for _ in range(RUNS):
        chart = ShareChart()
        for value in rng.random(2 * BASELINE) < 0.05:
            assert chart.take(value) == []
        false += first_alarm(chart, rng.random(LENGTH) < 0.05) is not None
        chart.close()
        found = first_alarm(chart, rng.random(100) < 0.6)
        late += found is None or found > GROUP
    assert false / RUNS <= 0.25, false
    assert late == 0


def test_the_limit_of_fallbacks_is_exact() -> None:
    chart = ShareChart(seen=100, marked=5)
    p, most = 5.5 / 101, chart.most()

    def tail(least: int) -> float:
        return sum(math.comb(GROUP, n) * p**n * (1 - p) ** (GROUP - n) for n in range(least, GROUP + 1))

    assert tail(most) <= TAIL < tail(most - 1)
