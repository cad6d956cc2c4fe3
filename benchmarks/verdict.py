"""The default cine image against the best that thresholds can make of L+S: all slices of a patient, nine points each.

    python -m benchmarks.verdict
    python -m benchmarks.verdict --patient SCD0000301 --slices 3 7

L+S has the two norms of its paper, weighed by the known noise, and is tuned as nobody could who scans: for each noise
level, acceleration and measure, the pair of thresholds of a grid whose mean over the slices is best; DISTS, which takes
long, is of the balanced ones. The default is what held-back lines make of the candidates of the rule for cine, in a
scan of 12 slices; one of these is L+S with wavelets as a third norm. Wilcoxon's signed-rank test over the slices,
corrected by Bonferroni for all tests of the table; slices of one patient are not independent, so p is too small for a
claim about patients. DISTS (larger is better, as the others) is there if its weights are: ``onebreath evaluate
--fetch-dists``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.kept import Kept
from benchmarks.learned_cine import ACCELERATIONS, DEFAULT, SNR, default_images, scans
from benchmarks.regret import CANDIDATES, CHANNELS, CROP, MATRIX, REFERENCE, Wanted, made, method_named, ruled
from benchmarks.table import table
from onebreath.evaluation.dists.file import load_dists
from onebreath.evaluation.dists.network import Dists
from onebreath.evaluation.metrics import measure as measure_frames
from onebreath.evaluation.regions import dynamic_region, measure_region
from onebreath.evaluation.statistics import compare_all
from onebreath.methods.base import Method
from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.settings import settings

GRID = (0.5, 1.0, 2.0)
"""Of both thresholds, in units of the noise, beside the balanced ones."""
BALANCED = "balanced"
"""L+S without wavelets, its thresholds as the noise and the series say."""
MEASURES = {"psnr": 1, "dynamic": 1, "ssim": 3, "haarpsi": 3, "dists": 3}
"""Measures and their decimal places."""
TESTED = ("psnr", "dynamic")


@cache
def dists() -> Dists | None:
    """DISTS, if its weights are installed."""
    file = settings().dists
    return load_dists(file) if file.exists() else None


def quality(target: NDArray[np.floating], images: NDArray[np.floating], deep: bool) -> dict[str, float]:
    """All measures of a magnitude series, frame means but for the moving part; DISTS only if `deep`."""
    frames = measure_frames(target, images)
    found = {name: float(frames[name].mean()) for name in ("psnr", "ssim", "haarpsi")}
    found["dynamic"] = measure_region(target, images, dynamic_region(target))["psnr"]
    network = dists() if deep else None
    if network is not None:
        scaled = [np.clip(one / target.max(), 0, 1) for one in (target, images)]
        found["dists"] = float(network.similarity(*scaled).mean())
    return {name: round(value, 5) for name, value in found.items()}


def measure(key: str, one: Wanted, methods: Mapping[str, Method]) -> dict[str, Any]:
    """Quality of the default and of L+S with all its pairs of thresholds."""
    data, truth = made(one)
    target = np.abs(truth)
    pairs: dict[str, dict[str, Any]] = {BALANCED: {}}
    pairs |= {f"{low:g}, {sparse:g}": {"low_rank": low, "sparse": sparse} for low in GRID for sparse in GRID}
    series = {
        name: np.asarray(LowRankSparse(device="cpu", wavelet=0, **given)(data).images) for name, given in pairs.items()
    }
    candidates = {name: np.asarray(methods[name](data).images) for name in ruled(data)}
    series[REFERENCE] = candidates[REFERENCE]
    series[DEFAULT], _ = default_images(data, methods, candidates)
    deep = (BALANCED, DEFAULT)
    return {"key": key, "quality": {name: quality(target, np.abs(x), name in deep) for name, x in series.items()}}


def rows(results: Mapping[str, dict[str, dict[str, float]]]) -> Iterator[tuple[object, ...]]:
    """For each point: the tuned L+S and the default in each measure, and the lead with its p and its least value."""
    points = [(snr, acceleration) for snr in SNR for acceleration in ACCELERATIONS]
    best: dict[tuple[tuple[int, int], str], NDArray[np.float64]] = {}
    ours: dict[tuple[tuple[int, int], str], NDArray[np.float64]] = {}
    for point in points:
        these = [one for key, one in results.items() if f"SNR {point[0]:g}, cmrxrecon R={point[1]} " in key]
        for name in these[0][DEFAULT]:
            tuned = [way for way in these[0] if way not in (DEFAULT, REFERENCE)]
            ways = [BALANCED] if name == "dists" else tuned
            values = {way: np.array([one[way][name] for one in these]) for way in ways}
            best[point, name] = max(values.values(), key=lambda array: float(array.mean()))
            ours[point, name] = np.array([one[DEFAULT][name] for one in these])
    tests = [place for place in ours if place[1] in TESTED]
    found = compare_all(np.zeros(len(ours[tests[0]])), {str(place): best[place] - ours[place] for place in tests})
    for point in points:
        cells: list[str] = []
        for name, places in MEASURES.items():
            place = (point, name)
            if place in ours:
                cells.append(f"{best[place].mean():.{places}f}, {ours[place].mean():.{places}f}")
        for name in TESTED:
            lead = ours[point, name] - best[point, name]
            p = found[str((point, name))].p_bonferroni
            cells.append(f"{lead.mean():+.2f} ({lead.min():+.2f} to {lead.max():+.2f}), p = {p:.2g}")
        yield *point, *cells


def main() -> None:
    """Measure what is not measured yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patient", default="SCD0000401")
    parser.add_argument("--slices", nargs="+", type=int, default=list(range(11)))
    parser.add_argument("--keep", type=Path, default=Path("runs/verdict.jsonl"), help="file of results")
    options = parser.parse_args()
    kept = Kept(options.keep)
    methods = {name: method_named(name) for name in CANDIDATES}
    results = {}
    for one in scans(options.patient, options.slices):
        key = f"{one.key}, {', '.join(methods)}, DISTS {'with' if dists() else 'without'}"
        results[one.key] = kept.get(key, partial(measure, key, one, methods))["quality"]
    title = (
        f"Tuned L+S, default image: {options.patient}, {len(options.slices)} slices, 8 frames of {MATRIX[0]} x "
        f"{MATRIX[1]}, {CHANNELS} channels, coil maps cropped at {CROP}; lead of the default in dB, mean (least to "
        "largest of a slice)"
    )
    names = {"psnr": "PSNR", "dynamic": "PSNR, moving", "ssim": "SSIM", "haarpsi": "HaarPSI", "dists": "DISTS"}
    shown = [names[name] for name in MEASURES if name != "dists" or dists()]
    columns = ("SNR", "R", *shown, "lead", "lead, moving")
    print(table(title, columns, list(rows(results)), ("numpy", "torch")))


if __name__ == "__main__":
    main()
