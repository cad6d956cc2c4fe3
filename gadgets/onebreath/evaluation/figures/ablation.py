r"""Ablation study of A-LIKNet: the network without each of its parts, trained alike.

    python -m onebreath.evaluation.figures.ablation models/recipes/a_liknet.small.yaml --steps 100
    ONEBREATH_MODELS=runs/ablation/models \
      onebreath evaluate --settings models/evaluation/cine_kt.yaml --methods "a_liknet.*" --reference a_liknet.whole

Each variant starts from its own random weights, sees the same examples in the same order, and becomes a model.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onebreath.training.command import train
from onebreath.training.export import export_run
from onebreath.training.recipe import Recipe, read_recipe
from onebreath.training.state.distributed import join

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "whole": {},
    "no_low_rank": {"low_rank_branch": False},
    "no_kspace": {"kspace_branch": False},
    "no_image": {"image_branch": False},
    "no_time_attention": {"time_attention": False},
    "no_coil_attention": {"coil_attention": False},
    "liknet": {"time_attention": False, "coil_attention": False},
    "no_sharing": {"sharing": False},
}
"""Arguments of the network by the name of the variant; LIKNet is the network without any attention."""


def main(arguments: list[str] | None = None) -> None:
    """Train the variants and print a Markdown table; a run that was interrupted goes on."""
    parser = argparse.ArgumentParser(
        prog="python -m onebreath.evaluation.figures.ablation",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=int, required=True, help="steps of each variant")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="folder (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder of prepared slices (default: in the folder of the runs)")
    args = parser.parse_args(arguments)
    logging.basicConfig(level="INFO", format="%(message)s")
    recipe = read_recipe(args.recipe).model_copy(update={"steps": args.steps, "validate_every": args.steps})
    print("| variant | parameters | validation loss | seconds per step |", "|---|---|---|---|", sep="\n")
    for row in rows(recipe, args.variants, args.runs, args.cache or args.runs / "prepared"):
        print(f"| {' | '.join(row)} |", flush=True)


def rows(recipe: Recipe, variants: list[str], runs: Path, cache: Path) -> Iterator[tuple[str, ...]]:
    """Train the variants one after the other; give a row of the table for each."""
    for name in variants:
        folder = runs / name
        settings = recipe.network.model_copy(update={"arguments": {**recipe.network.arguments, **VARIANTS[name]}})
        changed = recipe.model_copy(update={"name": f"{recipe.name}.{name}", "network": settings})
        with join("auto") as group:
            trainer = train(changed, folder, cache, group)
        summary = f"{changed.name}, {changed.steps} steps"
        export_run(folder, f"{settings.architecture}.{name}", runs / "models", summary, overwrite=True, latest=True)
        parameters = sum(weight.numel() for weight in trainer.network.parameters())
        log = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        seconds = statistics.median(entry["seconds_per_step"] for entry in log if "seconds_per_step" in entry)
        yield name, f"{parameters:,}", f"{trainer.best:.3f}", f"{seconds:.1f}"


if __name__ == "__main__":
    main()
