"""A public ledger of replayed scans with injected faults: how many gave images, how many a clear error, and whether any
failed in silence.

Each scan of a numbered series meets a fault that its number draws (`benchmarks.ledger.faults`): on the wire, on the
disk, in the worker and its computer. After it, an honest scan must give the images of an idle worker. One line of JSON
per scan is appended to the ledger, so that a run that was broken off makes the scans that are missing:

    python -m benchmarks.ledger --scans 10000 --ledger ledger.jsonl
    python -m benchmarks.ledger --scans 10000 --ledger ledger.jsonl --into docs/reliability.md  # writes
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from scipy.stats import beta

from benchmarks.ledger.faults import FAULTS, of_scan
from benchmarks.ledger.site import SIDES, Site
from benchmarks.ledger.talk import OUTCOMES, Seen
from benchmarks.table import table
from onebreath.diagnostics.software import commit
from onebreath.errors import OnebreathError

BEGIN, END = "<!-- ledger: written by python -m benchmarks.ledger --into -->", "<!-- end of ledger -->"


def run(count: int, ledger: Path, seconds: float, sites: int = 1) -> None:
    """Append the lines that the ledger lacks of its first `count`, at several sites at once, or until time is over."""
    whole = list(entries(ledger))
    ledger.write_text("".join(json.dumps(entry) + "\n" for entry in whole))  # without a line that was cut off
    done, ends, lock = {int(entry["scan"]) for entry in whole}, time.monotonic() + seconds, threading.Lock()
    missing = (number for number in range(count) if number not in done)

    def following() -> int | None:
        with lock:
            return next(missing, None) if time.monotonic() < ends else None

    def work(folder: str) -> None:
        site = Site(Path(folder))
        try:
            while (number := following()) is not None:
                site.start()
                line = json.dumps(entry_of(number, site)) + "\n"
                with lock:
                    file.write(line)
                    file.flush()
        finally:
            site.kill()
            stop()  # if this site gave up, the others do, too

    def stop() -> None:
        with lock:
            missing.close()

    with ExitStack() as stack:
        file = stack.enter_context(ledger.open("a"))
        folders = [stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(sites)]
        pool = stack.enter_context(ThreadPoolExecutor(sites))
        stack.callback(stop)  # also if it is interrupted
        for ended in [pool.submit(work, folder) for folder in folders]:
            ended.result()


def entry_of(number: int, site: Site) -> dict[str, object]:
    """Send a scan with its fault, and an honest one; return the line of the ledger."""
    fault, side = of_scan(number), SIDES[number % 2]
    begun, expected = time.monotonic(), None
    try:
        seen, expected = FAULTS[fault][1](site, side, random.Random(number))
    except (OSError, OnebreathError) as error:  # of the client: it could not connect, or was broken off
        seen = Seen(broken=f"{type(error).__name__}: {error}")
    outcome, text = seen.outcome(expected), seen.text or seen.broken
    if outcome == "silent failure":
        text = f"{text} {seen.described(expected)}"
    site.start()  # if the fault ended it
    if not site.serves():
        outcome, text = "silent failure", f"the next honest scan was wrong; {text}"
    passed = round(time.monotonic() - begun, 3)
    entry = {"scan": number, "fault": fault, "side": side, "outcome": outcome, "text": text[:300]}
    return {**entry, "seconds": passed, "commit": commit()[:12]}


def entries(ledger: Path) -> Iterator[dict[str, str]]:
    """Give the entries of a ledger; a last line that was cut off is none."""
    for line in ledger.read_text().splitlines() if ledger.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            return


def interval(found: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a proportion."""
    rest = (1 - confidence) / 2
    low = 0.0 if found == 0 else float(beta.ppf(rest, found, count - found + 1))
    high = 1.0 if found == count else float(beta.ppf(1 - rest, found + 1, count - found))
    return low, high


def summary(found: Sequence[dict[str, str]]) -> str:
    """Make the tables: outcomes with their intervals, and outcomes of each fault."""
    counts = Counter(entry["outcome"] for entry in found)
    rows = []
    for outcome in OUTCOMES:
        low, high = interval(counts[outcome], max(1, len(found)))
        target = "0" if outcome == "silent failure" else ""
        rows.append((outcome, str(counts[outcome]), f"{100 * low:.3f} to {100 * high:.3f} %", target))
    commits = ", ".join(dict.fromkeys(entry.get("commit", "") for entry in found))
    title = f"{len(found)} replayed scans with injected faults (commits {commits})"
    whole = table(title, ("outcome", "scans", "95 % confidence", "target"), rows, ("numpy", "gadgetron"))
    pairs = Counter((entry["fault"], entry["outcome"]) for entry in found)
    lines = [f"| fault | {' | '.join(OUTCOMES)} |", "|---" * (len(OUTCOMES) + 1) + "|"]
    for fault in FAULTS:
        lines.append(f"| {fault} | {' | '.join(str(pairs[fault, outcome]) for outcome in OUTCOMES)} |")
    return "\n".join([whole, "", *lines])


def write_into(document: Path, text: str) -> None:
    """Replace what stands between the marks of a document.

    Raises
    ------
    OnebreathError
        If it has no marks.
    """
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise OnebreathError(f"{document} has no place for the ledger: {BEGIN} ... {END}")
    document.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main(arguments: list[str] | None = None) -> int:
    """Run, print the tables; 1 if a scan failed in silence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--scans", type=int, default=200, help="of the whole ledger (default: %(default)s)")
    parser.add_argument("--ledger", type=Path, default=Path("ledger.jsonl"), help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1e9, help="after which to stop; run again to resume")
    parser.add_argument("--sites", type=int, default=1, help="workers at once, each alone (default: %(default)s)")
    parser.add_argument("--into", type=Path, help="write the tables into this document; nothing is run")
    args = parser.parse_args(arguments)
    if args.into is None:
        run(args.scans, args.ledger, args.seconds, args.sites)
    found = list(entries(args.ledger))
    text = summary(found)
    print(text)
    if args.into is not None:
        write_into(args.into, text)
    return int(any(entry["outcome"] == "silent failure" for entry in found))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the workers end with it
    sys.exit(main())
