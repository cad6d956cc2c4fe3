"""What is watched from scan to scan, per protocol, and what is done when it changes."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from typing import NamedTuple

from onebreath.diagnostics.events import tell
from onebreath.names import shortened
from onebreath.web.trends.control import BASELINE, GROUP, AnyChart, Chart, Kind, ShareChart, packed

log = logging.getLogger("onebreath.trends")

PROTOCOLS = 200  # that are watched; names come from scans, and memory is finite


class Measure(NamedTuple):
    """A number that each scan brings; `column` holds it in the table of scans."""

    column: str
    title: str
    unit: str
    meaning: str


MEASURES = {
    measure.column: measure
    for measure in (
        Measure("noise", "Noise", "", "standard deviation of the channels' noise before whitening, median of them"),
        Measure("error", "Estimated error", "", "of the chosen method on held-back lines, relative to the image"),
        Measure("score", "Domain score", "", "error of the model's prediction of held-back lines"),
        Measure("latency", "Latency", "s", "from a scan's start to its end; waiting for a slot is left out"),
        Measure("fallback", "Fallbacks", "", f"scans in {GROUP} that were made by the fallback"),
    )
}

_WORDS: dict[Kind, str] = {
    "jump": "two of three scans lie outside the control limits",
    "drift": "it drifts: small differences to the baseline add up",
    "share": f"there are more of them in {GROUP} scans than chance explains",
}


def blank(measure: str) -> AnyChart:
    """Return the chart of a measure that nothing is known of."""
    return ShareChart() if measure == "fallback" else Chart()


def chart_of(connection: sqlite3.Connection, protocol: str, measure: str) -> AnyChart:
    """Read a chart; a blank one if there is none, or what is there is none any more."""
    found = connection.execute(
        "SELECT state FROM charts WHERE protocol = ? AND measure = ?", (protocol, measure)
    ).fetchone()
    chart = blank(measure)
    if found is None:
        return chart
    try:
        return type(chart)(**json.loads(found[0]))
    except (ValueError, TypeError) as error:
        log.warning("the chart of %s of '%s' cannot be read (%s) and begins anew", measure, shortened(protocol), error)
        return chart


def judge(connection: sqlite3.Connection, scan: str, protocol: str, values: dict[str, float | None]) -> list[str]:
    """Enter a scan that was done into the charts of its protocol; return the measures of new alarms.

    Parameters
    ----------
    connection
        Of the writer, inside a transaction.
    scan, protocol
        Which scan.
    values
        By measure; None: the scan does not bring it.
    """
    if not _watched(connection, protocol):
        return []
    raised = []
    for measure, value in values.items():
        if value is None:
            continue
        chart = chart_of(connection, protocol, measure)
        for kind in chart.take(value):
            connection.execute(
                "INSERT INTO alarms (time, scan, protocol, measure, kind, text) VALUES (?, ?, ?, ?, ?, ?)",
                (time.time(), scan, protocol, measure, kind, f"{MEASURES[measure].title}: {_WORDS[kind]}"),
            )
            raised.append(measure)
            log.warning("%s of protocol '%s', scan %s: %s", MEASURES[measure].title, protocol, scan, _WORDS[kind])
            tell("alarm", measure=measure, kind=kind)
        _keep(connection, protocol, measure, chart)
    return raised


def close_alarms(connection: sqlite3.Connection, protocol: str, measure: str, *, anew: bool) -> None:
    """Close the alarms of a chart; `anew`: what comes from here on is the new baseline."""
    connection.execute(
        "UPDATE alarms SET closed = ? WHERE protocol = ? AND measure = ? AND closed IS NULL",
        (time.time(), protocol, measure),
    )
    chart = chart_of(connection, protocol, measure)
    chart.close()
    _keep(connection, protocol, measure, blank(measure) if anew else chart)


def _keep(connection: sqlite3.Connection, protocol: str, measure: str, chart: AnyChart) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO charts (protocol, measure, state) VALUES (?, ?, ?)",
        (protocol, measure, json.dumps(packed(chart))),
    )


def _watched(connection: sqlite3.Connection, protocol: str) -> bool:
    known = connection.execute("SELECT 1 FROM charts WHERE protocol = ? LIMIT 1", (protocol,)).fetchone()
    if known is not None:
        return True
    (count,) = connection.execute("SELECT COUNT(DISTINCT protocol) FROM charts").fetchone()
    if count == PROTOCOLS:
        log.warning("%d protocols are watched for drift, which is as many as can be; others are not", PROTOCOLS)
    return bool(count < PROTOCOLS)


def progress(chart: AnyChart) -> str:
    """Say how much of the baseline is still missing; empty if nothing is."""
    if chart.ready:
        return ""
    have, need = (chart.seen, 2 * BASELINE) if isinstance(chart, ShareChart) else (len(chart.base), BASELINE)
    return f"{have} of the {need} scans that limits are computed from"
