"""What a cohort costs beside its scans: `onebreath cohort` against warm runs of the same scans.

    python -m benchmarks.cohort                  # 200 scans, two at once
    python -m benchmarks.cohort --scans 20

Warm runs: as many processes as the cohort has, each with one thread for its arithmetic, reconstruct the scans in turn
by the function behind `onebreath replay`; each has done one scan before, which does not count. The sum of their times
over the number of processes is what the cohort would take if it cost nothing, not even the start of its processes. The
cohort is the command as a user calls it, from its start to its end: imports, processes, table and page included.
Processor times are the same comparison where other programs use the cores as well. Images must be equal to the last
bit. Then part of the scans is run again while one of the processes is killed; every scan must be done, with equal
images.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py

from benchmarks.table import table
from onebreath.cohort.command import names_of
from onebreath.config.finding import find
from onebreath.host.replay import replay
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.scan import simulate

LIMIT = 1.1
KILLED = 40  # scans of the run in which a process is killed
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def make(folder: Path, scans: int, distinct: int) -> list[Path]:
    """Write scans; each of the distinct ones has several names, for the cohort they are files of their own."""
    made: list[Path] = []
    for number in range(scans):
        path = folder / f"scan{number:04d}.h5"
        if number < distinct:
            options = ScanOptions(matrix=(128, 128), slices=1, phases=12, coils=8, acceleration=4, seed=number)
            simulate(options).write(path)
        else:
            os.link(made[number % distinct], path)
        made.append(path)
    return made


def alone(config: bytes, sources: Sequence[Path], output: Path) -> tuple[float, float]:
    """Reconstruct scans in turn in this process, one of them before; seconds, and seconds of the processor."""
    spent = cpu = 0.0
    for number, source in enumerate([sources[0], *sources]):
        begun, before = time.perf_counter(), time.process_time()
        replay(
            source,
            config_local=config,
            output=output / f"{names_of([source])[0]}_images.h5",
            group="images",
            in_group="dataset",
            anew=True,
        )
        if number:
            spent += time.perf_counter() - begun
            cpu += time.process_time() - before
    return spent, cpu


def warm(config: bytes, sources: Sequence[Path], output: Path, jobs: int) -> tuple[float, float]:
    """Sum of the warm times of all scans in `jobs` processes at once, and of their processor times."""
    os.environ.update(ALONE)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        found = [pool.submit(alone, config, sources[part::jobs], output) for part in range(jobs)]
        parts = [one.result() for one in found]
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def command(config: str, sources: Sequence[Path], output: Path, jobs: int, engine: str) -> list[str]:
    """Return the cohort's command."""
    program = [sys.executable, "-m", "onebreath.cli", "cohort", *map(str, sources)]
    return [*program, "-c", config, "-o", str(output), "-j", str(jobs), "--engine", engine]


def cohort(call: Sequence[str]) -> tuple[float, float]:
    """Run a cohort; seconds, and seconds of the processor of all its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(call, check=True, stdout=sys.stderr, env={**os.environ, **ALONE})
    spent = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def killed(call: Sequence[str], output: Path, scans: int) -> int:
    """Run a cohort and kill one of its processes when a quarter of the scans is done; scans that were tried again."""
    process = subprocess.Popen(call, stdout=sys.stderr, env={**os.environ, **ALONE})
    try:
        rows = output / "rows"
        while process.poll() is None and len(list(rows.glob("*.json"))) < scans // 4:
            time.sleep(0.02)
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        if process.wait():
            raise RuntimeError("the cohort did not survive the death of a process")
    finally:
        process.kill()
    with (output / "table.csv").open() as file:
        return sum(int(row["attempts"]) > 1 for row in csv.DictReader(file))


def workers(parent: int) -> list[int]:
    """Return the processes of a cohort that reconstruct: its children, started by `spawn`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()
            line = (entry / "cmdline").read_bytes()
        except (OSError, NotADirectoryError):
            continue
        if int(state[1]) == parent and b"spawn_main" in line:
            found.append(int(entry.name))
    return found


def check(sources: Sequence[Path], expected: Path, output: Path) -> None:
    """Raise RuntimeError unless the images of all scans are equal to the last bit."""
    for source in sources:
        name = f"{names_of([source])[0]}_images.h5"
        with h5py.File(expected / name) as one, h5py.File(output / name) as other:
            series = sorted(one["images"])
            if series != sorted(other["images"]):
                raise RuntimeError(f"{name}: other series")
            for number in series:
                if (one["images"][number]["data"][:] != other["images"][number]["data"][:]).any():
                    raise RuntimeError(f"{name}: other pixels")


def main() -> int:
    """Print the table; 1 if the cohort takes longer than it may, by the processor's time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--distinct", type=int, default=20, help="different scans; the others are these again")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--config", default="Onebreath_Cine.xml")
    args = parser.parse_args()
    config = find(args.config).read_bytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outputs = {key: folder / key for key in ("raw", "warm", "cohort", "killed")}
        for output in outputs.values():
            output.mkdir()
        sources = make(outputs["raw"], args.scans, min(args.distinct, args.scans))
        took = {"warm runs": warm(config, sources, outputs["warm"], args.jobs)}
        took["cohort"] = cohort(command(args.config, sources, outputs["cohort"], args.jobs, args.engine))
        check(sources, outputs["warm"], outputs["cohort"])
        again = "not tried"
        if args.engine == "local":
            some = sources[: min(KILLED, args.scans)]
            call = command(args.config, some, outputs["killed"], args.jobs, args.engine)
            retried = killed(call, outputs["killed"], len(some))
            check(some, outputs["warm"], outputs["killed"])
            again = f"{len(some)} of {len(some)} scans done, {retried} of them tried again, images equal"
        shutil.rmtree(outputs["raw"])
    spent, cpu = took["warm runs"]
    whole, used = took["cohort"]
    ideal = spent / args.jobs
    rows = [
        [f"warm runs, sum of {args.scans} / {args.jobs}", f"{ideal:.1f}", f"{cpu / args.jobs:.1f}", "1"],
        ["cohort, all of it", f"{whole:.1f}", f"{used / args.jobs:.1f}", f"{whole / ideal:.3f} ({used / cpu:.3f})"],
    ]
    title = (
        f"`onebreath cohort` ({args.engine}) of {args.scans} scans of 12 frames of 128 x 128, 8 channels, R = 4, "
        f"through {args.config}, {args.jobs} at once. Images equal those of the warm runs to the last bit. "
        f"A process killed in the middle: {again}."
    )
    packages = ["torch", "numpy", *(["ray"] if args.engine == "ray" else [])]
    print(table(title, ["", "seconds", "processor seconds / process", "ratio (by processor)"], rows, packages))
    return int(used / cpu > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
