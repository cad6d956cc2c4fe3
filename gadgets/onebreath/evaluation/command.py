"""``onebreath evaluate``: compare methods and models on the same scans."""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from onebreath.errors import ConfigError
from onebreath.evaluation.candidates import MODELS, parse_candidates
from onebreath.evaluation.compare import Case, Evaluation, Result
from onebreath.evaluation.data import KINDS, NAMED, data_sets, read_slices
from onebreath.evaluation.dists.fetch import fetch_dists
from onebreath.evaluation.dists.file import load_dists, prepare_dists
from onebreath.evaluation.dists.network import Dists
from onebreath.evaluation.figures.crop import crop_figure
from onebreath.evaluation.figures.pictures import box_plots, compare_figure, figures
from onebreath.evaluation.masks import SCAN_MASKS, STUDY_MASKS, ScanMask, is_study_mask
from onebreath.evaluation.metrics import Convention
from onebreath.evaluation.scans import MaskChoice, ScanChoice
from onebreath.evaluation.settings import ReadSettings
from onebreath.evaluation.summary import TITLES, Summary, markdown, overview, summarise
from onebreath.keeping import write_text
from onebreath.settings import settings
from onebreath.terminal import steps
from onebreath.training.data.series import ImageSeries
from onebreath.validation import as_text

