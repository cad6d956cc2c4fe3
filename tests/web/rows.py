"""Histories for tests and benchmarks: scans as they would have been written."""

import random
import time
from typing import Any

from onebreath.web.history.entries import LogLine, pack, write_log
from onebreath.web.history.writer import History
from onebreath.web.trends.watch import judge

PROTOCOLS = ("cine_sax", "cine_4ch", "static_t2", "perfusion", "noise_scan")
OUTCOMES = ("done",) * 18 + ("failed", "lost")
SUMMARY = {
    "sections": [{"title": f"Section {n}", "sentences": [["A sentence about what was decided. " * 3, "plain"]] * 4}
                 for n in range(7)],
    "candidates": [["grappa", "0.05", "0.001", ""]] * 3, "warnings": ["Lines are missing."],
    "seconds": {"prewhiten": 0.1, "reconstruct": 2.0}, "chain": ["prewhiten"], "pictures": "", "unseen": 0,
}  # fmt: skip


def fill(history: History, scans: int, days: float = 300.0, lines: int = 3, first: int = 0) -> None:
    """Write scans over some days up to now, in one entry; each with lines of the log, judged like real ones."""
    history.put(lambda connection: _fill(connection, scans, days, lines, first))


def _fill(connection: Any, scans: int, days: float, lines: int, first: int) -> None:
    packed, end, chance = pack(SUMMARY), time.time(), random.Random(1)
    columns = (
        "scan, title, protocol, side, outcome, ended, waited, seconds, images, method, model, noise, error, score, "
        "latency, fallback"
    )
    for number in range(first, first + scans):
        scan = f"20260101-{number:06d}-abcdef"
        ended = end - days * 86_400 * (first + scans - number) / scans
        protocol, outcome = PROTOCOLS[number % len(PROTOCOLS)], chance.choice(OUTCOMES)
        values = {
            "noise": 2e-6 * chance.lognormvariate(0, 0.03),
            "error": 0.04 * chance.lognormvariate(0, 0.2),
            "score": 0.1 * chance.lognormvariate(0, 0.2),
            "latency": 3 * chance.lognormvariate(0, 0.15),
            "fallback": float(chance.random() < 0.02),
        }
        if outcome != "done":
            values = dict.fromkeys(values)
        row = (
            scan,
            "Onebreath_Cine.xml",
            protocol,
            "client",
            outcome,
            ended,
            0.1,
            3.2,
            30,
            "unrolled",
            "crunet_mr.cine",
        )
        connection.execute(
            f"INSERT INTO scans ({columns}) VALUES ({', '.join('?' * 16)})",
            (*row, *values.values()),
        )
        connection.execute("INSERT INTO summaries VALUES (?, ?)", (scan, packed))
        if outcome == "done":
            judge(connection, scan, protocol, values)
        for index in range(lines):
            level = 30 if (number + index) % 50 == 0 else 20
            write_log(connection, LogLine(scan, ended, level, "onebreath.reconstruct", f"line {index} of {scan} " * 4))
