"""The training of `make gpu`: goes on from the last weights for as long as there is time, and keeps them on the way.

    python -m benchmarks.gpu.training --out results --minutes 5

The trainer runs in a process of its own. This one looks at its checkpoints and journal from outside, exports the model
and draws the learning curve again and again: a run that is cut off has lost half a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.crunet_mr import Task
from benchmarks.gpu.data import expand
from benchmarks.gpu.steps import kept_batch
from onebreath.errors import OnebreathError
from onebreath.training.export import export_run
from onebreath.training.recipe import read_recipe
from onebreath.training.state.checkpoint import LATEST
from onebreath.training.state.journal import JOURNAL, read_journal

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "models" / "recipes" / "crunet_mr.gpu.yaml"
REHEARSAL = ROOT / "models" / "recipes" / "crunet_mr.gpu_rehearsal.yaml"
KEEP_EVERY = 30.0
"""Seconds between two looks at the run."""
REHEARSED = 30.0
"""Seconds of training in a rehearsal, its start included, which takes ten on a busy computer."""
STOP = 20.0
"""Seconds that the trainer gets to end and the last weights to be written."""


def main() -> int:
    """Train; returns 1 if there are no weights in the end, or the trainer failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.training", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of weights and learning curve")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "gpu-work", help="folder that is not kept")
    parser.add_argument("--pack", type=Path, default=ROOT / "gpu-pack", help="what `make gpu-pack` made")
    parser.add_argument("--minutes", type=float, required=True, help="for everything")
    parser.add_argument("--recipe", type=Path, help="what to train (default: the published-size CRUNet-MR)")
    parser.add_argument("--start", help="model or checkpoint to start from (default: the model of that name, if any)")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with a tiny network")
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    recipe = args.recipe or (REHEARSAL if args.rehearse else RECIPE)
    name, run = recipe.stem, args.work / "run"
    shutil.rmtree(run, ignore_errors=True)
    if (args.pack / "data").is_dir():
        os.environ["ONEBREATH_SHARED"] = str(expand(args.pack / "data", args.work / "shared"))
    start = args.start or (name if (ROOT / "models" / name).is_dir() else None)
    print(f"training {name} from {start or 'new weights'}", flush=True)
    device = "cpu" if args.rehearse else "cuda"
    words = command(recipe, run, start, end - STOP, args.rehearse) + fastest_batch(recipe, args.work, device)
    failed = watch(words, run, args.out, name, end, "as a rehearsal on a CPU" if args.rehearse else "on a GPU")
    print(summary(run, name, failed))
    return int(failed or not (args.out / name / "weights.safetensors").is_file())


def command(recipe: Path, run: Path, start: str | None, end: float, rehearse: bool) -> list[str]:
    """The trainer's command line: it is to be done by `end`."""
    words = [sys.executable, "-m", "onebreath.cli", "train", str(recipe), "--run", str(run)]
    words += ["--device", "cpu" if rehearse else "cuda"]
    words += time_box(min(end, time.monotonic() + REHEARSED) if rehearse else end)
    return [*words, "--start", start] if start else words


def time_box(end: float) -> list[str]:
    """Return the trainer's own limit of time, to which its schedule fits."""
    return ["--minutes", f"{max(end - time.monotonic(), 1) / 60:.3f}"]


def fastest_batch(recipe: Path, work: Path, device: str) -> list[str]:
    """Words that set the batch which was measured to be the fastest for the recipe's network on this device, if any."""
    if recipe not in (RECIPE, REHEARSAL):
        return []
    arguments = read_recipe(recipe).network.arguments
    batch = kept_batch(work, Task(channels=arguments["channels"], cascades=arguments["cascades"], device=device))
    return [] if batch is None else ["--set", f"batch={batch}"]


def watch(words: Sequence[str], run: Path, out: Path, name: str, end: float, place: str = "on a GPU") -> bool:
    """Run the trainer until it ends or time is over, keeping what there is; returns whether it failed."""
    trainer = subprocess.Popen(words, cwd=ROOT)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        while time.monotonic() < end - STOP:
            try:
                trainer.wait(max(min(KEEP_EVERY, end - STOP - time.monotonic()), 0.1))
                break
            except subprocess.TimeoutExpired:
                keep(run, out, name, place)
    finally:
        stopped = trainer.poll() is None
        if stopped:
            trainer.terminate()
            try:
                trainer.wait(STOP / 2)
            except subprocess.TimeoutExpired:
                trainer.kill()
                trainer.wait()
        keep(run, out, name, place)
    return trainer.returncode != 0 and not stopped


def keep(run: Path, out: Path, name: str, place: str) -> None:
    """Export the model of the last checkpoint, in half precision, and the learning curve."""
    if not (run / LATEST).is_file():
        return
    try:
        export_run(run, name, out, f"{name}, trained {place}", latest=True, overwrite=True, half=True)
        entries = read_journal(run)
        (out / "training.json").write_text(json.dumps(entries), encoding="utf-8")
        draw(entries, out / "curve.png")
    except (OnebreathError, OSError) as error:  # the next look may be luckier
        print(f"not kept this time: {error}", flush=True)


def draw(entries: Sequence[dict[str, float]], target: Path) -> None:
    """Draw losses over steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for key in ("loss", "validation_loss"):
        points = [(one["step"], one[key]) for one in entries if key in one]
        if points:
            axes.plot(*zip(*points, strict=True), label=key.replace("_", " "))
    positive = all(value > 0 for line in axes.lines for value in line.get_ydata())
    axes.set(xlabel="step", ylabel="loss", yscale="log" if positive else "linear")
    axes.legend()
    figure.savefig(target, dpi=100)


def summary(run: Path, name: str, failed: bool) -> str:
    """One line on how far the training came."""
    if not (run / JOURNAL).is_file():
        return f"{name}: no step was noted"
    entries = read_journal(run)
    losses = [one["loss"] for one in entries if "loss" in one]
    checked = [one["validation_loss"] for one in entries if "validation_loss" in one]
    words = f"{name}: {entries[-1]['step']:.0f} steps" if entries else f"{name}: no step was noted"
    words += f", loss {losses[0]:.4g} -> {losses[-1]:.4g}" if losses else ""
    words += f", validation {checked[0]:.4g} -> {checked[-1]:.4g}" if checked else ""
    return f"{words}{'; the trainer failed' if failed else ''}"


def _interrupt(*_: object) -> None:
    raise SystemExit(1)


if __name__ == "__main__":
    raise SystemExit(main())