_CONVENTIONS: tuple[Convention, ...] = ("strict", "paper")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--settings", action=ReadSettings, metavar="FILE", help="read arguments from a YAML file, such as those in "
        "models/evaluation; later arguments override them")  # fmt: skip
    add("--data", nargs="+", help=f"{', '.join(NAMED)}, raw data files (if simulated, with their truth), or folders; "
        "each data set has its own tables, files in one folder are one data set")  # fmt: skip
    add("--kind", choices=KINDS, help="format of the files, if their names do not show it")
    add("--patient", nargs="+", default=["*"], help="patterns of patients (default: all)")
    add("--views", nargs="+", default=["*"], help="patterns of views, for files that state them (lax, sax of "
        "CMRxRecon); each view has its own table (default: all)")  # fmt: skip
    add("--slices", type=int, nargs="+", help="indices of slices of each patient, from 0 (default: all)")
    add("--mask", nargs="+", default=["cmrxrecon"], metavar="FAMILY[:ACS]", help=f"{', '.join(SCAN_MASKS)}; with "
        "the number of calibration lines, 0 for a separate calibration (default: cmrxrecon:24)")  # fmt: skip
    add("--acceleration", type=int, nargs="+", default=[4, 8], help="distances of the lines (default: 4 8); for "
        "equispaced, gaussian_1d, gaussian_2d and radial masks the ratio of all samples")  # fmt: skip
    add("--snr", nargs="+", default=["20-40"], metavar="SNR", help="SNR of blood, fully sampled: a value or LOW-HIGH; "
        "each is a separate group (default: 20-40)")  # fmt: skip
    add("--methods", nargs="+", default=["zero_filled", "grappa", "cg_sense", MODELS], metavar="METHOD",
        help="zero_filled, grappa, cg_sense, low_rank_sparse, a model (wildcards allowed) or 'models'; parameters "
        "follow a colon, as in cg_sense:regularisation=0.01 (default: all but low_rank_sparse)")  # fmt: skip
    add("--reference", help="method against which the others are tested (default: the last one named)")
    add("--seed", type=int, default=0, help="seed of phase, coils, noise and masks (default: 0)")
    add("--coils", type=int, default=12, help="simulated receive channels (default: 12)")
    add("--channels", type=int, default=10, help="channels after compression (default: 10)")
    add("--matrix", type=int, nargs=2, metavar=("Y", "X"), help="acquired matrix (default: from the header)")
    add("--calibration-lines", type=int, default=24, help="calibration lines for the coil maps (default: 24)")
    add("--measured-coils", metavar="FILE", help="use the coil maps of this k-space (coil, y, x), .npy")
    add("--dists", type=Path, metavar="FILE", help=f"weights of DISTS (default: {settings().dists})")
    add("--fetch-dists", action="store_true", help="download the weights of DISTS by pip (61 MiB), write the file of "
        "--dists, and stop")  # fmt: skip
    add("--prepare-dists", type=Path, nargs=2, metavar=("VGG_FILE", "ALPHA_BETA_FILE"), help="write the file of "
        "--dists from published weights (see onebreath.evaluation.dists.file), and stop")  # fmt: skip
    add("-o", "--output", type=Path, default=Path("runs/eval"), help="folder of results (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Compare methods, write tables and figures, and print the overview of the strict convention.

    Raises
    ------
    OnebreathError
        If arguments, data or models are wrong.
    """
    logging.getLogger("onebreath.evaluation").setLevel(logging.INFO)
    weights = args.dists or settings().dists
    if args.fetch_dists:
        fetch_dists(weights)
        print(f"weights of DISTS written to {weights}")
        return 0
    if args.prepare_dists:
        vgg, alpha_beta = args.prepare_dists
        prepare_dists(vgg, alpha_beta, weights)
        print(f"weights of DISTS written to {weights}")
        return 0
    if not args.data:
        raise ConfigError("name the data to evaluate on: --data sunnybrook, a file or a folder")
    figures()  # not only when all has been reconstructed
    candidates = parse_candidates(args.methods)
    labels = [one.label for one in candidates]
    reference = args.reference or labels[-1]
    if reference not in labels:
        raise ConfigError(f"the reference {reference} is not among the methods {', '.join(labels)}")
    dists = _dists(weights, named=args.dists is not None)
    cases = _cases(args)
    evaluation = Evaluation(candidates, _CONVENTIONS, dists, args.output)
    pictured = _pictured(cases)
    results = list(steps(evaluation.run(cases, pictured), "evaluating", len(cases) * len(candidates), "images"))
    tables = {name: summarise(results, labels, reference, name) for name in _CONVENTIONS}
    weights_of = {one.label: one.identity["sha256"] for one in candidates if "sha256" in one.identity}
    _write_tables(args, tables, weights_of)
    _write_figures(args.output, evaluation, pictured, results)
    print(overview(tables["strict"]))
    print(f"tables and figures: {args.output}")
    return 0


def _cases(args: argparse.Namespace) -> list[Case]:
    """All cases, with those of one scan in sequence."""
    names = data_sets(args.data, args.kind)
    masks: list[MaskChoice] = [_mask(text, r) for text in args.mask for r in args.acceleration]
    choices = [_choice(args, text) for text in args.snr]
    cases = []
    for data, name in zip(args.data, names, strict=True):
        stated = name if len(set(names)) > 1 else ""
        for series, truth in read_slices(data, args.kind, args.patient, args.slices, args.views):
            acquired = getattr(series, "mask", None) is not None
            noisy = getattr(series, "noise_std", 0.0) > 0
            for choice in choices[:1] if noisy else choices:
                cases += [Case(series, truth, choice, mask, stated) for mask in ([None] if acquired else masks)]
    _check_distinct(cases)
    return cases


def _check_distinct(cases: Sequence[Case]) -> None:
    """Raise ConfigError if a group holds two cases of one name, as methods are compared by the names of the cases."""
    counts = Counter((case.group, case.series.patient, case.series.name) for case in cases)
    twice = [f"{patient} {name} ({group})" for (group, patient, name), count in counts.items() if count > 1]
    if twice:
        raise ConfigError(
            f"{len(twice)} slices occur more than once in a group, the first is {twice[0]}; name each data set, mask, "
            "acceleration and SNR once, and give files of one data set different names"
        )


def _mask(text: str, acceleration: int) -> MaskChoice:
    family, _, lines = text.partition(":")
    usual = 0 if family in STUDY_MASKS and is_study_mask(family) else 24
    try:
        return MaskChoice(family=cast(ScanMask, family), acceleration=acceleration, acs_lines=cast(int, lines or usual))
    except ValidationError as error:
        raise ConfigError(f"--mask {text}: {as_text(error)}") from error


def _choice(args: argparse.Namespace, snr: str) -> ScanChoice:
    levels = re.fullmatch(r"(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?", snr)
    if levels is None:
        raise ConfigError(f"--snr {snr}: expected a number, or two like 20-40")
    names = ("seed", "coils", "channels", "matrix", "calibration_lines", "measured_coils")
    try:
        return ScanChoice(snr=(levels[1], levels[2] or levels[1]), **{name: getattr(args, name) for name in names})
    except ValidationError as error:
        raise ConfigError(f"the scans cannot be made with these settings: {as_text(error)}") from error


def _dists(file: Path, named: bool) -> Dists | None:
    if named or file.is_file():
        return load_dists(file)
    print(f"DISTS is left out: its weights are not at {file}; get them by onebreath evaluate --fetch-dists")
    return None


def _pictured(cases: Sequence[Case]) -> list[Case]:
    """The middle case of each group, which is drawn."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    return [found[len(found) // 2] for found in groups.values()]


def _write_tables(
    args: argparse.Namespace, tables: dict[Convention, list[Summary]], weights_of: dict[str, object]
) -> None:
    """Write tables, with the SHA-256 of each model's weights, by which `onebreath models card` knows them."""
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    settings["data"] = " ".join(args.data)
    groups = [one for found in tables.values() for one in found]
    content: dict[str, Any] = {"settings": settings, "titles": TITLES, "weights": weights_of, "groups": groups}
    write_text(args.output / "table.json", json.dumps(content, indent=1) + "\n")
    text = "\n".join(f"## {name} convention\n\n{overview(found)}\n{markdown(found)}" for name, found in tables.items())
    write_text(args.output / "table.md", text)


def _pixel_mm(case: Case, shape: tuple[int, ...]) -> tuple[float, float] | None:
    """Pixel size along y and x of an image with the case's field of view; None if unknown."""
    if not isinstance(case.series, ImageSeries):
        return None
    old = case.series.images.shape[1:]
    sizes = [mm * before / now for mm, before, now in zip(case.series.pixel_mm, old, shape, strict=True)]
    return sizes[0], sizes[1]


def _write_figures(folder: Path, evaluation: Evaluation, pictured: Sequence[Case], results: Sequence[Result]) -> None:
    for case in pictured:
        truth, images = evaluation.images(case)
        if images:
            name = re.sub(r"[^a-z0-9.]+", "_", case.group.lower())
            pixel_mm = _pixel_mm(case, truth.shape[1:])
            compare_figure(folder / f"images_{name}.png", truth, images, pixel_mm)
            crop_figure(folder / f"crop_{name}.png", truth, images, pixel_mm)
    groups: dict[str, dict[str, dict[str, list[float]]]] = {}
    for one in results:
        for measure, value in one.measures.get("strict", {}).get("overall", {}).items():
            groups.setdefault(one.group, {}).setdefault(measure, {}).setdefault(one.method, []).append(value)
    if groups:
        box_plots(folder / "boxes.png", groups, TITLES)
