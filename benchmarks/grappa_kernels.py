"""Error of GRAPPA with Gadgetron's kernel, with the largest that is safe without a look, and with a validated one.

Gadgetron's kernel: 4 source lines, regularisation 5e-4, computed here (the tests hold that kernel to the gadget's own
image); all three have the same coil maps and no filter. Noise is added to the simulated scans alone.

    python -m benchmarks.grappa_kernels
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.table import table
from onebreath.methods.grappa import lattice
from onebreath.methods.grappa.calibrated import frames_by_mask, wanted_lines
from onebreath.methods.grappa.grappa import Grappa
from onebreath.mri.coils import combine
from tests.methods.slices import Case, lines, real, synthetic

SHARED = Path(os.environ.get("ONEBREATH_SHARED", Path(__file__).parents[2] / "shared"))


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grappa_kernels", description=__doc__)
    parser.add_argument("--accelerations", type=int, nargs="+", default=(2, 3, 4))
    options = parser.parse_args()
    rows = [
        row(name, case, acceleration) for acceleration in options.accelerations for name, case in cases(acceleration)
    ]
    columns = ("scan", "R", "ACS lines", "Gadgetron's kernel", "without validation", "validated", "its kernel")
    print(table("GRAPPA: error of the magnitude image in dB", columns, rows, ("numpy",)))


def cases(acceleration: int) -> Iterator[tuple[str, Case]]:
    """Simulated and measured slices."""
    for noise in (0.5, 1.0, 4.0):
        mask = lines(128, acceleration, 20)
        yield f"simulated, 16 channels, noise {noise:g}", synthetic(mask, 128, 128, coils=16, acs=20, noise=noise)
    for count in (20, 32):
        yield "brain, 7 channels", real(SHARED, "brain7ch", acceleration, count)
    for count in (20, 24):
        yield "heart, 12 channels", real(SHARED, "cardiac34ch", acceleration, count, 12)


def row(name: str, case: Case, acceleration: int) -> tuple[str, ...]:
    """One line of the table."""
    count = case.data.acs.shape[1]
    plain = Grappa(gfactor=False, grappa_validation=False)(case.data)
    validated = Grappa(gfactor=False)(case.data)
    fits = 3 * acceleration + 1 <= count and lattice.largest_kernel(case.data.acs.shape, acceleration, 4, 5, 1.0) == 4
    fixed = f"{decibels(of_gadgetron(case), case.truth):.2f}" if fits else "-"
    own = (f"{decibels(result.images, case.truth):.2f}" for result in (plain, validated))
    return name, str(acceleration), str(count), fixed, *own, str(validated.facts.get("kernel_size", "arc"))


def of_gadgetron(case: Case) -> np.ndarray:
    """Images (frame, y, x) with the gadget's kernel, whatever the calibration lines are."""
    data = case.data
    kernel = lattice.calibrate(data.acs, data.sampling.acceleration, 4, 5, 5e-4, 45.0)
    ((mask, _),) = frames_by_mask(data)
    filler = lattice.LatticeFiller(kernel, data.sampling)
    return combine(filler.coil_images(data.kspace, mask, wanted_lines(data.sampling, mask)), data.maps[0])


def decibels(images: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square error of the magnitude over that of the truth, in dB."""
    return float(20 * np.log10(np.linalg.norm(np.abs(images) - np.abs(truth)) / np.linalg.norm(truth)))


if __name__ == "__main__":
    main()
