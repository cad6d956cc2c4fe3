"""Siemens twix files of the software versions VD and VE: measurements with their headers and lines."""

from __future__ import annotations

import contextlib
import io
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.optional import required

FLAGS = {
    "FIRSTSCANINSLICE": ismrmrd.ACQ_FIRST_IN_SLICE,
    "LASTSCANINSLICE": ismrmrd.ACQ_LAST_IN_SLICE,
    "LASTSCANINMEAS": ismrmrd.ACQ_LAST_IN_MEASUREMENT,
    "NOISEADJSCAN": ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
    "PATREFANDIMASCAN": ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING,
    "REFLECT": ismrmrd.ACQ_IS_REVERSE,
    "PHASCOR": ismrmrd.ACQ_IS_PHASECORR_DATA,
    "HPFEEDBACK": ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    "RTFEEDBACK": ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    "RETRO_DUMMYSCAN": ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    "REFPHASESTABSCAN": ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    "PHASESTABSCAN": ismrmrd.ACQ_IS_PHASE_STABILIZATION,
}
"""Flags of lines, and the corresponding ISMRMRD flags; PATREFSCAN is handled separately, in `flags`."""
COUNTERS = {
    "kspace_encode_step_1": "Lin",
    "kspace_encode_step_2": "Par",
    "average": "Ave",
    "slice": "Sli",
    "contrast": "Eco",
    "phase": "Phs",
    "repetition": "Rep",
    "set": "Set",
    "segment": "Seg",
}
FREE = ("Ida", "Idb", "Idc", "Idd", "Ide")
NOT_LINES = ("ACQEND", "SYNCDATA")
"""Flags of records that are not lines."""
SUPPORTED = ("VD", "VE")
_MOST_MEASUREMENTS, _FIRST_VB = 64, 10_000


