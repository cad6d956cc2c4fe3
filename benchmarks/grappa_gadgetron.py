"""Error of Onebreath_Cine_GRAPPA beside that of a real Gadgetron's own GRAPPA, on the same cine scans in the same run.

Gadgetron's chains are `Generic_Cartesian_Grappa` (a kernel for each cardiac phase) and its variant for cine,
`Generic_Cartesian_Grappa_RealTimeCine` (one for all), without their filters: k-space filter, partial Fourier and
rounding to integers are left out. Ours makes floats, too. 16 channels, 24 calibration lines in each of 8 phases;
magnitudes, one free scale for each series. The heart is a patient's, with simulated coils, phase and noise.
Needs the server; see the tests of `tests/gadgetron`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.installed import SHARED, installed
from benchmarks.table import table
from onebreath.mri.fourier import fft2c, ifft2c, resize
from onebreath.mri.noise import whitening_matrix
from onebreath.simulation.encoding import encode
from onebreath.simulation.receive import add_noise
from onebreath.simulation.sampling import plan_readout
from onebreath.simulation.scan import ScanOptions, SimulatedScan, simulate
from onebreath.training.data.scanning import smooth_phase
from tests.gadgetron.real import CONFIGS, Ran, Server, serving

STOCK = ("Generic_Cartesian_Grappa", "Generic_Cartesian_Grappa_RealTimeCine")
FILTERS = ("PartialFourierHandling", "KSpaceFilter", "FloatToShortAttrib")
METHOD = '<property name="method" value="grappa"/>'
NOISE_FLAG = 19  # ISMRMRD's, counted from 1
SLICE = 6  # of the patient's stack, in its middle


def without_filters(prefix: Path, name: str) -> str:
    """A chain of Gadgetron's own that ends with the images' magnitude."""
    text = (prefix / "share/gadgetron/config" / f"{name}.xml").read_text(encoding="utf-8")
    for gadget in FILTERS:
        text, found = re.subn(rf"<gadget>\s*<name>{gadget}</name>.*?</gadget>", "", text, flags=re.DOTALL)
        assert found or gadget == "FloatToShortAttrib", gadget
    return text


def ours(validation: bool) -> str:
    """Onebreath_Cine_GRAPPA with floats for images."""
    text = (CONFIGS / "Onebreath_Cine_GRAPPA.xml").read_text(encoding="utf-8")
    assert METHOD in text and '"uint16"' in text
    more = "" if validation else '<property name="grappa_validation" value="false"/>'
    return text.replace('"uint16"', '"float32"').replace(METHOD, METHOD + more)


def options(acceleration: int, snr: float) -> ScanOptions:
    """The scan."""
    return ScanOptions(
        matrix=(144, 160), slices=1, phases=8, coils=16, acceleration=acceleration, acs_lines=24, snr=snr, seed=11,
        readout_oversampling=1,
    )  # fmt: skip


def with_heart(scan: SimulatedScan, chosen: ScanOptions, images: np.ndarray) -> np.ndarray:
    """Put another object into a scan; gives its truth, as that of a simulated scan.

    Parameters
    ----------
    scan
        Whose image lines are replaced.
    chosen
        What the scan was made with.
    images
        Magnitudes (phase, y, x); the brightest hundredth is at the SNR that was chosen.
    """
    maps, covariance, readout = scan.truth["maps"][0], scan.truth["covariance"], plan_readout(chosen)
    whitening = whitening_matrix(covariance, np.sqrt(2.0))
    shading = np.linalg.norm(np.tensordot(whitening, maps, axes=1), axis=0)
    phase = np.exp(1j * smooth_phase(images.shape[1:], np.random.default_rng(5)))
    objects = images * phase * (chosen.snr / np.quantile(images * shading, 0.99))
    lines = [line for line in scan.acquisitions if not line.is_flag_set(NOISE_FLAG)]
    data = np.stack(
        [
            encode((maps * objects[line.idx.phase]).astype(np.complex64), np.array([line.idx.kspace_encode_step_1]),
                   readout)[0]
            for line in lines
        ]
    )  # fmt: skip
    add_noise(data, covariance, chosen.seed)
    for line, samples in zip(lines, data, strict=True):
        line.data[:] = samples
    return objects * shading


def patient(matrix: tuple[int, int], phases: int) -> np.ndarray:
    """Magnitudes (phase, y, x) of a short-axis slice, at the resolution of the scan."""
    with np.load(SHARED / "data/cine_sunnybrook/SCD0000101.npz") as file:
        series = file["images"][SLICE].astype(np.complex64)
    kept = series[np.arange(phases) * len(series) // phases]
    return np.abs(ifft2c(resize(fft2c(kept), (phases, *matrix))))


def scans(accelerations: list[int], snrs: list[float]) -> Iterator[tuple[list[object], SimulatedScan, np.ndarray]]:
    """What the first columns say, the scan, and its truth (phase, y, x)."""
    for acceleration in accelerations:
        for snr in snrs:
            chosen = options(acceleration, snr)
            scan = simulate(chosen)
            yield ["simulated", acceleration, f"{snr:g}"], scan, scan.truth["image"][0]
            if (SHARED / "data/cine_sunnybrook").exists():
                truth = with_heart(scan, chosen, patient(chosen.matrix, chosen.phases))
                yield ["heart", acceleration, f"{snr:g}"], scan, truth


def decibels(ran: Ran, truth: np.ndarray) -> float:
    """Squared error of the first series' magnitudes over the energy of the truth's, in dB; NaN without images."""
    if not ran.images:
        return float("nan")
    images = sorted(ran.images[min(ran.images)], key=lambda image: int(image.phase))
    made, wanted = np.stack([np.abs(image.data[0, 0]).astype(float) for image in images]), np.abs(truth).astype(float)
    scale = np.vdot(made, wanted) / np.vdot(made, made)
    return float(20 * np.log10(np.linalg.norm(scale * made - wanted) / np.linalg.norm(wanted)))


def row(server: Server, names: list[str], first: list[object], scan: Path, truth: np.ndarray) -> list[object]:
    """One line of the table."""
    runs = [server.run(scan, name, scan.with_suffix(f".{name}.h5")) for name in names]
    errors = [decibels(ran, truth) for ran in runs]
    meta = runs[-1].images[min(runs[-1].images)][0].meta
    kernel = f"{meta['Onebreath_reconstruct_kernel']}, {meta['Onebreath_reconstruct_kernel_size']}"
    gain = np.nanmin(errors[: len(STOCK)]) - errors[-1]
    return [*first, *(f"{error:.2f}" for error in errors), f"{gain:+.2f}", kernel]


def main() -> int:
    """Measure and print the table; ends with status 1 if there is no Gadgetron."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grappa_gadgetron", description=__doc__)
    parser.add_argument("--accelerations", type=int, nargs="+", default=[2, 3, 4, 6])
    parser.add_argument("--snrs", type=float, nargs="+", default=[30, 150])
    args = parser.parse_args()
    rows = []
    with installed() as (folder, prefix, storage), serving(prefix, folder / "server", storage.url) as server:
        names = [server.add_config(f"unfiltered_{name}.xml", without_filters(prefix, name)) for name in STOCK]
        names += [server.add_config(f"ours_{one}.xml", ours(one)) for one in (False, True)]
        for number, (first, scan, truth) in enumerate(scans(args.accelerations, args.snrs)):
            scan.write(folder / f"scan{number}.h5")
            rows.append(row(server, names, first, folder / f"scan{number}.h5", truth))
    columns = ("scan", "R", "SNR", "Gadgetron, dB", "its cine chain, dB", "ours without validation, dB", "ours, dB",
               "ours below the better one, dB", "our kernel")  # fmt: skip
    title = "GRAPPA: error of the magnitude images; Gadgetron 4.7.2's own chains without filters, and Onebreath's."
    print(table(title, columns, rows, ("onebreath", "numpy")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
