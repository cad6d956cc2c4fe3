"""What the worker's page costs with a long history: milliseconds of each page, best and worst of several.

    python -m benchmarks.history --scans 10000

The history is made as the worker makes it, in a file of its own; pages are asked for over the loopback, one after the
other, as a browser does. What a scan costs that is written down is measured besides.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.table import table
from onebreath.web.history.writer import History
from onebreath.web.options import WebOptions
from onebreath.web.serving import serving_web
from onebreath.worker.worker import Worker, WorkerOptions
from tests.web.rows import PROTOCOLS, fill

SCAN = "20260101-000100-abcdef"
PAGES = {
    "now": "/",
    "scans": "/scans",
    "scans of a protocol, old ones": f"/scans?protocol={PROTOCOLS[0]}&before=5000",
    "scans that failed": "/scans?outcome=failed",
    "one scan": f"/scans/{SCAN}",
    "protocols": "/trends",
    "trends of a protocol": f"/trends?protocol={PROTOCOLS[0]}",
    "log": "/log",
    "log, warnings": "/log?level=warnings",
    "log of one scan": f"/log?scan={SCAN}",
}


def ask(port: int, token: str, path: str) -> float:
    """Ask for a page; seconds until its last byte."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    begun = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept": "text/html"})
    answer = connection.getresponse()
    answer.read()
    seconds = time.perf_counter() - begun
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered by {answer.status}")
    return seconds


def written(path: Path, scans: int) -> float:
    """Write a history; seconds per scan, with three lines of its log."""
    history = History(path)
    begun = time.perf_counter()
    fill(history, scans)
    history.flush(3600)
    seconds = (time.perf_counter() - begun) / scans
    history.close(60)
    return seconds


def main() -> int:
    """Print the table; 1 if a page takes longer than it may, even at its best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--limit-ms", type=float, default=200.0)
    args = parser.parse_args()
    logging.getLogger("onebreath.trends").setLevel(logging.ERROR)  # random histories have false alarms
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        state = Path(folder)
        path = state / "web/history.sqlite"
        cost = written(path, args.scans)
        options = WorkerOptions(port=None, state=state)
        with Worker(options) as worker, serving_web(worker, WebOptions(0)) as web:
            token = (state / "web/token").read_text(encoding="ascii").strip()
            took = {name: [ask(web.port, token, page) for _ in range(args.times)] for name, page in PAGES.items()}
        size = path.stat().st_size / 1e6
    rows = [
        [name, f"{1e3 * min(found):.1f}", f"{1e3 * statistics.median(found):.1f}", f"{1e3 * max(found):.1f}"]
        for name, found in took.items()
    ]
    title = (
        f"The worker's page with {args.scans} scans, {3 * args.scans} lines of log, {size:.0f} MB; {args.times} times "
        f"each. A scan takes {1e3 * cost:.2f} ms to write, beside the scans."
    )
    print(table(title, ["page", "best ms", "median ms", "worst ms"], rows, ["starlette", "uvicorn", "jinja2"]))
    return int(any(1e3 * min(found) > args.limit_ms for found in took.values()))


if __name__ == "__main__":
    raise SystemExit(main())
