"""``onebreath train``: run a recipe, in one process or under ``torchrun``, and export its weights as a model."""

from __future__ import annotations

import argparse
import json
import logging
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from onebreath.errors import ConfigError
from onebreath.keeping import write_text
from onebreath.options import at_least, positive
from onebreath.training.data.image_preparation import prepare_images
from onebreath.training.data.preparation import prepare, prepare_sequences
from onebreath.training.export import export_run
from onebreath.training.recipe import Recipe, read_recipe, write_recipe
from onebreath.training.schedule import seconds_until
from onebreath.training.split import Purpose
from onebreath.training.state.distributed import Group, join
from onebreath.training.state.resume import check_data, check_folder
from onebreath.training.state.start import Start, check_fits, load_start
from onebreath.training.state.stopping import StopRequest, stop_on_signals
from onebreath.training.tasks import task_of
from onebreath.training.trainer import Trainer
from onebreath.zoo.architectures import hollow
from onebreath.zoo.search import search_path
from onebreath.zoo.store import check_new

LOG = logging.getLogger("onebreath.training")
# Absolute folders, in a word of a command line.
_FOLDERS = re.compile(r"(?<![^\s\"'=\[,{:])/(?:[^/\s\"',\]}]+/)+")


def add_arguments(parser: argparse.ArgumentParser, start_required: bool = False) -> None:
    """Add the arguments of ``onebreath train``."""
    parser.add_argument("recipe", type=Path, help="recipe, see models/recipes")
    parser.add_argument(
        "--set", dest="changes", action="append", default=[], metavar="FIELD=VALUE",
        help="new value for a field of the recipe, as in masks.0.accelerations=[4]; may be repeated",
    )  # fmt: skip
    parser.add_argument("--run", type=Path, help="run folder (default: runs/NAME); a run in it is continued")
    parser.add_argument("--cache", type=Path, help="folder of prepared slices (default: prepared in the run folder)")
    parser.add_argument(
        "--start",
        required=start_required,
        help="model (architecture.tag) or checkpoint whose weights to start from",
    )
    parser.add_argument("--steps", type=at_least(1), help="number of steps instead of the recipe's")
    parser.add_argument("--minutes", type=positive, help="total time instead of the recipe's steps")
    parser.add_argument("--until", metavar="HH:MM", help="time of day to finish by, instead of the recipe's steps")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ... (default: a GPU if there is one)")
    parser.add_argument("--threads", type=at_least(1), help="number of threads for arithmetic")
    parser.add_argument("--tensorboard", action="store_true", help="also write TensorBoard files")
    parser.add_argument("--export", metavar="NAME", help="write the best weights as a model (architecture.tag)")
    parser.add_argument("--half", action="store_true", help="export 16-bit numbers: half the size")
    parser.add_argument("--overwrite", action="store_true", help="let --export replace a model of that name")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of models for --export")


def run(args: argparse.Namespace) -> int:
    """Run a recipe; returns the exit code."""
    logging.getLogger("onebreath.training").setLevel(logging.INFO)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.export:
        check_new(args.export, args.models, args.overwrite)  # not only when hours have been spent
    begun = time.monotonic()
    recipe = read_recipe(args.recipe, args.changes)
    if args.steps:
        recipe = recipe.model_copy(update={"steps": args.steps})
    architecture = recipe.network.architecture
    if args.export and args.export.partition(".")[0] != architecture:
        raise ConfigError(f"--export {args.export}: the recipe trains {architecture}; write {architecture}.TAG")
    folder = args.run or Path("runs") / recipe.name
    start = load_start(args.start) if args.start else None
    if start is not None:
        check_fits(start, recipe)
    with join(args.device) as group:
        cache = args.cache or folder / "prepared"
        with stop_on_signals() as stop:
            time_limit = _time_limit(args, begun)
            trainer = train(
                recipe, folder, cache, group, stop, time_limit, start=start, tensorboard=args.tensorboard,
                repeat=lambda trainer: repeating(args, trainer),
            )  # fmt: skip
        if args.export and group.first:
            summary = f"{recipe.name}, {trainer.step} steps"
            exported = export_run(folder, args.export, args.models, summary, overwrite=args.overwrite, half=args.half)
            print(exported)
            if args.models.resolve() not in {folder.resolve() for folder in search_path()}:
                LOG.warning("scans do not look for models in %s; name that folder in ONEBREATH_MODELS", args.models)
    return 0


