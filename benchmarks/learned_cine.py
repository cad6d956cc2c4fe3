"""Models for cine against L+S that knows the noise: nine scans a slice, over noise and acceleration.

    python -m benchmarks.learned_cine
    python -m benchmarks.learned_cine --patient SCD0000301 --slices 5 --models crunet_mr.mine

Hearts with simulated coils, masks as in CMRxRecon with 24 calibration lines, the same in all frames, and coil maps
cropped as the configurations do. PSNR of the magnitude (strict), over the whole image and where the heart moves.
`default` is what held-back lines make of the candidates of the rule for cine, in a scan of 12 slices.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import Kept
from benchmarks.regret import CHANNELS, CROP, MATRIX, REFERENCE, Reference, Wanted, made, method_named, ruled
from benchmarks.table import table
from benchmarks.thresholds import psnr
from onebreath.evaluation.data import read_slices
from onebreath.evaluation.regions import dynamic_region, measure_region
from onebreath.methods.base import Method, SliceData
from onebreath.methods.choice.choice import choose
from onebreath.methods.choice.stacked import weighted_mean
from onebreath.training.data.series import ImageSeries

SNR = (10, 30, 150)
ACCELERATIONS = (4, 8, 24)
ACS_LINES = 24
DEFAULT = "default"
SCAN = 12
"""Slices of the scan, by which the time for tests is counted."""


def scans(patient: str, slices: list[int]) -> Iterator[Wanted]:
    """All scans of the table, slice by slice."""
    for number, (series, _) in zip(slices, read_slices("sunnybrook", None, (patient,), slices), strict=True):
        assert isinstance(series, ImageSeries)
        for snr in SNR:
            reference = Reference(series, snr, number)
            for acceleration in ACCELERATIONS:
                yield Wanted(f"{patient} {number}", "none", snr, ("cmrxrecon", acceleration, ACS_LINES), 0, reference)


def measure(key: str, one: Wanted, methods: dict[str, Method]) -> dict[str, Any]:
    """PSNR (dB) of each method: the whole image, and the moving part."""
    data, truth = made(one)
    target = np.abs(truth)
    moving = dynamic_region(target)
    found, series = {}, {name: np.asarray(method(data).images) for name, method in methods.items()}
    series[DEFAULT], weights = default_images(data, methods, series)
    for name, one_series in series.items():
        images = np.abs(one_series)
        found[name] = psnr(images, truth), measure_region(target, images, moving)["psnr"]
    values = {name: (round(float(whole), 3), round(float(part), 3)) for name, (whole, part) in found.items()}
    return {"key": key, "psnr": values, "weights": weights}


def default_images(
    data: SliceData, methods: Mapping[str, Method], series: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return what held-back lines make of the images of the rule's candidates, and the weights of these."""
    candidates = {name: methods[name] if name in methods else _candidate(name) for name in ruled(data)}
    chosen = choose([*candidates.items()], data, slices=SCAN)
    images = [series[name] if name in series else one(data).images for name, one in candidates.items()]
    return np.asarray(weighted_mean(images, chosen.weights)), chosen.weights


@cache
def _candidate(name: str) -> Method:
    """Make a candidate of the rule once for all scans."""
    return method_named(name)


def rows(results: dict[str, dict[str, list[float]]], models: list[str]) -> Iterator[tuple[object, ...]]:
    """For each SNR and R the mean of each method, and each model's least and largest lead over L+S on a slice."""
    for snr in SNR:
        for acceleration in ACCELERATIONS:
            these = [one for key, one in results.items() if f"SNR {snr:g}, cmrxrecon R={acceleration} " in key]
            values = {name: np.array([one[name] for one in these]) for name in (REFERENCE, *models)}
            means = [" / ".join(f"{value:.1f}" for value in array.mean(0)) for array in values.values()]
            leads = [values[name] - values[REFERENCE] for name in models]
            spans = [
                " / ".join(f"{a:+.1f} to {b:+.1f}" for a, b in zip(d.min(0), d.max(0), strict=True)) for d in leads
            ]
            yield snr, acceleration, *means, *spans


def main() -> None:
    """Measure what is not measured yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patient", default="SCD0000401")
    parser.add_argument("--slices", nargs="+", type=int, default=[1, 3, 5, 7, 9])
    parser.add_argument("--models", nargs="+", default=["crunet_mr.cine", "crunet_mr.noise_aware"])
    parser.add_argument("--keep", type=Path, default=Path("runs/learned_cine.jsonl"), help="file of results")
    options = parser.parse_args()
    kept = Kept(options.keep)
    methods = {name: method_named(name) for name in (REFERENCE, *options.models)}
    shown = [*options.models, DEFAULT]
    results = {}
    for one in scans(options.patient, options.slices):
        key = f"{one.key}, {', '.join(methods)}"
        results[one.key] = kept.get(key, partial(measure, key, one, methods))["psnr"]
    title = (
        f"PSNR in dB, whole image / where the heart moves: {options.patient}, slices {options.slices}, 8 frames of "
        f"{MATRIX[0]} x {MATRIX[1]}, {CHANNELS} channels, coil maps cropped at {CROP}; means, and the lead of a model "
        "over L+S on its worst and best slice"
    )
    columns = ("SNR", "R", "L+S", *shown, *(f"{name} less L+S" for name in shown))
    print(table(title, columns, list(rows(results, shown)), ("numpy", "torch")))


if __name__ == "__main__":
    main()
