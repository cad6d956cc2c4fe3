"""`make gpu`: tests, benchmarks and a training on a GPU, each in a process of its own and within its time.

    python3 -m benchmarks.gpu --out results --minutes 9
    python3 -m benchmarks.gpu --out results --minutes 3 --rehearse      # all of it on a CPU, with tiny sizes

Runs in any Python that has torch; what else is missing there is taken from the pack (`make gpu-pack`). A phase that
fails or overruns does not stop the next one, and what each phase found is in its files as soon as it is known: a run
that is cut off has lost nothing but its end. This module needs the standard library alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu.provision import ProvisionError, provision

ROOT = Path(__file__).parents[2]
RESERVE = 15.0
"""Seconds at the end for what has to be written."""
GRACE = (10.0, 5.0)
"""Seconds that a phase has to end by itself after an interrupt, and after a request to terminate."""
_REHEARSAL = {"ONEBREATH_REHEARSE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
PHASES = ("tests", "benchmarks", "training")


@dataclass(frozen=True)
class Phase:
    """One part of the run: its command, and the most seconds it may take."""

    name: str
    command: Sequence[str]
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """How a phase ended: its name, in words, whether it is good, its seconds and the last line it wrote."""

    name: str
    words: str
    good: bool
    seconds: float
    last: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns 1 if a phase did not end well."""
    args = _parser().parse_args(arguments)
    begun = time.monotonic()
    end = begun + 60 * args.minutes - RESERVE
    signal.signal(signal.SIGTERM, _interrupt)
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "run.log"
    log.write_text("", encoding="utf-8")
    outcomes: list[Outcome] = []
    site = args.work / "site"
    try:
        outcome = Outcome("packages", "done", True, 0.0, provision(args.pack / "wheels", site))
    except ProvisionError as error:
        outcome = Outcome("packages", "failed", False, 0.0, str(error))
    outcomes.append(replace(outcome, seconds=time.monotonic() - begun))
    environment = _environment(site, args.rehearse)
    _report(args, outcomes)
    for name in args.only:
        left = end - time.monotonic()
        if left < 5:
            outcomes.append(Outcome(name, "not begun: time was over", False, 0.0, ""))
        else:
            outcomes.append(run_phase(phase(name, args, left), log, environment))
        _report(args, outcomes)
    return int(not all(outcome.good for outcome in outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu", help="folder of the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything (default: %(default)s)")
    parser.add_argument("--pack", type=Path, default=ROOT / "gpu-pack", help="what `make gpu-pack` made")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "gpu-work", help="folder that is not kept")
    parser.add_argument("--recipe", type=Path, help="what to train (default: the published-size CRUNet-MR)")
    parser.add_argument("--start", help="model or checkpoint to start from (default: the model of that name, if any)")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with tiny sizes")
    parser.add_argument("--only", nargs="+", choices=PHASES, default=list(PHASES), help="phases to run")
    return parser


def _environment(site: Path, rehearse: bool) -> dict[str, str]:
    """Environment of the phases: the packages that were added, and this checkout as it lies there."""
    path = [str(site.resolve()), str(ROOT / "gadgets"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), "PYTHONUNBUFFERED": "1"}
    # On a CPU even where there is a GPU: a rehearsal must not take it from whoever uses it.
    return environment | (_REHEARSAL if rehearse else {})


def phase(name: str, args: argparse.Namespace, left: float) -> Phase:
    """The command of a phase, and its share of the `left` seconds."""
    out, work = str(args.out.resolve()), str(args.work.resolve())
    rehearse = ["--rehearse"] if args.rehearse else []
    patience = 3 if args.rehearse else 1  # a rehearsal is to try everything, also on cores that others use
    if name == "tests":
        # Other versions of the libraries warn of other things than those that the tests are pinned to.
        quiet = ["-W", "default", "-p", "no:cacheprovider", "-m", "cuda", f"--junitxml={out}/tests.xml"]
        wanted = ["tests/gpu"] if args.rehearse else [*_in_parallel(), *test_files()]
        return Phase(name, [sys.executable, "-m", "pytest", "-q", *quiet, *wanted], min(0.3 * left, patience * 90))
    if name == "benchmarks":
        box = min(0.35 * left, patience * 120)
        seconds = ["--seconds", f"{box - 5:.0f}"]
        measure = [sys.executable, "-m", "benchmarks.gpu.measure", "--out", out, "--work", work, *seconds, *rehearse]
        return Phase(name, measure, box)
    chosen = ["--recipe", str(args.recipe)] if args.recipe else []
    start = ["--start", args.start] if args.start else []
    where = ["--out", out, "--work", work, "--pack", str(args.pack.resolve()), "--minutes", f"{left / 60:.3f}"]
    command = [sys.executable, "-m", "benchmarks.gpu.training", *where, *chosen, *start, *rehearse]
    return Phase(name, command, left)


def _in_parallel() -> list[str]:
    """Options that spread the tests over a few processes, where pytest can: the first use of each kernel takes long."""
    return ["-n", "4"] if find_spec("xdist") and (os.cpu_count() or 1) >= 8 else []


def test_files() -> list[str]:
    """Test files with a test that needs a GPU: collecting the others would cost a quarter of the minute."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    marks = ("mark.cuda", "backend")
    return [
        str(path.relative_to(ROOT))
        for path in files
        if path.parent.name == "gpu" or any(mark in path.read_text(encoding="utf-8") for mark in marks)
    ]


def run_phase(phase: Phase, log: Path, environment: dict[str, str]) -> Outcome:
    """Run a phase in a process group of its own, which ends with it."""
    begun = time.monotonic()
    print(f"== {phase.name}, at most {phase.seconds:.0f} s", flush=True)
    with log.open("ab") as out:
        first = out.tell()
        process = subprocess.Popen(
            phase.command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=_heed_interrupts,
        )  # fmt: skip
        try:
            in_time = _wait(process, phase.seconds)
        finally:
            _end(process)
    seconds = time.monotonic() - begun
    with log.open("rb") as written:
        written.seek(first)
        lines = written.read().decode(errors="replace").strip().splitlines()
    words = "done" if process.returncode == 0 else f"failed (exit status {process.returncode})"
    words = words if in_time else f"cut off after {phase.seconds:.0f} s"
    return Outcome(phase.name, words, in_time and process.returncode == 0, seconds, lines[-1] if lines else "")


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether the process ended in time; one that did not is asked to, as a person at the keyboard would."""
    requests = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    for patience, request in zip((seconds, *GRACE), requests, strict=True):
        try:
            process.wait(patience)
            return request == signal.SIGINT
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, request)
    return False


def _heed_interrupts() -> None:
    """Heed SIGINT also where a shell started all of this in the background, which has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of the process group behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _interrupt(*_: object) -> None:
    raise SystemExit(1)


def _report(args: argparse.Namespace, outcomes: Sequence[Outcome]) -> None:
    """Write `report.md` anew and print the last outcome."""
    kind = "Rehearsal on a CPU, tiny sizes: no number in it means anything" if args.rehearse else "GPU run"
    lines = [f"# {kind}", "", "| phase | ended | seconds | last line |", "|---|---|---|---|"]
    lines += [f"| {one.name} | {one.words} | {one.seconds:.0f} | {one.last.replace('|', '/')} |" for one in outcomes]
    missing = [name for name in args.only if name not in {one.name for one in outcomes}]
    if missing:
        lines += ["", f"Not ended: {', '.join(missing)}."]
    (args.out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    last = outcomes[-1]
    print(f"{last.name}: {last.words}, {last.seconds:.0f} s. {last.last}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
