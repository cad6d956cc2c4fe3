"""How far the choice by held-back lines is from the best candidate, which only the truth tells.

    python -m benchmarks.regret
    python -m benchmarks.regret --patients SCD0000301 simulator --slices 5

Every scan is reconstructed by all candidates. The regret is the PSNR of the best one less that of the chosen one, in dB
over the whole magnitude image. Beside it stands the guard that came before: the model, unless its out-of-domain score
is above its card's limit, and then L+S. The scans are hearts with simulated coils and the phantom, over noise,
acceleration and families of masks, and with one thing wrong at a time: coil maps, motion, contrast, noise that is not
what it is said to be. Results are kept in a file as they come, and a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.domain_score import contrasts, moved, noise
from benchmarks.kept import Kept
from benchmarks.table import table
from benchmarks.thresholds import psnr, relative
from onebreath import zoo
from onebreath.errors import MethodError, OutsideDomain
from onebreath.evaluation.data import read_slices
from onebreath.evaluation.scans import ReferenceScan, ScanChoice, coil_maps, reference_scan
from onebreath.methods.base import Method, SliceData, method_class
from onebreath.methods.choice.choice import choose
from onebreath.methods.choice.stacked import weighted_mean
from onebreath.methods.learned.unrolled import Unrolled
from onebreath.methods.scan import scan_of
from onebreath.methods.score import domain_score
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.mri.sampling import describe
from onebreath.training.data.masks import Family, make_mask
from onebreath.training.data.series import ImageSeries
from onebreath.zoo.domain import Scan
from onebreath.zoo.rules import RuleBook, read_rules

REFERENCE = "low_rank_sparse"
CANDIDATES = (REFERENCE, "crunet_mr.cine", "crunet_mr.noise_aware")
"""What the rules for cine name that are shipped."""
RULES = RuleBook(read_rules(Path(__file__).parents[1] / "models" / "protocols.yaml"))
SNR = (8, 20, 60, 300)
MASKS: tuple[tuple[Family, int, int], ...] = (
    ("uniform", 2, 24), ("uniform", 4, 24), ("cmrxrecon", 8, 24), ("cmrxrecon", 24, 24), ("kt_uniform", 4, 16),
    ("kt_uniform", 12, 8), ("vista", 6, 16), ("vista", 16, 8), ("gaussian", 6, 16), ("random", 6, 0), ("uniform", 8, 0),
)  # fmt: skip
HARM_SNR = (20,)
MATRIX, FRAMES, CHANNELS, CROP = (128, 96), 8, 6, 0.8
SLICES = {1: "1 slice", 6: "6 slices", 12: "12 slices"}
"""How many slices the scan is said to have: the tests may then take more or less of a slice."""


@dataclass(frozen=True)
class Wanted:
    """One scan, made when asked for: where it is from, what is wrong with it, its SNR and mask."""

    scan: str
    harm: str
    snr: float
    mask: tuple[Family, int, int]
    number: int
    reference: Reference

    @property
    def key(self) -> str:
        """What it is called in the file of results."""
        return f"{self.scan}, {self.harm}, SNR {self.snr:g}, {self.mask[0]} R={self.mask[1]} {self.mask[2]} ACS"


class Reference:
    """The scan of a slice, made when it is first asked for."""

    def __init__(self, series: ImageSeries, snr: float, seed: int) -> None:
        self.series, self.snr, self.seed = series, snr, seed

    @cached_property
    def scan(self) -> ReferenceScan:
        """Truth and full k-space."""
        step = max(1, len(self.series.images) // FRAMES)
        few = replace(self.series, images=self.series.images[::step][:FRAMES])
        choice = ScanChoice(seed=self.seed, snr=(self.snr, self.snr), matrix=MATRIX, channels=CHANNELS)
        return reference_scan(few, choice)

    @cached_property
    def maps(self) -> np.ndarray:
        """Coil maps as the configurations have them: zero where their eigenvalue is low."""
        maps, eigenvalues = coil_maps(self.scan)
        return np.asarray(maps * (eigenvalues > CROP)[:, None], np.complex64)


HARMS = (
    *(("contrast", i) for i in range(4)), *(("motion", i) for i in range(3)), *(("coil maps", i) for i in range(4)),
    *(("noise", i) for i in range(3)),
)  # fmt: skip


def wanted(patients: list[str], slices: list[int]) -> Iterator[Wanted]:
    """All scans of the table."""
    for patient in patients:
        data, names = ("simulator", ("*",)) if patient == "simulator" else ("sunnybrook", (patient,))
        found = read_slices(data, None, names, [0] if patient == "simulator" else slices)  # each phantom has one slice
        for number, (series, _) in zip(slices, found, strict=False):
            assert isinstance(series, ImageSeries)
            where = f"{patient} {number}"
            for snr in SNR:
                reference = Reference(series, snr, number)
                for mask in MASKS:
                    yield Wanted(where, "none", snr, mask, 0, reference)
            for snr in HARM_SNR:
                reference = Reference(series, snr, number)
                for harm, which in HARMS:
                    yield Wanted(where, f"{harm} {which + 1}", snr, ("cmrxrecon", 4, 24), which, reference)


def made(one: Wanted) -> tuple[SliceData, np.ndarray]:
    """The data and the truth (frame, y, x) of a scan."""
    scan, maps = one.reference.scan, one.reference.maps
    frames, coils, ny, _ = scan.kspace.shape
    rng = np.random.default_rng(0)
    lines = make_mask(one.mask[0], frames, ny, one.mask[1], one.mask[2], rng)
    kspace, truth, seen = scan.kspace, scan.truth, maps
    match one.harm.rstrip(" 1234"):
        case "contrast":
            truth = contrasts(truth, rng)[one.number]
            phase = np.exp(1j * np.angle((maps[0].conj() * ifft2c(kspace.mean(0))).sum(0)))
            kspace = fft2c((truth * phase)[:, None] * maps[0]) + noise(kspace.shape, 1, rng)
        case "motion":
            kspace = moved(kspace, (1, 3, 6)[one.number], rng)
        case "coil maps":
            wrong = (
                np.roll(maps, (4, 4), (-2, -1)), np.roll(maps, (16, 10), (-2, -1)), maps[:, rng.permutation(coils)],
                maps.conj(),
            )  # fmt: skip
            seen = np.ascontiguousarray(wrong[one.number])
        case "noise":
            kspace = kspace + noise(kspace.shape, (2, 5, 10)[one.number], rng)
    mask = np.broadcast_to(lines, (frames, ny))[:, :, None]
    sampled = np.where(mask[:, None], kspace, 0).astype(np.complex64)
    mode = None if one.mask[2] else "separate"
    sampling = describe(mask, acceleration=one.mask[1], acs_mode=mode)
    return SliceData(sampled, mask, scan.acs, scan.acs_first, seen, sampling), truth


def method_named(name: str) -> Method:
    """Make a candidate: a model of the zoo, or a classical method."""
    return Unrolled(model=name) if "." in name else method_class(name)()


def ruled(data: SliceData) -> tuple[str, ...]:
    """Return what the shipped rule for such a scan names: its own method, then the other candidates."""
    rule = RULES.match(scan_of(data, Scan(trajectory="cartesian")))
    assert rule is not None
    return rule.method, *rule.candidates


def measure(one: Wanted, methods: dict[str, Method], wanted_ones: tuple[str, ...] = ()) -> dict[str, Any]:
    """Reconstruct a scan with all methods, choose among some, else those of the rule; also what the old guard takes."""
    data, truth = made(one)
    candidates = {name: methods[name] for name in wanted_ones or ruled(data)}
    found: dict[str, Any] = {"key": one.key, "psnr": {}, "error": {}, "seconds": {}, "choice": {}}
    made_by: dict[str, np.ndarray] = {}
    for name, method in methods.items():
        begun = time.process_time()
        try:
            images = np.asarray(method(data).images)
        except OutsideDomain:  # the configuration then takes what comes first in the rule
            images = np.asarray(methods[REFERENCE](data).images)
        found["seconds"][name] = round(time.process_time() - begun, 3)
        made_by[name] = images
        found["psnr"][name] = round(psnr(images, truth), 3)
        found["error"][name] = relative(images, truth)
    for slices in SLICES:
        begun = time.process_time()
        try:
            choice = choose(list(candidates.items()), data, slices=slices)
            estimates = {e.name: [round(e.error, 4), round(e.uncertainty, 4)] for e in choice.estimates}
            weights, estimated = choice.weights, round(choice.error, 4)
            interval = [] if choice.unknown else list(choice.interval)
        except MethodError:  # it cannot be tested, or not in that time: the rule's order decides
            weights, estimates, estimated, interval = (1.0, *[0.0] * (len(candidates) - 1)), {}, None, []
        seconds = round(time.process_time() - begun, 3)
        mean = weighted_mean([made_by[name] for name in candidates], weights)
        found["choice"][str(slices)] = {
            "weights": dict(zip(candidates, np.round(weights, 3).tolist(), strict=True)),
            "psnr": round(psnr(mean, truth), 3),
            "error": relative(mean, truth),
            "estimated": estimated,
            "interval": interval,
            "estimates": estimates,
            "seconds": seconds,
        }
    found["guard"] = guarded(candidates, data)
    return found


def guarded(candidates: dict[str, Method], data: SliceData) -> str:
    """What the guard before the choice would take: the first model, unless its score is above its limit."""
    model = next(name for name in candidates if "." in name)
    try:
        score = domain_score(candidates[model], data).value
    except OutsideDomain:
        return REFERENCE
    return model if score <= zoo.read_card(zoo.find(model)).score_limit else REFERENCE


def regret(result: dict[str, Any], chosen: float) -> float:
    """What images of this PSNR are behind the best candidate's, in dB; below 0 if they are better than each of them."""
    return float(max(result["psnr"].values()) - chosen)


