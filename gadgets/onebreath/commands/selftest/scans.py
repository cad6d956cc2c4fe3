"""The scans that ``onebreath selftest`` sends: small, simulated, of a patient of their own."""

from __future__ import annotations

import copy
import uuid
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import ismrmrd
import numpy as np
from ismrmrd import xsd

from onebreath.simulation.scan import ScanOptions, SimulatedScan, simulate

SMALL = ScanOptions(matrix=(64, 64), slices=1, coils=10, acs_lines=20, noise_samples=128, snr=40.0)
KINDS = {
    "static": replace(SMALL, mode="static", phases=1, acceleration=2),
    "static_full": replace(SMALL, mode="static", phases=1, acceleration=1),
    "cine": replace(SMALL, phases=8, acceleration=3),
    "cine_full": replace(SMALL, phases=8, acceleration=1),
}
"""Within the domain of all shipped models; a zero-filled image is right only of all lines."""
VARIANTS = ("noise", "dependent")
"""The static scan in two: its noise lines, and the rest, which names them."""


class Truth(NamedTuple):
    """Ground truth of a scan: magnitude (frame, y, x) in SNR units, and its geometry in mm (LPS)."""

    images: np.ndarray
    position: np.ndarray
    read_dir: np.ndarray


class Scans:
    """Raw files by kind, written when they are first needed.

    Parameters
    ----------
    folder
        Where they are written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.patient = f"selftest{uuid.uuid4().hex[:12]}"

    def kind_for(self, config: str) -> str:
        """Kind of scan for a configuration, by its name."""
        kind = "cine" if "Cine" in config else "static"
        return f"{kind}_full" if "ZeroFilled" in config else kind

    def truth(self, kind: str) -> Truth:
        """Ground truth of the scan."""
        truth = _simulated("static" if kind in VARIANTS else kind).truth
        return Truth(np.abs(truth["image"][0]), truth["position_mm"][0], truth["read_dir"])

    def file(self, kind: str) -> Path:
        """The raw file of a kind of scan, or of a variant."""
        path = self.folder / f"{kind}.h5"
        if not path.exists():
            self._scan(kind).write(path)
        return path

    def _scan(self, kind: str) -> SimulatedScan:
        scan = _simulated("static" if kind in VARIANTS else kind)
        header = copy.deepcopy(scan.header)
        header.subjectInformation.patientID = self.patient
        noise = f"1_{self.patient}_1_1"
        header.measurementInformation.measurementID = noise if kind == "noise" else f"1_{self.patient}_1_2"
        if kind not in VARIANTS:
            return replace(scan, header=header)
        if kind == "dependent":
            dependency = xsd.measurementDependencyType(dependencyType="Noise", measurementID=noise)
            header.measurementInformation.measurementDependency.append(dependency)
        flag = ismrmrd.ACQ_IS_NOISE_MEASUREMENT
        lines = [line for line in scan.acquisitions if line.is_flag_set(flag) == (kind == "noise")]
        return replace(scan, header=header, acquisitions=lines, waveforms=[])


@cache
def _simulated(kind: str) -> SimulatedScan:
    return simulate(KINDS[kind])
