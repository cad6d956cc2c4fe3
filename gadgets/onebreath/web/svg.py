"""Charts as SVG, drawn here: no script is needed to see them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from onebreath.web.trends.control import GROUP, AnyChart, ShareChart

WIDE, TALL = 560, 170
LEFT, RIGHT, TOP, BOTTOM = 62, 8, 10, 20
TICKS = 4
SPARK = 240, 44
WIDE_RANGE = 4.0  # of values, as a factor, beyond which an axis has steps of equal factors
DOTS = 120  # values on a chart that each have a dot; where there are more only those outside have
SIZES = {"alarmed": 5, "outside": 3.5, "inside": 2}


@dataclass(frozen=True)
class Point:
    """A value on a chart: its position, whether it is outside the limits or raised an alarm, and what it is of."""

    value: float
    outside: bool
    alarmed: bool
    title: str


def trend(points: Sequence[tuple[float, float, str]], chart: AnyChart, alarmed: set[str]) -> Markup:
    """Draw values with centre line and control limits.

    Parameters
    ----------
    points
        Time, value and scan, oldest first.
    chart
        Their control chart.
    alarmed
        Scans at which an alarm was raised.
    """
    if isinstance(chart, ShareChart):
        lines = [("centre", GROUP * chart.share), ("limit", float(chart.most()) - 0.5)] if chart.ready else []
        return _drawn(_groups(points, chart, alarmed), lines, f"groups of {GROUP} scans", counts=True)
    low, centre, high = chart.bounds() if chart.ready else (0.0, 0.0, 0.0)
    lines = [("limit", low), ("centre", centre), ("limit", high)] if chart.ready else []
    shown = [
        Point(value, chart.ready and not low <= value <= high, scan in alarmed, f"{scan}: {value:.4g}")
        for _, value, scan in points
    ]
    return _drawn(shown, lines, "scans")


def _groups(points: Sequence[tuple[float, float, str]], chart: ShareChart, alarmed: set[str]) -> list[Point]:
    """Count fallbacks in groups, from the newest scan backwards, so that the last group is whole."""
    made = []
    for end in range(len(points), GROUP - 1, -GROUP):
        group = points[end - GROUP : end]
        count = sum(value for _, value, _ in group)
        there = any(scan in alarmed for _, _, scan in group)
        title = f"{group[0][2]} to {group[-1][2]}: {count:.0f} of {GROUP}"
        made.append(Point(count, chart.ready and count >= chart.most(), there, title))
    return made[::-1]


class _Axis:
    """The axis of values: from zero for counts, else of factors where values differ by more than `WIDE_RANGE`."""

    def __init__(self, values: Sequence[float], counts: bool) -> None:
        low, high = min(values), max(values)
        self.factors = not counts and low > 0 and high / low > WIDE_RANGE
        if self.factors:
            low, high = math.log(low), math.log(high)
        margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        self.low, self.high = 0.0 if counts else low - margin, high + margin
        if not self.factors and self.low < 0 <= low:
            self.low = 0.0  # what is never negative has no such axis

    def y(self, value: float) -> float:
        """Return the height of a value on the screen."""
        place = math.log(value) if self.factors else value
        return round(TOP + (TALL - TOP - BOTTOM) * (1 - (place - self.low) / (self.high - self.low)), 1)

    def ticks(self) -> list[float]:
        """Return the values that have a line."""
        places = [self.low + (self.high - self.low) * number / TICKS for number in range(TICKS + 1)]
        return [math.exp(place) for place in places] if self.factors else places


def _drawn(points: Sequence[Point], lines: Sequence[tuple[str, float]], what: str, counts: bool = False) -> Markup:
    if not points:
        return Markup('<p class="quiet">No values yet.</p>')
    axis = _Axis([point.value for point in points] + [value for _, value in lines], counts)

    def x(index: int) -> float:
        return round(LEFT + (WIDE - LEFT - RIGHT) * (index / (len(points) - 1) if len(points) > 1 else 0.5), 1)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDE} {TALL}" role="img" aria-label="control chart">']
    for value in axis.ticks():
        parts.append(f'<text x="{LEFT - 6}" y="{axis.y(value) + 4}" text-anchor="end">{value:.3g}</text>')
    for kind, value in [*(("grid", value) for value in axis.ticks()), *lines]:
        height = axis.y(value)
        parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{height}" y2="{height}"/>')
    path = " ".join(f"{x(index)},{axis.y(point.value)}" for index, point in enumerate(points))
    parts.append(f'<polyline class="values" points="{path}"/>')
    for index, point in enumerate(points):
        kind = "alarmed" if point.alarmed else "outside" if point.outside else "inside"
        if kind != "inside" or len(points) <= DOTS:
            title = Markup("<title>{}</title>").format(point.title)
            place = f'cx="{x(index)}" cy="{axis.y(point.value)}"'
            parts.append(f'<circle class="{kind}" {place} r="{SIZES[kind]}">{title}</circle>')
    scale = "; steps of equal factors" if axis.factors else ""
    parts.append(f'<text x="{LEFT}" y="{TALL - 4}">{len(points)} {what}, newest at the right{scale}</text></svg>')
    return Markup("".join(parts))


def spark(values: Sequence[float], top: float = 0.0) -> Markup:
    """Draw a small line of values over time, from zero to `top` or to the largest; nothing for fewer than two."""
    if len(values) < 2:
        return Markup("")
    wide, tall = SPARK
    high = max(top, *values) or 1.0
    path = " ".join(
        f"{wide * index / (len(values) - 1):.1f},{tall - 2 - (tall - 4) * value / high:.1f}"
        for index, value in enumerate(values)
    )
    return Markup(
        f'<svg class="spark" viewBox="0 0 {wide} {tall}" preserveAspectRatio="none" role="img" aria-label="over time">'
        f'<polyline class="values" points="{path}"/></svg>'
    )
