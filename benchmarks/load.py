"""A resident worker under load: clients side by side send cine and static scans, and every image must be right.

Each answer is compared with that of a worker that had nothing else to do, pixel by pixel; meanwhile the worker's
memory, descriptors and threads are watched. By default a short run; the long one is

    python -m benchmarks.load --clients 8 --scans 500 --seconds 600 --hostile
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.hostile import Hostile
from benchmarks.scans import SIZES, Answer, Scan, make_scan, pixels
from benchmarks.table import table
from benchmarks.worker import address, dialled, worker
from onebreath.errors import OnebreathError

SAMPLE = 0.5  # seconds between looks at the worker
WARM = 0.3  # part of the run that is left out of the slope: caches fill
LONG = 300.0  # seconds of a run from which growth of the memory is judged: caches fill for about two minutes
REST = 30.0  # seconds in which connections that have ended must be put away
FEW = 4  # descriptors and threads that may be more at the end: what is made once, and kept
SIDES = ("gadget", "client")


@dataclass
class Watch:
    """What was seen of a process: seconds, resident MB, descriptors, threads."""

    rows: list[tuple[float, float, int, int]] = field(default_factory=list)

    def look(self, pid: int, begun: float) -> None:
        """Take a sample (Linux only)."""
        process = Path("/proc") / str(pid)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        memory = float(status["VmRSS"].split()[0]) / 1024
        descriptors = sum(1 for _ in (process / "fd").iterdir())
        self.rows.append((time.perf_counter() - begun, memory, descriptors, int(status["Threads"])))

    def at_rest(self) -> bool:
        """Whether the process has no more descriptors and threads than at the beginning."""
        return self.rows[-1][2] <= self.rows[0][2] and self.rows[-1][3] <= self.rows[0][3]

    def slope(self) -> tuple[float, float]:
        """Growth of the memory in MB per minute after the warm-up, and its standard error.

        The error is that of the means of ten blocks of time, as neighbouring samples are not independent. Both are NaN
        where there is only one sample, as in a run of a second on a busy machine.
        """
        rows = np.array(self.rows)
        rows = rows[rows[:, 0] >= WARM * rows[-1, 0]]
        if len(rows) < 2:
            return float("nan"), float("nan")
        blocks = [block.mean(axis=0) for block in np.array_split(rows[:, :2], min(10, len(rows)))]
        minutes, memory = np.array(blocks)[:, 0] / 60, np.array(blocks)[:, 1]
        centred = minutes - minutes.mean()
        slope = float((centred * memory).sum() / (centred**2).sum())
        rest = memory - memory.mean() - slope * centred
        return slope, float(np.sqrt((rest**2).sum() / max(1, len(rest) - 2) / (centred**2).sum()))


@dataclass
class Load:
    """The scans of a run, as its clients share them out."""

    folder: Path
    scans: dict[str, Scan]
    expected: dict[str, NDArray[np.generic]]
    count: int
    seconds: float
    begun: float = field(default_factory=time.perf_counter)
    wrong: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def client(self) -> None:
        """Send scan after scan, each not before its time."""
        where = {side: address(self.folder, side) for side in SIDES}
        while (number := next(self.numbers)) < self.count:
            time.sleep(max(0.0, self.begun + number * self.seconds / self.count - time.perf_counter()))
            kind, side = list(SIZES)[number % 2], SIDES[number // 2 % 2]
            try:
                answer = send(self.scans[kind], side, where[side])
            except (OnebreathError, OSError) as error:
                self.wrong.append(f"scan {number}: {error}")
                continue
            self.times.append(answer.whole)
            if side == "gadget":
                self.live.append(answer.whole)
            if not np.array_equal(pixels(answer.images), self.expected[kind]):
                self.wrong.append(f"scan {number} ({kind}, {side}): other images than alone")


def send(scan: Scan, side: str, where: tuple[str, int]) -> Answer:
    """Send a scan to a side of the worker."""
    return dialled(where, scan.for_side(side))


def run(
    clients: int, count: int, seconds: float, matrix: int, more: list[str], *, hostile: bool = False
) -> tuple[Load, Watch]:
    """Run the load; what came of it, and what was seen of the worker."""
    scans = {kind: make_scan(kind, "cg_sense", matrix, 8) for kind in SIZES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with worker(folder, "--queue", str(2 * clients), *more) as process:
            gadget = address(folder, "gadget")
            expected = {kind: pixels(send(scan, "gadget", gadget).images) for kind, scan in scans.items()}
            load, watch = Load(folder, scans, expected, count, seconds), Watch()
            threads = [threading.Thread(target=load.client) for _ in range(clients)]
            attack = Hostile(scans["static"], {side: address(folder, side) for side in SIDES})
            with attack.at_work() if hostile else nullcontext():
                for thread in threads:
                    thread.start()
                while any(thread.is_alive() for thread in threads):
                    watch.look(process.pid, load.begun)
                    time.sleep(SAMPLE)
            load.attempts = dict(attack.attempts)
            ends = time.perf_counter() + REST
            while time.perf_counter() < ends and not watch.at_rest():
                time.sleep(1.0)
                watch.look(process.pid, load.begun)
    return load, watch


def judged(load: Load, watch: Watch, alone: Load | None) -> list[tuple[str, str, str, str]]:
    """Return the rows of the table: what, measured, target, and whether it is met; empty where nothing is asked."""
    rows: list[tuple[str, str, str, bool | None]] = []
    if alone is not None:
        quiet, beside = float(np.median(alone.live)), float(np.median(load.live))
        texts = ", ".join(f"{name} {count}" for name, count in sorted(load.attempts.items()))
        rows = [
            ("attempts of hostile clients", texts, "some of each", len(load.attempts) == 5),
            (
                "live scan, s: median without them, with them",
                f"{quiet:.2f}, {beside:.2f}",
                "at most doubled",
                beside <= 2 * quiet,
            ),
        ]
    slope, error = watch.slope()
    first, last = watch.rows[0], watch.rows[-1]
    flat = slope <= 2 * error if last[0] >= LONG else None
    memory = f"{first[1]:.0f}, {last[1]:.0f}, {peak(watch):.0f}"
    rows += [
        ("scans answered as alone", f"{len(load.times)} of {load.count}", "all", len(load.times) == load.count),
        ("wrong or missing", str(len(load.wrong)), "0", not load.wrong),
        ("time of a scan, s: median, longest", f"{np.median(load.times):.2f}, {max(load.times):.2f}", "", None),
        ("run, s", f"{last[0]:.0f}", "", None),
        ("memory of the worker, MB: begin, end, most", memory, "", None),
        ("growth after the warm-up, MB per minute", f"{slope:.2f} +- {error:.2f}", "at most twice the error", flat),
        ("descriptors: begin, end", f"{first[2]}, {last[2]}", f"at most {FEW} more", last[2] <= first[2] + FEW),
        ("threads: begin, end", f"{first[3]}, {last[3]}", f"at most {FEW} more", last[3] <= first[3] + FEW),
    ]
    return [(*row[:3], {True: "yes", False: "NO", None: ""}[row[3]]) for row in rows]


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 if a target is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--clients", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--scans", type=int, default=40, help="in all (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="over which they begin (default: %(default)s)")
    parser.add_argument("--matrix", type=int, default=64, help="(default: %(default)s)")
    parser.add_argument("--cold", action="store_true", help="the worker loads nothing before the first scan")
    parser.add_argument("--hostile", action="store_true", help="five hostile clients beside, and a run without before")
    args = parser.parse_args(arguments)
    more = ["--cold"] if args.cold else []
    alone = None
    if args.hostile:
        alone, _ = run(args.clients, args.scans, args.seconds, args.matrix, more)
    load, watch = run(args.clients, args.scans, args.seconds, args.matrix, more, hostile=args.hostile)
    rows = judged(load, watch, alone)
    title = f"{args.clients} clients at once, cine and static in turns, as <connect> node and as client"
    print(table(title, ("what", "measured", "target", "met"), rows, ("numpy", "gadgetron")))
    for text in load.wrong[:10]:
        print(text, file=sys.stderr)
    return int(any(row[3] == "NO" for row in rows))


def peak(watch: Watch) -> float:
    """Largest resident memory that was seen, in MB."""
    return max(row[1] for row in watch.rows)


if __name__ == "__main__":
    sys.exit(main())
