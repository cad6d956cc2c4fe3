"""GRAPPA, RAKI and iRAKI side by side on real k-space, and the loss of RAKI's training over time.

Scans that were measured in full are undersampled: a 7-channel brain slice, a 34-channel heart, compressed, and the
fully sampled centre of a Siemens scan (a bottle). They are looked for in ``../shared/data``, or in the folder ``data``
below ``ONEBREATH_SHARED``.

    OMP_NUM_THREADS=2 python -m benchmarks.raki
    OMP_NUM_THREADS=2 python -m benchmarks.raki --part comparison --scans brain7ch --accelerations 4 6

Columns of the comparison: NMSE and SSIM of the magnitude against the full scan (whose own noise counts as error);
`gain`, how much of the full scan's signal the predicted lines in the outer half of k-space hold (1: all; less: blur);
`rest`, what else is there (noise and aliasing), relative to the first method; mean g over the object; seconds of wall
clock and of the processor. GRAPPA 2 x 5 uses the lines that RAKI uses; `auto` is what the chain's GRAPPA chooses.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.table import table
from onebreath.evaluation.metrics import measure
from onebreath.methods.base import Reconstruction, SliceData, method_class
from onebreath.mri.coils import apply_channel_matrix, pca_matrix
from onebreath.mri.espirit import espirit
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.mri.sampling import describe
from onebreath.training.readers.mrd import mrd_file

SCANS = {"brain7ch": range(2, 7), "cardiac34ch": range(3, 7), "siemens_snr_r3": range(2, 5)}
"""Scans and the accelerations that are simulated."""
_OBJECT = 0.1
_COLUMNS = ("scan", "R", "method", "1e4 NMSE", "100 SSIM", "gain", "rest", "mean g", "s", "CPU s")


@dataclass(frozen=True)
class Case:
    """An undersampled scan and its full image (y, x) complex."""

    name: str
    acceleration: int
    data: SliceData
    full: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Where the object is (y, x)."""
        magnitude = np.abs(self.full)
        return np.asarray(magnitude > _OBJECT * magnitude.max())

    @property
    def outer(self) -> np.ndarray:
        """Lines (y,) that are predicted and lie in the outer half of k-space."""
        ny = len(self.full)
        measured = np.any(self.data.mask[0], axis=1)
        return ~measured & (np.abs(np.arange(ny) - ny // 2) > ny // 4)


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["comparison", "curve", "both"], default="both")
    parser.add_argument("--scans", nargs="+", choices=list(SCANS), default=list(SCANS))
    parser.add_argument("--accelerations", nargs="+", type=int, help="only these")
    parser.add_argument("--acs", type=int, default=40, help="calibration lines (the Siemens scan's centre: 24)")
    parser.add_argument("--coils", type=int, default=8, help="channels after compression")
    parser.add_argument("--rounds", type=int, default=3, help="of iRAKI; 0: as published")
    parser.add_argument("--channels", type=int, nargs=2, default=(128, 64), help="of iRAKI; published: 256 128")
    parser.add_argument("--virtual-coils", action="store_true", help="RAKI and iRAKI also with virtual conjugate coils")
    parser.add_argument("--without-iraki", action="store_true", help="it takes most of the time")
    parser.add_argument("--columns", type=int, help="samples of the readout, about the centre of k-space; default: all")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    folder = Path(os.environ.get("ONEBREATH_SHARED", "../shared")) / "data"
    if options.columns is not None and options.columns < 16:
        parser.error(f"--columns is {options.columns}, expected at least 16")
    if options.part != "comparison":
        print(curve_table(_case(folder, "brain7ch", 4, options), options), end="\n\n")
    if options.part != "curve":
        print(comparison_table(folder, options))


def comparison_table(folder: Path, options: argparse.Namespace) -> str:
    """Every method on every scan."""
    rows: list[tuple[str, ...]] = []
    for name in options.scans:
        for acceleration in SCANS[name]:
            if not options.accelerations or acceleration in options.accelerations:
                for row in compare(_case(folder, name, acceleration, options), options):
                    rows.append(row)
                    print(" | ".join(row), file=sys.stderr, flush=True)  # published rounds take long
    width = "{} and {}".format(*options.channels)
    title = f"GRAPPA, RAKI and iRAKI ({options.rounds or 'published'} rounds, {width} channels)"
    return table(title, _COLUMNS, rows, ("numpy", "torch"))


def compare(case: Case, options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """Rows of one case."""
    first, second = options.channels
    iraki = {"variant": "iraki", "rounds": options.rounds, "channels_1": first, "channels_2": second}
    learned = {"device": options.device, "gfactor_samples": 512}
    methods: list[tuple[str, str, dict[str, Any]]] = [
        ("GRAPPA 2 x 5", "grappa", {"kernel": "uniform", "grappa_kSize_E1": 2}),
        ("GRAPPA auto", "grappa", {}),
        ("RAKI", "raki", learned),
        ("iRAKI", "raki", {**learned, **iraki}),
    ]
    if options.without_iraki:
        del methods[-1]
    if options.virtual_coils:
        virtual = {"virtual_coils": True, "gfactor": "none"}
        methods += [(f"{label}, virtual coils", name, {**more, **virtual}) for label, name, more in methods[2:]]
    reference = None
    for label, name, parameters in methods:
        begun = time.perf_counter(), time.process_time()
        result = method_class(name)(**parameters)(case.data)
        seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
        rest = outer_rest(result, case)
        reference = reference or rest
        yield _row(case, label, result, rest / reference, seconds)


def _row(case: Case, label: str, result: Reconstruction, rest: float, seconds: tuple[float, float]) -> tuple[str, ...]:
    found = measure(np.abs(case.full)[None], np.abs(result.images))
    gfactor = "-" if result.gfactor is None else f"{result.gfactor[0][case.inside].mean():.2f}"
    numbers = (f"{1e4 * found['nmse'][0]:.1f}", f"{100 * found['ssim'][0]:.1f}", f"{outer_gain(result, case):.2f}")
    times = (f"{one:.1f}" for one in seconds)
    return (case.name, str(case.acceleration), label, *numbers, f"{rest:.2f}", gfactor, *times)


def outer_gain(result: Reconstruction, case: Case) -> float:
    """Projection of the predicted outer lines on those of the full scan; noise in the full scan lowers all methods'."""
    ours, full = (fft2c(image)[case.outer] for image in (result.images[0], case.full))
    return float(np.real(np.vdot(full, ours)) / np.real(np.vdot(full, full)))


def outer_rest(result: Reconstruction, case: Case) -> float:
    """What is in the predicted outer lines and not in the full scan, in size."""
    ours, full = (fft2c(image)[case.outer] for image in (result.images[0], case.full))
    gain = np.vdot(full, ours) / np.vdot(full, full)
    return float(np.linalg.norm(ours - gain * full))


def curve_table(case: Case, options: argparse.Namespace) -> str:
    """Loss and image error of both schedules after some iterations; the fading one is run anew for each number."""
    rows = []
    for n in (100, 300, 500):
        rows.append(_curve_row(case, options, "published", n))
    for n in (25, 50, 100, 150):
        rows.append(_curve_row(case, options, "head_start", n))
    title = f"RAKI's training: {case.name}, R = {case.acceleration}, {options.acs} ACS lines, {options.device}"
    return table(title, ("schedule", "iterations", "loss", "1e4 NMSE", "s", "CPU s"), rows, ("numpy", "torch"))


def _curve_row(case: Case, options: argparse.Namespace, schedule: str, iterations: int) -> tuple[str, ...]:
    method = method_class("raki")(schedule=schedule, iterations=iterations, gfactor="none", device=options.device)
    begun = time.perf_counter(), time.process_time()
    result = method(case.data)
    seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
    error = measure(np.abs(case.full)[None], np.abs(result.images))["nmse"][0]
    numbers = (f"{result.facts['loss']:.5f}", f"{1e4 * error:.0f}", *(f"{one:.1f}" for one in seconds))
    return (schedule, str(iterations), *numbers)


def _case(folder: Path, name: str, acceleration: int, options: argparse.Namespace) -> Case:
    """Undersample a scan; its full image is combined with ESPIRiT maps of the calibration lines, as the methods'."""
    full = _full_kspace(folder, name, options.coils)
    if options.columns:
        middle, half = full.shape[2] // 2, min(options.columns, full.shape[2]) // 2
        full = full[:, :, middle - half : middle + half]
    ny, acs = full.shape[1], 24 if name == "siemens_snr_r3" else options.acs
    lines, first = np.zeros(ny, bool), (ny - acs) // 2
    lines[ny // 2 % acceleration :: acceleration] = True
    lines[first : first + acs] = True
    mask = lines[None, :, None]
    block = full[:, first : first + acs]
    maps, _ = espirit(block, full.shape[1:])
    maps = np.asarray(maps, np.complex64)
    data = SliceData((full * lines[:, None])[None], mask, block, first, maps, describe(mask, acceleration=acceleration))
    return Case(name, acceleration, data, np.sum(np.conj(maps[0]) * ifft2c(full), axis=0))


def _full_kspace(folder: Path, name: str, coils: int) -> np.ndarray:
    """Fully sampled k-space (coil, y, x), compressed to at most so many channels."""
    if name == "siemens_snr_r3":
        (series,) = mrd_file(next((folder / name).glob("*.h5")))
        lines = np.ones(series.kspace.shape[2], bool) if series.mask is None else series.mask[0]
        kspace = series.kspace[0][:, _longest_run(lines)]
    else:
        kspace = np.load(folder / name / "kspace.npy")
    if len(kspace) <= coils:
        return np.asarray(kspace, np.complex64)
    return np.asarray(apply_channel_matrix(pca_matrix(kspace, coils), kspace, 0), np.complex64)


def _longest_run(lines: np.ndarray) -> slice:
    """The longest run of neighbouring acquired lines."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lines.astype(int), [0]])))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return slice(int(starts[longest]), int(ends[longest]))


if __name__ == "__main__":
    main()
