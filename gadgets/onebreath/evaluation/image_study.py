"""``onebreath images``: compare networks for magnitude images, and fine-tune them on few samples."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from onebreath import zoo
from onebreath.errors import ConfigError
from onebreath.evaluation.masks import STUDY_MASKS
from onebreath.evaluation.restoration import METRICS, Score, Study, by_image, study_images, table
from onebreath.evaluation.statistics import compare, mean_and_spread, spread
from onebreath.evaluation.summary import markdown_table
from onebreath.evaluation.verdict import in_words
from onebreath.keeping import write_text
from onebreath.networks.restoration.restoration import RestorationNetwork
from onebreath.training.command import describe_run
from onebreath.training.data.image_preparation import prepare_images
from onebreath.training.export import chosen_weights
from onebreath.training.recipe import Recipe, read_recipe
from onebreath.training.restoration import StoredImages
from onebreath.training.split import Purpose
from onebreath.training.state.distributed import join
from onebreath.training.state.resume import check_folder
from onebreath.training.state.start import Start, load_start
from onebreath.training.trainer import Trainer

SAMPLES = (10, 25, 50, 100, 250, 500, 1000, 2500)
"""Sizes of the few-shot study of the paper."""
_NEW = ", new"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands of ``onebreath images``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    comparing = actions.add_parser("compare", help="PSNR, SSIM and NMSE of models at every mask type and ratio")
    comparing.add_argument("models", nargs="+", help="models for magnitude images (architecture.tag)")
    few = actions.add_parser("few-shot", help="fine-tune on increasing numbers of images")
    few.add_argument("--start", help="model or checkpoint to start from (default: new weights)")
    few.add_argument(
        "--new", action="store_true", help="also train new weights alike, and test those from --start against them"
    )
    few.add_argument("--samples", type=int, nargs="+", default=SAMPLES, help="numbers of images")
    few.add_argument("--steps", type=int, help="steps of each training, instead of the recipe's")
    few.add_argument("--device", default="auto", help="cpu, cuda, ... (default: a GPU if there is one)")
    for action in (comparing, few):
        action.add_argument("--recipe", type=Path, required=True, help="recipe whose validate_on names the test images")
        action.add_argument("--folder", type=Path, default=Path("runs/images"), help="folder of results")
        action.add_argument("--accelerations", type=float, nargs="+", default=(2, 4, 5, 6, 7, 8, 10), help="ratios")
        action.add_argument(
            "--types", nargs="+", choices=STUDY_MASKS, default=STUDY_MASKS, help="mask types; none is trained on radial"
        )
        action.add_argument("--images", type=int, default=20, help="largest number of images")
        action.add_argument("--seed", type=int, default=0, help="seed of masks, phase and noise")
        action.add_argument("--interpolated-prompts", action="store_true", help="for ratios between two levels")


def run(args: argparse.Namespace) -> int:
    """Run a sub-command; returns the exit status."""
    logging.getLogger("onebreath.training").setLevel(logging.INFO)
    recipe = read_recipe(args.recipe)
    if recipe.restoration is None:
        raise ConfigError(f"recipe {args.recipe} has no field restoration; it is for multi-coil series")
    noise = sum(recipe.restoration.noise) / 2
    study = Study(
        tuple(args.types), tuple(args.accelerations), args.images, args.seed, recipe.restoration.phase, noise,
        interpolated_prompts=args.interpolated_prompts,
    )  # fmt: skip
    if args.action == "compare":
        stored = prepare_images(recipe, args.folder / "prepared")["validate"]
        scores = study_images({name: _network(name) for name in args.models}, stored, study)
        report(scores, args.folder, "compare")
        if len(args.models) > 1:
            text = against(scores, args.models[-1], args.models)
            write_text(args.folder / "against.md", text + "\n")
            print(text)
    else:
        few_shot(recipe, study, args)
    return 0


def few_shot(recipe: Recipe, study: Study, args: argparse.Namespace) -> None:
    """Fine-tune on each number of images, from the same weights for as many steps; sets of images are nested."""
    if args.new and not args.start:
        raise ConfigError("--new compares with --start; name the weights to start from")
    prepared = prepare_images(recipe, args.folder / "prepared")
    start = load_start(args.start) if args.start else None
    available = sum(one.count for one in prepared["train"])
    scores: list[Score] = []
    for samples in args.samples:
        if samples > available:
            raise ConfigError(f"{samples} samples were requested, but the recipe's sources have {available} images")
        ways = {f"{samples} samples": start, **({f"{samples} samples{_NEW}": None} if args.new else {})}
        for name, weights in ways.items():
            folder = args.folder / f"samples-{samples}{'-new' if name.endswith(_NEW) else ''}"
            network = _trained(recipe, samples, weights, prepared, folder, args)
            scores += study_images({name: network}, prepared["validate"], study)
            report(scores, args.folder, "few-shot")
    if args.new:
        text = pairs(scores, args.samples)
        write_text(args.folder / "pairs.md", text + "\n")
        print(text)


def _trained(
    recipe: Recipe,
    samples: int,
    start: Start | None,
    prepared: dict[Purpose, list[StoredImages]],
    folder: Path,
    args: argparse.Namespace,
) -> RestorationNetwork:
    """Train on a number of images; returns the network with its best weights, see `chosen_weights`."""
    assert recipe.restoration is not None
    few = recipe.restoration.model_copy(update={"samples": samples})
    steps = {"steps": args.steps, "validate_every": min(recipe.validate_every, args.steps)} if args.steps else {}
    one = recipe.model_copy(update={"restoration": few, **steps})
    with join(args.device) as group:
        check_folder(folder, one, start.name if start else None)
        describe_run(one, {**prepared}, folder)
        trainer = Trainer(one, prepared["train"], prepared["validate"], folder, group, start)
        trainer.run()
    network = trainer.network
    network.load_state_dict(chosen_weights(folder).average)
    network.use_precision("float32")
    network.cpu().eval()
    assert isinstance(network, RestorationNetwork)
    return network


def pairs(scores: Sequence[Score], samples: Sequence[int]) -> str:
    """Markdown table: pre-trained against new weights by number of samples, over all cases, paired by image."""
    head = ("samples", "new, PSNR (dB)", "pre-trained, PSNR (dB)", "PSNR against new", "SSIM against new")
    rows = []
    for count in samples:
        new, old = f"{count} samples{_NEW}", f"{count} samples"
        tests = _tests(scores, new, old, len(samples))
        rows.append((str(count), _psnr(scores, new), _psnr(scores, old), *tests))
    return markdown_table(head, rows)


def against(scores: Sequence[Score], reference: str, methods: Sequence[str]) -> str:
    """Markdown table: methods against a reference, over all cases, paired by image."""
    head = ("method", "PSNR (dB)", "PSNR against reference", "SSIM against reference")
    rows = []
    for name in methods:
        own = name == reference
        tests = ("reference", "reference") if own else _tests(scores, reference, name, len(methods) - 1)
        rows.append((name, _psnr(scores, name), *tests))
    return markdown_table(head, rows)


def _psnr(scores: Sequence[Score], name: str) -> str:
    return mean_and_spread(*spread(by_image(scores, name, "psnr")), digits=2)


def _tests(scores: Sequence[Score], reference: str, other: str, comparisons: int) -> tuple[str, str]:
    """What PSNR and SSIM of a method say against a reference; p corrected by Bonferroni."""
    found = []
    for metric, digits, unit in (("psnr", ".2f", " dB"), ("ssim", ".4f", "")):
        test = compare(by_image(scores, reference, metric), by_image(scores, other, metric))
        found.append(in_words(replace(test, p_bonferroni=min(1.0, comparisons * test.p)), digits, unit))
    return found[0], found[1]


def report(scores: Sequence[Score], folder: Path, name: str) -> None:
    """Print tables of the scores, and write them as Markdown and JSON."""
    scores = list({(one.method, one.mask_type, one.acceleration): one for one in scores}.values())
    text = "\n\n".join(f"## {metric}\n\n{table(scores, metric)}" for metric in METRICS)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.md", text + "\n")
    write_text(folder / f"{name}.json", json.dumps([asdict(one) for one in scores], indent=1) + "\n")
    print(text)


def _network(name: str) -> RestorationNetwork:
    network = zoo.load(name).network
    if not isinstance(network, RestorationNetwork):
        raise ConfigError(f"model {name} is for multi-coil series; compare it with: onebreath evaluate")
    return network
