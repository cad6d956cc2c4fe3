"""How many pixels' true error is within the bound of the error map, on scans of which the truth is known.

    python -m benchmarks.error_map
    python -m benchmarks.error_map --sources SCD0000301:4 --kinds static

Static scans are those of `benchmarks.regret_static` (CG-SENSE and GRAPPA, and what held-back lines make of them), cine
scans are those of `benchmarks.regret` (L+S and the model). A third of the pixels has the smallest bounds, a third the
largest: a map that is right holds in each of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import regret, regret_static
from benchmarks.kept import Kept
from benchmarks.static_scans import Source, scanned
from benchmarks.table import table
from onebreath.gadgets.reconstruct.error_map import error_bound, hidden_by_maps
from onebreath.methods.base import Method, SliceData
from onebreath.methods.choice.choice import choose
from onebreath.methods.choice.stacked import Member, Stacked
from onebreath.methods.noise import Effort, measure_noise

SOURCES = ("SCD0000401:3", "SCD0000401:7", "simulator:0", "simulator:1")
SNR, STATIC, CINE = (8.0, 20.0, 60.0, 300.0), (2, 4, 6), (("cmrxrecon", 8, 24),)
CANDIDATES = {"static": ("cg_sense", "grappa"), "cine": (regret.REFERENCE, "crunet_mr.noise_aware")}
REPLICAS = Effort(16, 600)


def wanted(kind: str, sources: list[str]) -> Iterator[tuple[str, partial[tuple[SliceData, np.ndarray]]]]:
    """All scans of a kind: a key, and what makes the data and the truth (frame, y, x)."""
    for text in sources:
        source = Source.named(text)
        for snr in SNR:
            if kind == "static":
                for step in STATIC:
                    yield f"static, {text}, SNR {snr:g}, R = {step}", partial(static, source, snr, step)
                continue
            reference = regret.Reference(source.series, snr, source.number)
            for mask in CINE:
                one = regret.Wanted(text, "none", snr, mask, 0, reference)  # type: ignore[arg-type]
                yield f"cine, {one.key}", partial(regret.made, one)


def static(source: Source, snr: float, acceleration: int) -> tuple[SliceData, np.ndarray]:
    """The data of a static scan and its truth."""
    case = scanned(source, snr, acceleration, regret_static.ACS)
    return case.merged, case.truth


def measure(key: str, make: partial[tuple[SliceData, np.ndarray]], candidates: dict[str, Method]) -> dict[str, Any]:
    """Choose, reconstruct, make the map, and count the pixels within it."""
    data, truth = make()
    choice = choose(list(candidates.items()), data, slices=1000)
    members = [Member(name, one, w) for (name, one), w in zip(candidates.items(), choice.weights, strict=True) if w]
    method = Stacked(members)
    images = np.asarray(method(data).images)
    std = measure_noise(method, data, images, REPLICAS).std
    bound, lost = error_bound(np.abs(images), std, choice.middle)
    bound = np.maximum(bound, hidden_by_maps(data))
    error = np.abs(np.abs(images) - truth)
    low, high = np.quantile(bound, [1 / 3, 2 / 3])
    noise_alone = error <= 1.645 * std
    parts = {"all": bound >= 0, "small": bound < low, "large": bound >= high}
    found = {name: float(np.mean((error <= bound)[where])) for name, where in parts.items()}
    return {"key": key, **found, "noise": float(np.mean(noise_alone)), "lost": lost}


def rows(results: list[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    """Rows: kinds, and each SNR and mask of them; means, and the smallest and largest share of a scan."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in results:
        kind, *parts = one["key"].split(", ")
        snr = next(part for part in parts if part.startswith("SNR"))
        for name in (kind, f"{kind}, {snr}", f"{kind}, {parts[-1]}"):
            groups.setdefault(name, []).append(one)
    for name, these in groups.items():
        shares = [one["all"] for one in these]
        means = [f"{np.mean([one[part] for one in these]):.0%}" for part in ("all", "small", "large", "noise", "lost")]
        yield name, len(these), means[0], f"{min(shares):.0%} to {max(shares):.0%}", *means[1:]


def main() -> None:
    """Measure what is not measured yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), help="name:number; simulator: the phantom")
    parser.add_argument("--kinds", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--keep", type=Path, default=Path("runs/error_map.jsonl"), help="file of results")
    options = parser.parse_args()
    kept, results = Kept(options.keep), []
    for kind in options.kinds:
        named = regret_static.method_named if kind == "static" else regret.method_named
        candidates = {name: named(name) for name in CANDIDATES[kind]}
        for key, make in wanted(kind, options.sources):
            results.append(kept.get(key, partial(measure, key, make, candidates)))
    print(
        table(
            "Share of pixels whose true error of the magnitude is within the bound of the error map (nominal 90 %): "
            "mean over scans, smallest and largest of a scan; in the third of the pixels with the smallest and the "
            "largest bounds; within 1.645 times the noise map alone; last the part of the error that the map takes "
            f"for lost signal. {', '.join(options.sources)}; {REPLICAS.samples} noise replicas",
            ("scans", "number", "within", "of a scan", "smallest bounds", "largest", "noise alone", "lost signal"),
            rows(results),
            ("numpy", "torch"),
        )
    )


if __name__ == "__main__":
    main()
