r"""Ablation studies: variants of a network, trained in the same way.

    python -m onebreath.evaluation.figures.ablation models/recipes/a_liknet.small.yaml --steps 100
    ONEBREATH_MODELS=runs/ablation/models \
      onebreath evaluate --settings models/evaluation/cine_kt.yaml --methods "a_liknet.*" --reference a_liknet.whole

The validation loss is that of the recipe for every variant, regardless of its own training loss.
Other studies: ``--study crunet_mr`` and ``bank`` (recipe crunet_mr.ablation.yaml, or crunet_mr.small.yaml; a bank of
the last 3 cascades is the whole bank with fewer than 5) and ``mr_ipt`` (mr_ipt.small.yaml). Each variant starts from
its own random weights, sees the same examples in the same order, and is exported as a model.
"""

from __future__ import annotations

import argparse
import logging
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onebreath.training import command
from onebreath.training.export import export_run
from onebreath.training.recipe import Recipe, read_recipe
from onebreath.training.state.distributed import join
from onebreath.training.state.journal import read_journal
from onebreath.training.tasks import task_of

Changes = Mapping[str, Any]
"""Changes of a variant to the recipe: arguments of the ``network``, weights of the ``loss``."""


def _loss(**weights: float) -> Changes:
    return {"loss": weights}


def _network(**arguments: Any) -> Changes:
    return {"network": arguments}


STUDIES: Mapping[str, Mapping[str, Changes]] = {
    "a_liknet": {
        "whole": {},
        "no_low_rank": _network(low_rank_branch=False),
        "no_kspace": _network(kspace_branch=False),
        "no_image": _network(image_branch=False),
        "no_time_attention": _network(time_attention=False),
        "no_coil_attention": _network(coil_attention=False),
        "liknet": _network(time_attention=False, coil_attention=False),
        "no_sharing": _network(sharing=False),
    },
    "crunet_mr": {
        "whole": {},
        "no_skip": _network(side_branches=False),
        "no_circular_time": _network(circular_time=False),
        "no_cross_cascade": _network(cross_cascade=False),
        "dilations_1_1_1": _network(dilations=[1, 1, 1]),
        "dilations_1_3_5": _network(dilations=[1, 3, 5]),
        "no_ssim_loss": _loss(ssim=0.0),
        "no_kspace_loss": _loss(kspace_mse=0.0),
        "no_image_loss": _loss(image_mse=0.0, image_l1=0.0),
    },
    "bank": {
        "whole": _network(fusion=None, bank_window=None),
        "conv": _network(fusion="conv", bank_window=None),
        "conv_last_2": _network(fusion="conv", bank_window=2),
        "conv_last_3": _network(fusion="conv", bank_window=3),
        "attention": _network(fusion="ca", ca_style="cab", ca_reduction=4, bank_window=None),
    },
    "mr_ipt": {name: _network(variant=name) for name in ("type", "level", "split")},
}
"""Variants by study and name; LIKNet is A-LIKNet without any attention."""


def main(arguments: list[str] | None = None) -> None:
    """Train the variants and print a Markdown table; an interrupted run is resumed."""
    parser = argparse.ArgumentParser(
        prog="python -m onebreath.evaluation.figures.ablation",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=int, required=True, help="steps of each variant")
    parser.add_argument("--study", choices=STUDIES, default="a_liknet", help="which variants (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="only these of the study")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="folder (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder of prepared slices (default: in the folder of the runs)")
    args = parser.parse_args(arguments)
    study = STUDIES[args.study]
    unknown = [name for name in args.variants or () if name not in study]
    if unknown:
        parser.error(f"study {args.study} has no variant {unknown[0]}; it has {', '.join(study)}")
    logging.basicConfig(level="INFO", format="%(message)s")
    recipe = read_recipe(args.recipe).model_copy(update={"steps": args.steps, "validate_every": args.steps})
    print("| variant | parameters | validation loss | seconds per step |", "|---|---|---|---|", sep="\n")
    chosen = {name: study[name] for name in args.variants or study}
    repeat = f"python -m onebreath.evaluation.figures.ablation {args.recipe.name} --study {args.study}"
    repeat += f" --steps {args.steps} --variants"
    for row in rows(recipe, chosen, args.runs, args.cache or args.runs / "prepared", repeat):
        print(f"| {' | '.join(row)} |", flush=True)


def varied(recipe: Recipe, name: str, changes: Changes) -> Recipe:
    """Recipe of a variant; an argument that is None is removed, so that the network's default applies."""
    arguments = {**recipe.network.arguments, **changes.get("network", {})}
    given = {key: value for key, value in arguments.items() if value is not None}
    network = recipe.network.model_copy(update={"arguments": given})
    loss = recipe.loss.model_copy(update=dict(changes.get("loss", {})))
    return recipe.model_copy(update={"name": f"{recipe.name}.{name}", "network": network, "loss": loss})


def rows(
    recipe: Recipe, variants: Mapping[str, Changes], runs: Path, cache: Path, repeat: str
) -> Iterator[tuple[str, ...]]:
    """Train the variants in turn and yield a row of the table for each; all have the same data, prepared once.

    With the name of a variant, `repeat` is the command that trains it again, for the model's card.
    """
    slices = command.prepare_data(recipe, cache)
    for name, changes in variants.items():
        folder = runs / name
        changed = varied(recipe, name, changes)
        with join("auto") as group:
            facts: dict[str, str | float] = {"command": f"{repeat} {name}"}
            trainer = command.train(changed, folder, cache, group, slices=slices, facts=facts)
        summary = f"{changed.name}, {changed.steps} steps"
        export_run(
            folder, f"{changed.network.architecture}.{name}", runs / "models", summary, overwrite=True, latest=True
        )
        parameters = sum(weight.numel() for weight in trainer.network.parameters())
        log = read_journal(folder)
        seconds = statistics.median(entry["seconds_per_step"] for entry in log if "seconds_per_step" in entry)
        loss = trainer.best
        if "loss" in changes:  # its training loss is not comparable
            trainer.task = task_of(recipe, trainer.network)
            loss = trainer.validation_loss()
        yield name, f"{parameters:,}", f"{loss:.3f}", f"{seconds:.1f}"


if __name__ == "__main__":
    main()
