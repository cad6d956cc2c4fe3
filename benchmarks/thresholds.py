"""L+S with its default weights beside the best of a grid of weights, over noise, acceleration and masks.

    python -m benchmarks.thresholds
    python -m benchmarks.thresholds --patients SCD0000401

The weights are in units of the noise, so that one pair should do for all scans: the table says what the best pair of a
grid of 6 x 6, known only to who has the truth, would add, and how the best pair does without wavelets, with the two
norms of the paper alone. The last columns are L+S with the thresholds as published and zero filling. Images are the
middle columns of a slice; PSNR is that of their magnitude over the largest true pixel.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks.table import table
from onebreath.evaluation.data import read_slices
from onebreath.evaluation.scans import ReferenceScan, ScanChoice, coil_maps, reference_scan
from onebreath.methods.base import SliceData
from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.methods.score import middle_columns
from onebreath.methods.zero_filled import ZeroFilled
from onebreath.mri.sampling import describe
from onebreath.training.data.masks import Family, make_mask
from onebreath.training.data.series import ImageSeries

GRID = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SNR, ACCELERATION = (10, 30, 150), (4, 8, 24)
MASKS: dict[str, tuple[Family, int]] = {"fixed": ("cmrxrecon", 24), "k-t": ("vista", 8)}
MATRIX, FRAMES, CHANNELS = (128, 112), 12, 6


def scan_of(patient: str, number: int, snr: float, matrix: tuple[int, int] = MATRIX) -> ReferenceScan:
    """The scan of a slice of a patient, or of the phantom (``simulator``); SNR is that of blood, fully sampled."""
    data, patients = ("simulator", ("*",)) if patient == "simulator" else ("sunnybrook", (patient,))
    series, _ = next(iter(read_slices(data, None, patients, [number])))
    assert isinstance(series, ImageSeries)
    frames = np.linspace(0, len(series.images), FRAMES, endpoint=False).astype(int)
    choice = ScanChoice(seed=number, snr=(snr, snr), matrix=matrix, channels=CHANNELS)
    return reference_scan(replace(series, images=series.images[frames]), choice)


def strip(scan: ReferenceScan, lines: np.ndarray, width: int) -> tuple[SliceData, np.ndarray]:
    """The middle columns of a scan with the lines (frame or 1, y) of a mask, and their truth (frame, y, x)."""
    frames, _, ny, nx = scan.kspace.shape
    mask = np.broadcast_to(lines, (frames, ny))[:, :, None]
    maps, _ = coil_maps(scan)
    kspace = np.where(mask[:, None], scan.kspace, np.complex64(0))
    data = SliceData(kspace, mask, None, 0, maps, describe(mask))
    first = (nx - width) // 2
    return middle_columns(data, width), scan.truth[..., first : first + width]


def psnr(images: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB of complex images against a magnitude, over its largest pixel."""
    return float(10 * np.log10(truth.max() ** 2 / np.mean((np.abs(images) - truth) ** 2)))


def relative(images: np.ndarray, truth: np.ndarray) -> float:
    """Error of the magnitude, relative to the image as what is published: nobody knows the size of the truth."""
    return round(float(np.linalg.norm(np.abs(images) - truth) / np.linalg.norm(images)), 4)


def rows(patients: list[str], masks: list[str], number: int, width: int) -> Iterator[tuple[object, ...]]:
    """One row for each scan."""
    for patient in patients:
        for snr in SNR:
            scan = scan_of(patient, number, snr)
            for name in masks:
                for acceleration in ACCELERATION:
                    family, acs = MASKS[name]
                    rng = np.random.default_rng(0)
                    lines = make_mask(family, FRAMES, scan.kspace.shape[2], acceleration, acs, rng)
                    yield patient, name, snr, acceleration, *compared(*strip(scan, lines, width))


def compared(data: SliceData, truth: np.ndarray) -> tuple[str, ...]:
    """Cells: the default, the best of the grid, its weights, what it gains, without wavelets, as published, zero."""

    def found(**parameters: object) -> float:
        return psnr(np.asarray(LowRankSparse(device="cpu", **parameters)(data).images), truth)

    with_wavelets = {(a, b): found(low_rank=a, sparse=b) for a in GRID for b in GRID}
    best = max(with_wavelets, key=lambda pair: with_wavelets[pair])
    without = max(found(low_rank=a, sparse=b, wavelet=0) for a in GRID for b in GRID)
    plain, published = found(), found(algorithm="published")
    zero = psnr(np.asarray(ZeroFilled()(data).images), truth)
    return (
        f"{plain:.2f}", f"{with_wavelets[best]:.2f}", f"{best[0]:g}, {best[1]:g}", f"{with_wavelets[best] - plain:.2f}",
        f"{without:.2f}", f"{published:.2f}", f"{zero:.2f}",
    )  # fmt: skip


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", nargs="+", default=["SCD0000401"], help="or simulator")
    parser.add_argument("--masks", nargs="+", default=list(MASKS), choices=list(MASKS))
    parser.add_argument("--slice", type=int, default=5, help="number of the slice")
    parser.add_argument("--width", type=int, default=48, help="columns about the middle")
    options = parser.parse_args()
    columns = (
        "scan", "lines", "SNR", "R", "default, dB", "best of 6 x 6", "its weights", "gain", "best without wavelets",
        "published", "zero",
    )  # fmt: skip
    print(
        table(
            f"L+S: default weights and the best of a grid {GRID} in units of the noise; {FRAMES} frames, {CHANNELS} "
            f"channels, {MATRIX[0]} lines, the middle {options.width} of {MATRIX[1]} columns",
            columns,
            rows(options.patients, options.masks, options.slice, options.width),
        )
    )


if __name__ == "__main__":
    main()
