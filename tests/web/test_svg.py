"""Charts: where values, limits and alarms are drawn."""

import re

import pytest

from onebreath.web import svg
from onebreath.web.trends.control import GROUP, Chart, ShareChart


def heights(drawn: str, kind: str) -> list[float]:
    return [float(text) for text in re.findall(rf'<line class="{kind}"[^>]*y1="([^"]+)"', drawn)]


def circles(drawn: str, kind: str) -> list[tuple[float, float]]:
    found = re.findall(rf'<circle class="{kind}" cx="([^"]+)" cy="([^"]+)"', drawn)
    return [(float(x), float(y)) for x, y in found]


def test_what_is_outside_lies_beyond_the_limits_on_the_screen() -> None:
    chart = Chart(centre=0.0, sigma=0.1)
    values = [1.0, 1.1, 0.9, 1.5, 0.6, 1.0]
    drawn = str(svg.trend([(0.0, value, f"s{n}") for n, value in enumerate(values)], chart, {"s4"}))
    upper, lower = sorted(heights(drawn, "limit"))
    ((_, above),) = circles(drawn, "outside")
    ((_, below),) = circles(drawn, "alarmed")
    assert above < upper < lower < below
    assert all(upper < y < lower for _, y in circles(drawn, "inside"))
    places = [x for kind in ("inside", "outside", "alarmed") for x, _ in circles(drawn, kind)]
    assert sorted(places)[0] == svg.LEFT
    assert sorted(places)[-1] == svg.WIDE - svg.RIGHT
    assert upper < heights(drawn, "centre")[0] < lower


def test_factors_have_equal_steps_where_values_differ_much() -> None:
    drawn = str(svg.trend([(0.0, value, "s") for value in (0.1, 1.0, 10.0)], Chart(), set()))
    first, second, third = (y for _, y in circles(drawn, "inside"))
    assert first - second == pytest.approx(second - third, abs=0.2)
    assert "equal factors" in drawn
    near = str(svg.trend([(0.0, value, "s") for value in (1.0, 2.0, 3.0)], Chart(), set()))
    assert "equal factors" not in near


def test_values_that_are_never_negative_have_no_negative_axis() -> None:
    for values in ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0], [0.0, 0.0], [5.0]):
        drawn = str(svg.trend([(0.0, value, "s") for value in values], Chart(), set()))
        assert ">-" not in drawn
        assert "nan" not in drawn


def test_fallbacks_are_counted_in_groups_from_the_newest() -> None:
    chart = ShareChart(seen=100, marked=0)
    values = [0.0] * 5 + [0.0] * GROUP + [1.0] * 8 + [0.0] * 12
    drawn = str(svg.trend([(0.0, value, f"s{n}") for n, value in enumerate(values)], chart, set()))
    assert f"2 groups of {GROUP} scans" in drawn
    assert len(circles(drawn, "outside")) == 1
    assert f"s25 to s44: 8 of {GROUP}" in drawn
    assert len(heights(drawn, "limit")) == 1


def test_names_in_charts_are_text() -> None:
    drawn = str(svg.trend([(0.0, 1.0, "<script>")], Chart(), set()))
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn


def test_nothing_is_said_where_there_is_nothing() -> None:
    assert "No values yet" in str(svg.trend([], Chart(), set()))
    assert str(svg.spark([])) == str(svg.spark([1.0])) == ""
    assert "polyline" in str(svg.spark([0.0, 0.0]))
