"""How well the out-of-domain score tells good images from bad ones, for a trained model.

    python -m benchmarks.domain_score --model crunet_mr.cine
    python -m benchmarks.domain_score --model crunet_mr.cine --data sunnybrook --slices 4

Every slice is reconstructed as it should be, and with one thing wrong at a time: mask, contrast, motion, coil maps,
noise. Images count as bad if their magnitude differs from the truth by more than the bound (relative, whole image). The
area under the ROC curve is the chance that a bad image has a higher score than a good one; the threshold is the one
that gives the highest balanced accuracy. A line for each kind of harm says what the card's limit would do.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.table import table
from onebreath import zoo
from onebreath.evaluation.data import read_slices
from onebreath.evaluation.scans import ReferenceScan, ScanChoice, coil_maps, reference_scan
from onebreath.methods.base import SliceData
from onebreath.methods.learned.unrolled import Unrolled
from onebreath.methods.score import domain_score
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.mri.sampling import describe
from onebreath.training.data.masks import Family, make_mask
from onebreath.training.data.series import ImageSeries

FRAMES = 8
MATRIX = (128, 112)
USUAL: tuple[tuple[Family, int, int], ...] = (
    ("uniform", 2, 24), ("uniform", 4, 24), ("cmrxrecon", 8, 24), ("kt_uniform", 4, 16), ("vista", 6, 16),
    ("gaussian", 6, 16),
)  # fmt: skip
UNUSUAL: tuple[tuple[Family, int, int], ...] = (("uniform", 8, 0), ("uniform", 20, 4), ("random", 6, 0))


@dataclass(frozen=True)
class Case:
    """One scan: what is done to it, its data, and the magnitude of the truth (frame, y, x)."""

    harm: str
    data: SliceData
    truth: np.ndarray


@dataclass(frozen=True)
class Result:
    """What came out: error of the image relative to the truth, and the score."""

    harm: str
    error: float
    score: float


def cases(scan: ReferenceScan, rng: np.random.Generator) -> Iterator[Case]:
    """A slice as it should be scanned, and with one thing wrong at a time."""
    frames, coils, ny, _ = scan.kspace.shape
    maps, _ = coil_maps(scan)

    def case(harm: str, lines: np.ndarray, kspace: np.ndarray = scan.kspace, seen: np.ndarray = maps) -> Case:
        mask = np.broadcast_to(lines, (frames, ny))[:, :, None]
        sampled = np.where(mask[:, None], kspace, 0).astype(np.complex64)
        data = SliceData(sampled, mask, scan.acs, scan.acs_first, np.ascontiguousarray(seen), describe(mask))
        return Case(harm, data, scan.truth)

    for family in USUAL:
        yield case("none", make_mask(family[0], frames, ny, family[1], family[2], rng))
    for family in UNUSUAL:
        yield case("mask", make_mask(family[0], frames, ny, family[1], family[2], rng))
    yield case("mask", (np.abs(np.arange(ny) - ny // 2) < ny // 10)[None])  # the centre alone
    lines = make_mask("uniform", frames, ny, 4, 24, rng)
    for truth in contrasts(scan.truth, rng):
        phase = np.exp(1j * np.angle((maps[0].conj() * ifft2c(scan.kspace.mean(0))).sum(0)))
        made = case("contrast", lines, fft2c((truth * phase)[:, None] * maps[0]) + noise(scan.kspace.shape, 1, rng))
        yield replace(made, truth=truth)
    for pixels in (1, 3, 6):
        yield case("motion", lines, moved(scan.kspace, pixels, rng))
    for wrong in (
        np.roll(maps, (4, 4), (-2, -1)),
        np.roll(maps, (16, 10), (-2, -1)),
        maps[:, rng.permutation(coils)],
        maps.conj(),
    ):
        yield case("coil maps", lines, seen=wrong)
    for strength in (2, 5, 10):
        yield case("noise", lines, scan.kspace + noise(scan.kspace.shape, strength, rng))


def noise(shape: tuple[int, ...], std: float, rng: np.random.Generator) -> np.ndarray:
    """Complex noise of a standard deviation in its real and in its imaginary part."""
    parts = rng.standard_normal((2, *shape), dtype=np.float32)
    return std * (parts[0] + 1j * parts[1])


def contrasts(truth: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Images of another kind: dark blood, steeper contrast, texture, frames that do not follow each other."""
    level = truth / truth.max()
    other = (
        np.where(level > 0.05, 0.8 * (1 - level), 0),
        level**2.5,
        level * (0.3 + rng.random(level.shape)),
        level[rng.permutation(len(level))],
    )
    return [(image * truth.max()).astype(np.float32) for image in other]


