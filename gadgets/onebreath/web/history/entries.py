"""What is written about a scan that has ended, and lines of the log."""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from onebreath.names import shortened
from onebreath.report.facts import Facts
from onebreath.report.words import candidates, sections
from onebreath.web.trends.watch import judge
from onebreath.wire.xml_guard import read_meta
from onebreath.worker.ticket import Ticket

log = logging.getLogger("onebreath.web")

UNNAMED = "(no protocol)"
DAY = 86_400.0


@dataclass
class Said:
    """What gadgets said about a scan.

    Parameters
    ----------
    notes
        Facts by gadget.
    warnings
        Texts.
    seconds
        Work of each gadget.
    metas
        Meta of the images, as text.
    unseen
        Images whose meta were too many to be looked at.
    """

    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    metas: list[str] = field(default_factory=list)
    unseen: int = 0

    def facts(self) -> Facts:
        """Return the facts of the images; of the notes, where no image came."""
        metas = [dict(read_meta(text)) for text in self.metas if text.strip()]
        notes = self.notes.items()
        noted = {f"Onebreath_{gadget}_{name}": value for gadget, said in notes for name, value in said.items()}
        leading = [meta for meta in metas if meta.get("GADGETRON_DataRole", "Image") == "Image"]
        return Facts(leading or metas or [noted])


@dataclass(frozen=True)
class EndedScan:
    """A scan for the history; its ticket, and what was said about it."""

    ticket: dict[str, Any]
    protocol: str
    ended: float
    latency: float | None
    said: Said
    hide: Callable[[str], str]
    pictures: str

    @classmethod
    def of(cls, ticket: Ticket, said: Said, hide: Callable[[str], str], pictures: str) -> EndedScan:
        """Take from a ticket what the history keeps."""
        ended = ticket.ended or time.time()
        latency = None if ticket.started is None else max(0.0, ended - ticket.started)
        protocol = shortened(hide(ticket.protocol)) or UNNAMED
        return cls(ticket.facts(), protocol, ended, latency, said, hide, pictures)

    def measures(self, facts: Facts) -> dict[str, float | None]:
        """Return the numbers that are watched from scan to scan; a scan that made no images has none."""
        if self.ticket["outcome"] != "done" or not self.ticket["images"] or not facts.fact("reconstruct", "method"):
            return dict.fromkeys(("noise", "error", "score", "latency", "fallback"))
        return {
            "noise": number(facts, "prewhiten", "noise_std"),
            "error": number(facts, "reconstruct", "choice_error"),
            "score": number(facts, "reconstruct", "domain_score"),
            "latency": None if self.ticket["side"] == "spool" else self.latency,  # nobody waits for it
            "fallback": float(bool(facts.fact("reconstruct", "fallback"))),
        }


def number(facts: Facts, gadget: str, name: str) -> float | None:
    """Return a fact as a number, the largest where images differ; None if it was not said, or is no number."""
    try:
        values = [float(text) for text in facts.all(f"Onebreath_{gadget}_{name}")]
    except ValueError:
        return None
    return max(values) if values and all(map(math.isfinite, values)) else None


def write_scan(connection: sqlite3.Connection, ended: EndedScan) -> None:
    """Write a scan, and judge it by the charts of its protocol."""
    facts = ended.said.facts()
    told, values = ended.ticket, ended.measures(facts)
    hide = ended.hide
    row = {
        **{name: told[name] for name in ("scan", "title", "side", "outcome", "images")},
        "protocol": ended.protocol,
        "ended": ended.ended,
        "waited": told["waited_s"],
        "seconds": told["seconds"],
        "method": hide(facts.fact("reconstruct", "method")),
        "model": hide(facts.fact("reconstruct", "model")),
        **values,
    }
    names = ", ".join(row)
    connection.execute(
        f"INSERT OR REPLACE INTO scans ({names}) VALUES ({', '.join('?' * len(row))})",
        tuple(row.values()),
    )
    connection.execute(
        "INSERT OR REPLACE INTO summaries (scan, packed) VALUES (?, ?)", (told["scan"], pack(summary(ended, facts)))
    )
    if told["outcome"] == "done":
        judge(connection, told["scan"], ended.protocol, values)


def summary(ended: EndedScan, facts: Facts) -> dict[str, Any]:
    """Return what a scan's page says besides its row: sentences, candidates, warnings, seconds of each gadget."""
    hide = ended.hide
    warnings = dict.fromkeys([*facts.warnings(), *map(hide, ended.said.warnings)])
    return {
        "sections": [
            {"title": one.title, "sentences": [[hide(text), tone] for text, tone in one.sentences]}
            for one in sections(facts)
        ],
        "candidates": [[hide(text) for text in row] for row in candidates(facts)],
        "warnings": list(warnings),
        "seconds": ended.said.seconds or facts.seconds(),
        "chain": [gadget for gadget, _ in facts.chain()],
        "pictures": ended.pictures,
        "unseen": ended.said.unseen,
    }


def pack(content: Mapping[str, Any]) -> bytes:
    """Return a JSON object in few bytes."""
    return zlib.compress(json.dumps(content, ensure_ascii=False).encode())


def unpack(packed: bytes) -> dict[str, Any]:
    """Read what `pack` made; raises ValueError or zlib.error."""
    return dict(json.loads(zlib.decompress(packed)))


class LogLine(NamedTuple):
    """A line of the log; `time` in seconds since 1970."""

    scan: str
    time: float
    level: int
    logger: str
    text: str


def write_log(connection: sqlite3.Connection, line: LogLine) -> None:
    """Write a line of the log."""
    connection.execute("INSERT INTO log (scan, time, level, logger, text) VALUES (?, ?, ?, ?, ?)", line)


def halve(connection: sqlite3.Connection) -> None:
    """Remove the older half of the scans and of the log."""
    for table in ("scans", "log"):
        first, last = connection.execute(f"SELECT MIN(id), MAX(id) FROM {table}").fetchone()
        if first is not None:
            connection.execute(f"DELETE FROM {table} WHERE id <= ?", ((first + last) // 2,))
    connection.execute("DELETE FROM summaries WHERE scan NOT IN (SELECT scan FROM scans)")
    log.warning("the history of scans has its largest size: its older half is removed")


def prune(connection: sqlite3.Connection, days: float, scans: int, lines: int) -> None:
    """Remove what is older than some days, and what is beyond some numbers of scans and of lines of the log."""
    oldest = time.time() - days * DAY
    (last,) = connection.execute("SELECT MAX(id) FROM scans").fetchone()
    connection.execute("DELETE FROM scans WHERE ended < ? OR id <= ?", (oldest, (last or 0) - scans))
    connection.execute("DELETE FROM summaries WHERE scan NOT IN (SELECT scan FROM scans)")
    (last,) = connection.execute("SELECT MAX(id) FROM log").fetchone()
    connection.execute("DELETE FROM log WHERE time < ? OR id <= ?", (oldest, (last or 0) - lines))
    connection.execute("DELETE FROM alarms WHERE closed IS NOT NULL AND time < ?", (oldest,))
