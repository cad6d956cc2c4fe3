"""CG-SENSE of single images: regularised by the noise, beside the best of a grid, the usual value, and GRAPPA.

    python -m benchmarks.regularisation

The grid is known only to who has the truth. PSNR in dB of the magnitude over the largest true pixel; uniform lines,
GRAPPA without the calibration lines as data, as its configuration has it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks.table import table
from benchmarks.thresholds import psnr
from onebreath.evaluation.data import read_slices
from onebreath.evaluation.scans import ScanChoice, coil_maps, reference_scan
from onebreath.methods.base import Method, SliceData
from onebreath.methods.cg_sense import CgSense
from onebreath.methods.grappa.grappa import Grappa
from onebreath.mri.sampling import describe
from onebreath.training.data.masks import make_mask
from onebreath.training.data.series import ImageSeries

GRID = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
SNR, ACCELERATION, ACS = (10, 30, 150), (2, 4), (24, 12)
MATRIX, CHANNELS = (128, 112), 12


def rows(patients: list[str], number: int) -> Iterator[tuple[object, ...]]:
    """One row for each scan."""
    for patient in patients:
        data, names = ("simulator", ("*",)) if patient == "simulator" else ("sunnybrook", (patient,))
        series, _ = next(iter(read_slices(data, None, names, [0 if patient == "simulator" else number])))
        assert isinstance(series, ImageSeries)
        for acs in ACS:
            for snr in SNR:
                choice = ScanChoice(
                    seed=1, snr=(snr, snr), matrix=MATRIX, coils=CHANNELS, channels=CHANNELS, calibration_lines=acs
                )
                scan = reference_scan(replace(series, images=series.images[:1]), choice)
                maps, eigenvalues = coil_maps(scan)
                maps = np.asarray(maps * (eigenvalues > 0.8)[:, None], np.complex64)
                for acceleration in ACCELERATION:
                    apart = make_mask("uniform", 1, MATRIX[0], acceleration, 0, np.random.default_rng(0))
                    together = apart.copy()
                    together[:, scan.acs_first : scan.acs_first + acs] = True

                    def made(method: Method, apart: np.ndarray = apart, together: np.ndarray = together) -> float:
                        lines = (together if method.acs_as_data else apart)[:, :, None]
                        kspace = np.where(lines[:, None], scan.kspace, np.complex64(0))  # noqa: B023
                        sampling = describe(lines)
                        data = SliceData(kspace, lines, scan.acs, scan.acs_first, maps, sampling)  # noqa: B023
                        return psnr(np.asarray(method(data).images), scan.truth)  # noqa: B023

                    grid = {value: made(CgSense(regularisation=value)) for value in GRID}
                    best = max(grid, key=lambda value: grid[value])
                    noise = made(CgSense(regularisation="noise"))
                    cells = (noise, grid[best], grid[1e-3], made(Grappa()))
                    yield patient, acs, snr, acceleration, *(f"{cell:.2f}" for cell in cells), f"{best:g}"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", nargs="+", default=["SCD0000401", "simulator"], help="simulator: the phantom")
    parser.add_argument("--slice", type=int, default=5, help="number of the slice")
    options = parser.parse_args()
    print(
        table(
            f"CG-SENSE of one image, {MATRIX[0]} x {MATRIX[1]}, {CHANNELS} channels: regularised by the noise, by the "
            f"best of {GRID}, by 0.001; GRAPPA. PSNR in dB",
            ("scan", "ACS lines", "SNR", "R", "noise", "best of the grid", "0.001", "GRAPPA", "best value"),
            rows(options.patients, options.slice),
        )
    )


if __name__ == "__main__":
    main()