def cost(result: dict[str, Any], slices: int) -> float:
    """Time of the choice over what the chosen images need for the scan."""
    choice = result["choice"][str(slices)]
    needed = sum(result["seconds"][name] for name, weight in choice["weights"].items() if weight)
    return float(choice["seconds"] / (slices * needed))


def covered(choice: dict[str, Any]) -> bool | None:
    """Whether the true error is in the interval that is published with a kept choice; None if none is."""
    if not choice["interval"]:
        return None
    low, high = choice["interval"]
    return bool(low <= choice["error"] <= high)


def groups(results: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Rows of the table: all, hearts, phantoms, each SNR, each mask, each harm."""
    parts = [result["key"].split(", ") for result in results]
    yield "all", results
    yield "hearts", [r for r, p in zip(results, parts, strict=True) if not p[0].startswith("simulator")]
    yield "phantoms", [r for r, p in zip(results, parts, strict=True) if p[0].startswith("simulator")]
    for place, name in ((2, ""), (3, "")):
        for value in dict.fromkeys(p[place] for p in parts if p[1] == "none"):
            yield name + value, [r for r, p in zip(results, parts, strict=True) if p[1] == "none" and p[place] == value]
    for harm in dict.fromkeys(p[1].rstrip(" 1234") for p in parts if p[1] != "none"):
        yield f"harm: {harm}", [r for r, p in zip(results, parts, strict=True) if p[1].startswith(harm)]


def row(name: str, results: list[dict[str, Any]]) -> tuple[object, ...]:
    """Mean and 95th percentile of the regret of each way to choose, and of each candidate alone."""
    ways = {
        **{slices: [regret(r, r["choice"][slices]["psnr"]) for r in results] for slices in map(str, SLICES)},
        "guard": [regret(r, r["psnr"][r["guard"]]) for r in results],
        **{name: [regret(r, r["psnr"][name]) for r in results] for name in results[0]["psnr"]},
    }
    cells = [f"{np.mean(one):.2f}, {np.percentile(one, 95):.2f}" for one in ways.values()]
    costs = [[cost(r, slices) for r in results] for slices in SLICES]
    spent = [f"{np.median(one):.0%}, {np.percentile(one, 95):.0%}" for one in costs]
    told = [covered(r["choice"][str(max(SLICES))]) for r in results if not r["key"].endswith(" 0 ACS")]
    known = [one for one in told if one is not None]
    return name, len(results), *cells, *spent, f"{np.mean(known):.0%} of {len(known)}" if known else "-"


def report(results: list[dict[str, Any]], patients: list[str]) -> str:
    """The table."""
    names = list(results[0]["psnr"])
    return table(
        f"Regret of the choice in dB, mean and 95th percentile: {', '.join(patients)}; {FRAMES} frames of "
        f"{MATRIX[0]} x {MATRIX[1]}, {CHANNELS} channels, coil maps cropped at {CROP}. guard: the model unless its "
        "out-of-domain score is above the limit of its card, then L+S. cost: processor time of the choice over that of "
        "the winner for the scan, median and 95th percentile. The interval (nominal 90 %) is told where there are ACS "
        "lines",
        (
            "scans", "number", *SLICES.values(), "guard", *(f"always {name}" for name in names),
            *(f"cost, {name}" for name in SLICES.values()), "error in the interval",
        ),
        [row(name, these) for name, these in groups(results) if these],
        ("numpy", "torch"),
    )  # fmt: skip


def main() -> None:
    """Measure what is not measured yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", nargs="+", default=["SCD0000401", "simulator"], help="simulator: the phantom")
    parser.add_argument("--slices", nargs="+", type=int, default=[3, 7], help="numbers of the slices of each")
    parser.add_argument("--candidates", nargs="+", default=[], help="in place of those of the rule, in this order")
    parser.add_argument("--keep", type=Path, default=Path("runs/regret.jsonl"), help="file of results")
    parser.add_argument("--as-it-is", action="store_true", help="measure nothing more; the table of what is there")
    options = parser.parse_args()
    kept = Kept(options.keep)
    methods = {name: method_named(name) for name in options.candidates or CANDIDATES}
    results = [
        kept.get(one.key, partial(measure, one, methods, tuple(options.candidates)))
        for one in wanted(options.patients, options.slices)
        if one.key in kept.known or not options.as_it_is
    ]
    print(report(results, options.patients))


if __name__ == "__main__":
    main()