def repeating(args: argparse.Namespace, trainer: Trainer) -> str:
    """Command that repeats a training, also one that was made in several parts; without folders of this machine."""
    start = trainer.facts.get("start")
    words = ["onebreath", "finetune" if start else "train", args.recipe.name]
    for change in args.changes:
        words += ["--set", change]
    if args.steps is not None:
        words += ["--steps", str(args.steps)]
    if args.minutes is not None:
        words += ["--minutes", f"{args.minutes:g}"]
    if args.until is not None and trainer.schedule.seconds is not None:
        words += ["--minutes", f"{trainer.schedule.seconds / 60:.3g}"]  # the time of day says nothing elsewhere
    if start:
        words += ["--start", str(start)]
    return shlex.join(_FOLDERS.sub("", word) for word in words)


def _time_limit(args: argparse.Namespace, begun: float) -> Callable[[], dict[str, Any]]:
    """Function that returns the time limit as options of `Trainer`, to be called once the data are prepared.

    Raises
    ------
    ConfigError
        If the arguments contradict each other, or the time is not positive.
    """
    given = [name for name in ("steps", "minutes", "until") if getattr(args, name) is not None]
    if len(given) > 1:
        raise ConfigError(f"--{given[0]} and --{given[1]} contradict each other; give one of them")
    if args.minutes is not None and not args.minutes > 0:
        raise ConfigError(f"--minutes is {args.minutes:g}, expected more than 0")
    if args.until is not None:
        end = begun + seconds_until(args.until)
        return lambda: {"left": max(end - time.monotonic(), 0.0)}
    if args.minutes is not None:
        return lambda: {"seconds": max(60 * args.minutes - (time.monotonic() - begun), 0.0)}
    return dict


def train(
    recipe: Recipe,
    folder: Path,
    cache: Path,
    group: Group,
    stop: StopRequest | None = None,
    time_limit: Callable[[], dict[str, Any]] = dict,
    slices: dict[Purpose, list[Any]] | None = None,
    start: Start | None = None,
    repeat: Callable[[Trainer], str] | None = None,
    **options: Any,
) -> Trainer:
    """Prepare a recipe's data in `cache` and run it in `folder`; returns the trainer.

    `slices` are data that were prepared before, `start` the weights to start from; `repeat` returns the command that
    repeats the training, for the model's card; `options` are further arguments of `Trainer`; `time_limit` returns some
    of them once the data are prepared.
    """
    check_folder(folder, recipe, start.name if start else None)
    # A wrong name in the recipe is told at once, not when hours have been spent on preparing the data.
    task_of(recipe, hollow(recipe.network.architecture, recipe.network.arguments))
    if slices is None:
        if group.first:
            prepare_data(recipe, cache, recipe.workers)
        group.wait()
        slices = prepare_data(recipe, cache)
    check_data(folder, recipe, split_of(slices))
    if group.first:
        describe_run(recipe, slices, folder)
    trainer = Trainer(recipe, slices["train"], slices["validate"], folder, group, start, **time_limit(), **options)
    if repeat is not None:
        trainer.facts["command"] = repeat(trainer)
    trainer.run(stop=stop)
    return trainer


def prepare_data(recipe: Recipe, cache: Path, workers: int = 0) -> dict[Purpose, list[Any]]:
    """Prepared data of a recipe by purpose: slices, image series, or magnitude images."""
    if recipe.restoration is not None:
        return {**prepare_images(recipe, cache)}
    if recipe.synthesis is not None:
        return {**prepare_sequences(recipe)}
    return {**prepare(recipe, cache, workers)}


def describe_run(recipe: Recipe, slices: dict[Purpose, list[Any]], folder: Path) -> None:
    """Write the recipe and the split, by patient, into the run folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "recipe.yaml", write_recipe(recipe))
    write_text(folder / "split.json", json.dumps(split_of(slices), indent=1) + "\n")


def split_of(slices: dict[Purpose, list[Any]]) -> dict[str, dict[str, Any]]:
    """Patients and number of slices of each purpose."""
    return {
        side: {"patients": sorted({one.patient for one in found}), "slices": len(found)}
        for side, found in slices.items()
    }
