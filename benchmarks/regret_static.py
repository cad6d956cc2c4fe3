"""How far the choice by held-back calibration lines is from the best candidate, for static scans.

    python -m benchmarks.regret_static
    python -m benchmarks.regret_static --sources SCD0000301:5 simulator:7 --candidates cg_sense grappa raki

As `benchmarks.regret` does for cine: the regret is the PSNR of the best candidate less that of the images that the
choice leads to, in dB over the whole magnitude; below 0 if they are better than each candidate's. Measured brains,
whose truth is the full measurement, and simulated hearts and phantoms; every R-th line and 24 calibration lines. Noise
that is not what the noise scan says: the data hold 2 or 4 times as much.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import Kept
from benchmarks.regret import covered
from benchmarks.static_scans import AS_MEASURED, Source, scanned
from benchmarks.table import table
from benchmarks.thresholds import psnr, relative
from onebreath.errors import MethodError
from onebreath.methods.base import Method, method_class
from onebreath.methods.choice.choice import choose
from onebreath.methods.choice.decision import Choice
from onebreath.methods.choice.stacked import weighted_mean

SOURCES = ("SCD0000401:3", "simulator:0", "brain16ch:0", "SCD0000401:7", "simulator:1", "brain7ch:0")
CANDIDATES = ("cg_sense", "mr_ipt.static", "unet.static", "grappa")
SNR, ACCELERATION, ACS = (8.0, 20.0, 60.0, 300.0), (2, 4, 6), 24
MORE, MORE_AT = (2.0, 4.0), (20.0, 4)
SLICES = {"1 slice": 1, "12 slices": 12, "40 slices": 40}
"""How many slices the scan is said to have: the tests may then take more or less of a slice."""


def method_named(name: str) -> Method:
    """Make a candidate as the configuration does."""
    if name == "cg_sense":
        return method_class(name)(regularisation="noise")
    return method_class("mr_ipt")(model=name) if "." in name else method_class(name)()


def wanted(sources: list[str]) -> Iterator[tuple[str, Source, float, int, float]]:
    """All scans of the table, by a key."""
    for text in sources:
        source = Source.named(text)
        for snr in dict.fromkeys(AS_MEASURED if source.measured and snr > 40 else snr for snr in SNR):
            for acceleration in ACCELERATION:
                yield _key(text, snr, acceleration, 1.0), source, snr, acceleration, 1.0
        for more in MORE:
            yield _key(text, *MORE_AT, more), source, *MORE_AT, more


def _key(source: str, snr: float, acceleration: int, more: float) -> str:
    harm = f"noise x {more:g}" if more > 1 else "none"
    return f"{source}, {harm}, SNR {f'{snr:g}' if snr else 'as measured'}, R = {acceleration}"


def measure(
    key: str, source: Source, snr: float, acceleration: int, more: float, candidates: dict[str, Method]
) -> dict[str, Any]:
    """Reconstruct a scan with all candidates, and choose."""
    case = scanned(source, snr, acceleration, ACS, more)
    found: dict[str, Any] = {"key": key, "psnr": {}, "error": {}, "seconds": {}, "choice": {}}
    made: dict[str, np.ndarray] = {}
    for name, method in candidates.items():
        begun = time.process_time()
        made[name] = np.asarray(method.for_replicas()(case.data_for(method)).images)
        found["seconds"][name] = round(time.process_time() - begun, 4)
        found["psnr"][name] = round(psnr(made[name], case.truth), 3)
        found["error"][name] = relative(made[name], case.truth)
    for label, slices in SLICES.items():
        begun = time.process_time()
        choice: Choice | None = None
        weights: tuple[float, ...] = (1.0, *[0.0] * (len(candidates) - 1))
        try:
            choice = choose(list(candidates.items()), case.merged, slices=slices)
            weights = choice.weights
        except MethodError:  # no time, or too few lines: the rule's order decides
            pass
        seconds = time.process_time() - begun
        mean = weighted_mean(list(made.values()), weights)
        needed = sum(found["seconds"][name] for name, weight in zip(candidates, weights, strict=True) if weight)
        found["choice"][label] = {
            "weights": dict(zip(candidates, np.round(weights, 3).tolist(), strict=True)),
            "psnr": round(psnr(mean, case.truth), 3),
            "error": relative(mean, case.truth),
            "estimated": None if choice is None else round(choice.error, 4),
            "interval": None if choice is None or choice.unknown else [round(one, 4) for one in choice.interval],
            "estimates": [] if choice is None else [[e.name, round(e.error, 4)] for e in choice.estimates],
            "cost": seconds / (slices * needed),
        }
    return found


def groups(results: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Rows of the table: all, each source, each SNR, each acceleration, each harm."""
    parts = [result["key"].split(", ") for result in results]
    plain = [p[1] == "none" for p in parts]
    yield "all", results
    for kind in dict.fromkeys(p[0].split(":")[0] for p in parts):
        yield kind, [r for r, p in zip(results, parts, strict=True) if p[0].startswith(kind)]
    for place in (2, 3):
        for value in dict.fromkeys(p[place] for p in parts):
            yield value, [r for r, p, ok in zip(results, parts, plain, strict=True) if ok and p[place] == value]
    for harm in dict.fromkeys(p[1] for p in parts if p[1] != "none"):
        yield harm, [r for r, p in zip(results, parts, strict=True) if p[1] == harm]


def row(name: str, results: list[dict[str, Any]]) -> tuple[object, ...]:
    """Mean and 95th percentile of the regret of each way to choose, and of each candidate alone; cost and coverage."""
    chosen = [[r["choice"][label]["psnr"] for r in results] for label in SLICES]
    alone = [[r["psnr"][one] for r in results] for one in results[0]["psnr"]]
    best = np.array([max(r["psnr"].values()) for r in results])
    cells = [f"{np.mean(best - one):.2f}, {np.percentile(best - one, 95):.2f}" for one in (*chosen, *alone)]
    costs = [[r["choice"][label]["cost"] for r in results] for label in ("12 slices", "40 slices")]
    spent = [f"{np.median(one):.0%}, {np.percentile(one, 95):.0%}" for one in costs]
    told = [covered(r["choice"]["40 slices"]) for r in results]
    known = [one for one in told if one is not None]
    return name, len(results), *cells, *spent, f"{np.mean(known):.0%} of {len(known)}" if known else "-"


def report(results: list[dict[str, Any]]) -> str:
    """The table."""
    names = list(results[0]["psnr"])
    return table(
        f"Regret of the choice among {', '.join(names)} in dB, mean and 95th percentile, for static scans of one frame "
        f"and {ACS} calibration lines; slices: how many the scan has, which bounds the tests by the default "
        "choose_within; always: one candidate without a choice. cost: processor time of the choice over that of the "
        "images of the scan, median and 95th percentile. Last: scans with the true error in the published "
        "interval (nominal 90 %)",
        (
            "scans", "number", *SLICES, *(f"always {name}" for name in names), "cost, 12 slices", "cost, 40 slices",
            "error in the interval",
        ),
        [row(name, these) for name, these in groups(results) if these],
        ("numpy", "torch"),
    )  # fmt: skip


def main() -> None:
    """Measure what is not measured yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), help="name:number; simulator: the phantom")
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), help="in the order of the rule")
    parser.add_argument("--keep", type=Path, default=Path("runs/regret_static.jsonl"), help="file of results")
    options = parser.parse_args()
    kept = Kept(options.keep)
    candidates = {name: method_named(name) for name in options.candidates}
    print(report([kept.get(key, partial(measure, key, *how, candidates)) for key, *how in wanted(options.sources)]))


if __name__ == "__main__":
    main()
