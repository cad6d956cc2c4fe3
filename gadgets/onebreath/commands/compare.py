"""`onebreath compare`: all candidates on one scan, their estimated errors, times, and pictures side by side."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.commands.matching import first_place
from onebreath.errors import MethodError, OnebreathError, ScanError
from onebreath.evaluation.figures.pictures import ERROR_GAIN, compare_figure, figures
from onebreath.gadgets.reconstruct.chooser import method_of, method_of_model
from onebreath.methods.base import Method, method_class
from onebreath.methods.choice.choice import choose
from onebreath.methods.choice.decision import Choice
from onebreath.methods.choice.stacked import weighted_mean
from onebreath.methods.place import Place
from onebreath.mrd.header import ScanHeader
from onebreath.terminal import Column, print_table, steps
from onebreath.wire.connection import parse_header
from onebreath.wire.outputs import check_picture
from onebreath.wire.raw_file import RawFile
from onebreath.zoo.domain import Scan
from onebreath.zoo.rules import current_rules

COLUMNS = (
    Column("candidate"),
    Column("error", number=True),
    Column("+-", number=True),
    Column("seconds", number=True),
    Column("why not"),
)
MEAN = "mean"
"""Name of the weighted mean of the candidates' images, if that is what the scan gets."""
_ANY_TIME = 10**6
"""Slices that the scan is said to have, so that the tests may take as long as they need."""


@dataclass(frozen=True)
class Result:
    """Result of a candidate: complex images (frame, y, x) and seconds, or the reason for its failure."""

    images: NDArray[np.complexfloating] | None
    seconds: float
    failed: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("file", help="raw data file (.h5)")
    parser.add_argument("-c", "--config", default="Onebreath_Cine.xml", help="what prepares the scan (%(default)s)")
    parser.add_argument(  # -g as for raw data everywhere; -G is its older spelling here
        "-g", "-G", "--group", default="dataset", help="group of the raw data (default: %(default)s)"
    )
    parser.add_argument(
        "--candidates",
        nargs="+",
        help="models (architecture.tag) and classical methods; default: those of the protocol rule that fires",
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("compare.png"), help="picture (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Reconstruct the first slice with every candidate, print the table, draw the picture."""
    path = args.output if args.output.suffix else args.output.with_suffix(".png")
    check_picture(path, (Path(args.file),))
    figures()  # not only when all candidates have been run
    with RawFile(args.file, args.group) as raw:
        header = ScanHeader(parse_header(raw.header_xml))
        place, scan = first_place(raw, args.config)
    named = args.candidates
    candidates = {name: method_named(name) for name in named} if named else candidates_of(scan)
    made: dict[str, Result] = {}
    for name, method in steps(candidates.items(), "reconstructing", unit="candidates"):
        first = all(one.images is None for one in made.values())
        made[name] = reconstructed(place, method, scan)
        if first:
            # Again, for the time: the first reconstruction loads libraries, makes plans and starts threads for all.
            made[name] = reconstructed(place, method, scan)
    able = [(name, candidates[name]) for name, one in made.items() if one.images is not None]
    if not able:
        raise MethodError("no candidate can reconstruct this scan: " + "; ".join(one.failed for one in made.values()))
    choice: Choice | None = None
    try:
        choice = choose(able, place.merged, 1.0, _ANY_TIME)
    except MethodError as error:
        print(f"Held-back lines cannot decide: {error}.")
    print_table(table(made, choice), COLUMNS, rows(made, choice))
    winner = able[0][0] if choice is None else able[choice.winner][0]
    if choice is not None:
        print(f"Chosen: {choice.reason}. Noise alone makes an error of {choice.noise_only:.4f}.")
        who = "All candidates" if len(able) == len(made) else f"{len(able)} of {len(made)} candidates"
        print(f"Tested, however long that took: {who}; a scan spends choose_within of its time.")
        known = choice.facts["choice_error_90_percent"]
        where = f"is {known}" if choice.unknown else f"is within {known} in nine of ten scans"
        print(f"The error of the magnitude {where}.")
    images = {name: np.abs(one.images) for name, one in made.items() if one.images is not None}
    if choice is not None and max(choice.weights) < 1:
        winner = MEAN
        parts = [one.images for one in made.values() if one.images is not None]
        images[MEAN] = np.abs(weighted_mean(parts, choice.weights))
    others = {name: series for name, series in images.items() if name != winner}
    ny, nx = place.merged.kspace.shape[2:]
    compare_figure(
        path,
        images[winner],
        others,
        (header.encoded_fov.y / ny, header.recon_fov.x / nx),
        "SNR units" if place.merged.whitened else "image units",
        f"{winner} (chosen)" if choice is not None else winner,
        "difference",
    )
    print(f"Pictures: {path}; differences are to {winner}, times {ERROR_GAIN}")
    return 0


def candidates_of(scan: Scan) -> dict[str, Method]:
    """Make a scan's candidates, by the protocol rule that fires: its own method with the properties that it sets."""
    rule = current_rules().match(scan)
    if rule is None:
        raise ScanError("no protocol rule is for this scan; name the methods and models with --candidates")
    own = {rule.model or rule.method: method_of(rule)}
    return own | {name: method_named(name) for name in rule.candidates if name not in own}


def method_named(name: str) -> Method:
    """Make a method by the name of a classical one or of a model."""
    made: dict[str, Any] = {"model": name} if "." in name else {}
    return method_class(method_of_model(name) if made else name)(**made)


def reconstructed(place: Place, method: Method, scan: Scan) -> Result:
    """Reconstruct the slice with a method; an error becomes part of the result."""
    try:
        method.prepare(scan)
        begun = time.perf_counter()
        images = np.asarray(place.reconstruct(method).images)
    except OnebreathError as error:
        return Result(None, math.nan, str(error))
    return Result(images, time.perf_counter() - begun)


def rows(made: Mapping[str, Result], choice: Choice | None) -> list[tuple[str, str, str, str, str]]:
    """Return name, estimated error relative to the image, its standard error, seconds for the slice, what failed."""
    estimates = {one.name: one for one in choice.estimates} if choice else {}
    found = []
    for name, one in made.items():
        estimate = estimates.get(name)
        error, spread = ("-", "-")
        if estimate is not None and not estimate.failed:
            error, spread = f"{estimate.error:.4f}", f"{estimate.uncertainty:.4f}"
        why = one.failed or (estimate.failed if estimate is not None else "")
        found.append((name, error, spread, "-" if one.images is None else f"{one.seconds:.2f}", why))
    if choice is not None and max(choice.weights) < 1:
        found.append((MEAN, f"{choice.error:.4f}", "-", "-", ""))
    return found


def table(made: Mapping[str, Result], choice: Choice | None) -> str:
    """Return the rows as plain text."""
    lines = [f"{'candidate':24} {'error':>8} {'+-':>8} {'seconds':>8}"]
    for name, error, spread, seconds, why in rows(made, choice):
        lines.append(f"{name:24} {error:>8} {spread:>8} {seconds:>8}  {why}".rstrip())
    return "\n".join(lines)