def moved(kspace: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """K-space (frame, coil, y, x) of an object that shifts from line to line, with this standard deviation."""
    frames, _, ny, nx = kspace.shape
    shift = pixels * rng.standard_normal((2, frames, ny))
    turns = shift[0] * (np.arange(ny) - ny // 2) / ny
    turns = turns[:, :, None] + shift[1][:, :, None] * (np.arange(nx) - nx // 2) / nx
    return kspace * np.exp(2j * np.pi * turns)[:, None]


def measure(case: Case, method: Unrolled) -> Result:
    """Reconstruct a case and measure its error and its score."""
    image = np.abs(method(case.data).images)
    error = np.linalg.norm(image - case.truth) / np.linalg.norm(case.truth)
    return Result(case.harm, float(error), domain_score(method, case.data).value)


def area(good: np.ndarray, bad: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a bad image has the higher score."""
    return float((bad[:, None] > good[None]).mean() + 0.5 * (bad[:, None] == good[None]).mean())


def best_threshold(good: np.ndarray, bad: np.ndarray) -> float:
    """The threshold with the highest mean of sensitivity and specificity."""
    ordered = np.sort(np.concatenate([good, bad]))
    between = (ordered[1:] + ordered[:-1]) / 2
    return float(max(between, key=lambda limit: (bad > limit).mean() + (good <= limit).mean()))


def few_frames(series: ImageSeries) -> ImageSeries:
    """The series with few frames, evenly spaced, to save time."""
    step = max(1, len(series.images) // FRAMES)
    return replace(series, images=series.images[::step][:FRAMES])


def scans(data: list[str], patients: tuple[str, ...], slices: int) -> Iterator[ReferenceScan]:
    """Scans simulated from the slices of data sets, several SNRs."""
    for name in data:
        chosen = patients if name == "sunnybrook" else ("*",)
        for number, (series, _) in enumerate(read_slices(name, None, chosen, range(1, 1 + slices))):
            assert isinstance(series, ImageSeries)
            snr = (15.0 + 10 * number, 25.0 + 10 * number)
            yield reference_scan(few_frames(series), ScanChoice(seed=number, snr=snr, matrix=MATRIX))


def report(results: list[Result], bound: float, model: str, limit: float) -> str:
    """The table, one row for each kind of harm; the last row is over all."""
    rows = []
    for harm in [*dict.fromkeys(result.harm for result in results), "all"]:
        these = [result for result in results if harm in (result.harm, "all")]
        errors, scores = (np.array([getattr(r, name) for r in these]) for name in ("error", "score"))
        bad = errors > bound
        caught, passed = (
            f"{(scores[bad] > limit).sum()} of {bad.sum()}",
            f"{(scores[~bad] <= limit).sum()} of {(~bad).sum()}",
        )
        rows.append((harm, len(these), f"{np.median(errors):.2f}", f"{np.median(scores):.2f}", caught, passed))
    bad = np.array([result.error > bound for result in results])
    scores = np.array([result.score for result in results])
    title = (
        f"Out-of-domain score of {model}: area under the ROC curve {area(scores[~bad], scores[bad]):.3f} for an error "
        f"above {bound:g}; best threshold "
        f"{best_threshold(scores[~bad], scores[bad]):.3f}, the limit of the card is {limit:g}"
    )
    return table(
        title, ("harm", "scans", "median error", "median score", "bad caught", "good passed"), rows, ("torch",)
    )


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="crunet_mr.cine")
    parser.add_argument("--data", nargs="+", default=["sunnybrook", "simulator"], help="data sets by name")
    parser.add_argument(
        "--patients", nargs="+", default=["SCD0000401"], help="of sunnybrook; not those of the training"
    )
    parser.add_argument("--slices", type=int, default=3, help="slices of each data set")
    parser.add_argument("--bound", type=float, default=0.2, help="relative error above which an image is bad")
    args = parser.parse_args()
    method = Unrolled(model=args.model, device="auto", outside_domain="allow")
    rng = np.random.default_rng(0)
    found = scans(args.data, tuple(args.patients), args.slices)
    results = [measure(case, method) for scan in found for case in cases(scan, rng)]
    print(report(results, args.bound, args.model, zoo.read_card(zoo.find(args.model)).score_limit))


if __name__ == "__main__":
    main()
