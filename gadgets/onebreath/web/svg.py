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
        return _drawn(_groups(points, chart, alarmed), lines, f"groups of {GROUP} scans", 0.0)
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


def _drawn(
    points: Sequence[Point], lines: Sequence[tuple[str, float]], what: str, lowest: float | None = None
) -> Markup:
    if not points:
        return Markup('<p class="quiet">No values yet.</p>')
    values = [point.value for point in points] + [value for _, value in lines]
    low, high = _range(values, lowest)
    wide, tall = WIDE - LEFT - RIGHT, TALL - TOP - BOTTOM

    def x(index: int) -> float:
        return round(LEFT + wide * (index / (len(points) - 1) if len(points) > 1 else 0.5), 1)

    def y(value: float) -> float:
        return round(TOP + tall * (1 - (value - low) / (high - low)), 1)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDE} {TALL}" role="img" aria-label="control chart">']
    for number in range(TICKS + 1):
        value = low + (high - low) * number / TICKS
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(value)}" y2="{y(value)}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{value:.3g}</text>')
    for kind, value in lines:
        parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(value)}" y2="{y(value)}"/>')
    path = " ".join(f"{x(index)},{y(point.value)}" for index, point in enumerate(points))
    parts.append(f'<polyline class="values" points="{path}"/>')
    for index, point in enumerate(points):
        kind = "alarmed" if point.alarmed else "outside" if point.outside else "inside"
        if kind != "inside" or len(points) <= 120:
            size = {"alarmed": 5, "outside": 3.5, "inside": 2}[kind]
            title = Markup("<title>{}</title>").format(point.title)
            parts.append(f'<circle class="{kind}" cx="{x(index)}" cy="{y(point.value)}" r="{size}">{title}</circle>')
    parts.append(f'<text x="{LEFT}" y="{TALL - 4}">{len(points)} {what}, newest at the right</text></svg>')
    return Markup("".join(parts))


def _range(values: Sequence[float], lowest: float | None) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite) if lowest is None else lowest, max(finite)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    below = 0.0 if low - margin < 0 <= low else low - margin  # what is never negative has no such axis
    return (below if lowest is None else low), high + margin


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