@dataclass(frozen=True)
class Measurement:
    """One measurement of a file.

    Attributes
    ----------
    number
        Number from 1, in the order of the file.
    header
        Sections of the protocol, as nested mappings.
    records
        Line records of twixtools.
    """

    number: int
    header: Mapping[str, Any]
    records: list[Any] = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the protocol."""
        return str(self.header["MeasYaps"].get("tProtocolName", "")).strip('"')

    @property
    def software(self) -> str:
        """Software baseline of the scanner, such as ``N4_VE11C_LATEST_...``."""
        consistency = self.header["MeasYaps"].get("sProtConsistencyInfo", {})
        return str(consistency.get("tMeasuredBaselineString") or consistency.get("tBaselineString") or "")


def read_measurements(path: Path) -> list[Measurement]:
    """All measurements of a file.

    Raises
    ------
    ConfigError
        If twixtools is not installed.
    ScanError
        If it is not a twix file, is damaged, or its software version is not supported.
    """
    twixtools = required("twixtools", "vendor", "Siemens raw data")
    _check_layout(path)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found = twixtools.read_twix(str(path), verbose=False)
        parts = [one for one in found if isinstance(one, Mapping) and "mdb" in one]
        measurements = [Measurement(k, one["hdr"], list(one["mdb"])) for k, one in enumerate(parts, 1)]
        lines = [measurement.software for measurement in measurements]
    except Exception as error:
        raise ScanError(f"{path} cannot be read as Siemens raw data: {type(error).__name__}: {error}") from error
    for software in lines:
        _check_software(path, software)
    if not measurements or not measurements[-1].records:
        raise ScanError(f"{path} holds no lines.")
    return measurements


def _check_layout(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(8)
    first, second = struct.unpack("<II", head) if len(head) == 8 else (0, 0)
    if first < _FIRST_VB and 0 < second <= _MOST_MEASUREMENTS:
        return
    vb = _FIRST_VB <= first < path.stat().st_size
    supported = f"files of {' and '.join(SUPPORTED)} are supported"
    if vb:
        raise ScanError(
            f"{path} has the layout of software VB or older, or is damaged; {supported}. Convert it with "
            "siemens_to_ismrmrd."
        )
    raise ScanError(f"{path} is neither a Siemens raw data file (twix; {supported}) nor a stream of MRD 2.")


def _check_software(path: Path, software: str) -> None:
    """Raise ScanError for untested software versions: a wrong scale or direction would be worse than no image."""
    found = re.match(r"N4_(V[A-Z])", software)
    if found is None or found[1] not in SUPPORTED:
        raise ScanError(
            f"{path} was written by the software '{software or 'not named'}'; files of {' and '.join(SUPPORTED)} "
            "(N4_VD..., N4_VE...) are supported. Convert it with siemens_to_ismrmrd, or ask for this version."
        )


def acquisitions(measurement: Measurement) -> Iterator[ismrmrd.Acquisition]:
    """Yield the lines of a measurement, with unchanged samples.

    Lines with reversed readout are flagged, not reversed.

    Raises
    ------
    ScanError
        If a line's directions are invalid.
    """
    yaps = measurement.header["MeasYaps"]
    dwell = [float(ns) / 1000 for ns in yaps["sRXSPEC"]["alDwellTime"]]
    for record in measurement.records:
        if any(record.is_flag_set(name) for name in NOT_LINES):
            continue
        yield _acquisition(record, dwell)


def left_out(measurement: Measurement) -> Counter[str]:
    """Number of records that are not lines, by kind."""
    return Counter(name for record in measurement.records for name in NOT_LINES if record.is_flag_set(name))


def _acquisition(record: Any, dwell: list[float]) -> ismrmrd.Acquisition:
    mdh, samples = record.mdh, np.ascontiguousarray(record.data, np.complex64)
    line = ismrmrd.Acquisition.from_array(samples)
    for flag in flags(set(record.get_active_flags())):
        line.set_flag(flag)
    for name, theirs in COUNTERS.items():
        setattr(line.idx, name, int(getattr(mdh.Counter, theirs)))
    for index, theirs in enumerate(FREE):
        line.idx.user[index] = int(getattr(mdh.Counter, theirs))
    line.idx.user[5], line.idx.user[6] = int(mdh.CenterLin), int(mdh.CenterPar)
    line.measurement_uid, line.scan_counter = int(mdh.MeasUID), int(mdh.ScanCounter)
    line.acquisition_time_stamp = int(mdh.TimeStamp)
    line.physiology_time_stamp[0] = int(mdh.PMUTimeStamp)
    line.center_sample = int(mdh.CenterCol)
    line.discard_pre, line.discard_post = int(mdh.CutOff.Pre), int(mdh.CutOff.Post)
    line.sample_time_us = dwell[min(int(mdh.Counter.Eco), len(dwell) - 1)]
    position = mdh.SliceData.SlicePos
    line.position[:] = (position.Sag, position.Cor, position.Tra)
    phase, read, normal = directions(np.array(mdh.SliceData.Quaternion, np.float64))
    line.phase_dir[:], line.read_dir[:], line.slice_dir[:] = tuple(phase), tuple(read), tuple(normal)
    line.patient_table_position[:] = (float(mdh.PTABPosX), float(mdh.PTABPosY), float(mdh.PTABPosZ))
    return line


def flags(names: set[str]) -> list[int]:
    """ISMRMRD flags of a line; PATREFSCAN with PATREFANDIMASCAN means calibration and imaging."""
    found = [ours for name, ours in FLAGS.items() if name in names]
    if "PATREFSCAN" in names and "PATREFANDIMASCAN" not in names:
        found.append(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    return found


def directions(quaternion: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Unit vectors (LPS) of phase, read and slice from a line's quaternion (w, x, y, z).

    They are the columns of its rotation matrix, in this order.

    Raises
    ------
    ScanError
        If the quaternion is not a rotation.
    """
    length = float(np.linalg.norm(quaternion))
    if not 0.9 < length < 1.1:
        raise ScanError(f"the quaternion {quaternion} of a line is not a rotation: its slice's position is unknown")
    w, x, y, z = quaternion / length
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return matrix[:, 0], matrix[:, 1], matrix[:, 2]
