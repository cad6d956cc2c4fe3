"""What the pages ask the history for."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from typing import Any

from onebreath.web.history.entries import unpack
from onebreath.web.trends.watch import MEASURES, chart_of

PAGE = 50  # scans of one page
LINES = 200  # lines of the log of one page
POINTS = 400  # of a chart, the last ones
ROWS = "id, scan, protocol, side, outcome, ended, waited, seconds, images, method, model, error, latency, fallback"
"""Columns of a scan in a list."""


def scans(connection: sqlite3.Connection, protocol: str, outcome: str, before: int) -> list[sqlite3.Row]:
    """Return scans that have ended, newest first, `PAGE` and one more if there are more.

    Parameters
    ----------
    connection
        To read from.
    protocol, outcome
        Only those; empty: all.
    before
        Only those with a smaller id; 0: all.
    """
    conditions, values = ["1"], []
    for name, value in (("protocol = ?", protocol), ("outcome = ?", outcome), ("id < ?", before)):
        if value:
            conditions.append(name)
            values.append(value)
    return connection.execute(
        f"SELECT {ROWS} FROM scans WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT {PAGE + 1}",
        values,
    ).fetchall()


def scan(connection: sqlite3.Connection, identifier: str) -> tuple[sqlite3.Row | None, dict[str, Any]]:
    """Return a scan's row, and its summary; None and nothing if it is not known."""
    row = connection.execute("SELECT * FROM scans WHERE scan = ?", (identifier,)).fetchone()
    packed = connection.execute("SELECT packed FROM summaries WHERE scan = ?", (identifier,)).fetchone()
    try:
        return row, unpack(packed[0]) if packed else {}
    except (ValueError, zlib.error):
        return row, {"warnings": ["what was said about this scan is damaged in the history"]}


def lines(connection: sqlite3.Connection, identifier: str, level: int, before: int) -> list[sqlite3.Row]:
    """Return lines of the log, newest first, `LINES` and one more if there are more.

    Parameters
    ----------
    connection
        To read from.
    identifier
        Of the scan that they are about; empty: of any, and of none.
    level
        Least level: lines of it, or of the levels above.
    before
        Only those with a smaller id; 0: all.
    """
    conditions, values = ["1"], []
    for name, value in (("scan = ?", identifier), ("id < ?", before)):
        if value:
            conditions.append(name)
            values.append(value)
    if level > 20:
        conditions.append("+level >= ?" if identifier else "level >= ?")
        values.append(level)
    return connection.execute(
        f"SELECT id, scan, time, level, logger, text FROM log WHERE {' AND '.join(conditions)} "
        f"ORDER BY id DESC LIMIT {LINES + 1}",
        values,
    ).fetchall()


def outcomes(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many scans ended in which way."""
    return dict(connection.execute("SELECT outcome, COUNT(*) FROM scans GROUP BY outcome").fetchall())


def latencies(connection: sqlite3.Connection, count: int = 100) -> Sequence[float]:
    """Return the latencies of the last scans, in seconds, oldest first."""
    found = connection.execute(
        "SELECT latency FROM scans WHERE outcome = 'done' AND latency IS NOT NULL ORDER BY id DESC LIMIT ?", (count,)
    ).fetchall()
    return [row[0] for row in reversed(found)]


def protocols(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the protocols by number of scans: name, scans, fallbacks, mean latency, open alarms."""
    found = connection.execute(
        "SELECT protocol, COUNT(*) AS scans, SUM(fallback) AS fallbacks, COUNT(fallback) AS counted, "
        "AVG(latency) AS latency, MAX(ended) AS last FROM scans GROUP BY protocol ORDER BY scans DESC"
    ).fetchall()
    open_ones = dict(
        connection.execute("SELECT protocol, COUNT(*) FROM alarms WHERE closed IS NULL GROUP BY protocol").fetchall()
    )
    return [{**dict(row), "alarms": open_ones.get(row["protocol"], 0)} for row in found]


def alarms(connection: sqlite3.Connection, protocol: str = "", count: int = 20) -> list[sqlite3.Row]:
    """Return alarms that nobody has closed, newest first, of one protocol or of all."""
    condition, values = ("AND protocol = ?", [protocol]) if protocol else ("", [])
    return connection.execute(
        f"SELECT * FROM alarms WHERE closed IS NULL {condition} ORDER BY id DESC LIMIT {count}",
        values,
    ).fetchall()


def trend(connection: sqlite3.Connection, protocol: str, measure: str) -> dict[str, Any]:
    """Return a chart and its points, oldest first: (time, value, scan)."""
    column = MEASURES[measure].column
    rows = connection.execute(
        f"SELECT ended, {column}, scan FROM scans WHERE protocol = ? AND {column} IS NOT NULL "
        f"ORDER BY id DESC LIMIT {POINTS}",
        (protocol,),
    ).fetchall()
    raised = connection.execute(
        "SELECT scan FROM alarms WHERE protocol = ? AND measure = ?", (protocol, measure)
    ).fetchall()
    return {
        "measure": MEASURES[measure],
        "chart": chart_of(connection, protocol, measure),
        "points": [tuple(row) for row in reversed(rows)],
        "alarmed": {row[0] for row in raised},
    }
