"""The ISMRMRD header, guarded: every optional section may be missing."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, NamedTuple

import numpy as np

from onebreath.errors import ScanError
from onebreath.names import shortened

DEFAULT_NOISE_BANDWIDTH = float(np.float32(0.793))
"""Gadgetron's default for the receiver's relative noise bandwidth, in single precision as there."""
DOUBLES = {"userParameterDoubleType"}
"""Types of the schema whose numbers are in double precision; those of all others are in single precision."""


def in_single_precision(xml: Any) -> Any:
    """Round the numbers of a parsed header to the precision that the schema gives them, and return the header.

    A Gadgetron server reads a header and writes it anew for its nodes: 0.793 arrives as 0.792999983, which is the same
    number in single precision. Rounded here, a scan has the same pixels whichever way its header came.
    """
    if type(xml).__name__ in DOUBLES:
        return xml
    for field in dataclasses.fields(xml):
        setattr(xml, field.name, _rounded(getattr(xml, field.name)))
    return xml


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(np.float32(value))
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return in_single_precision(value) if dataclasses.is_dataclass(value) else value


LARGEST = 1 << 16
"""Pixels, lines or partitions of a matrix: the counters of lines have 16 bits."""


FARTHEST = 1e5
"""Millimetres that no field of view has."""


_COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "set", "segment")


class Triple(NamedTuple):
    """Values along readout (x), phase encoding (y) and partition encoding (z)."""

    x: Any
    y: Any
    z: Any


class Limits(NamedTuple):
    """First, centre and last value of an encoding counter."""

    minimum: int
    centre: int
    maximum: int


class ScanHeader:
    """What the chain asks of an ISMRMRD header.

    Parameters
    ----------
    xml
        The header as parsed by ``ismrmrd.xsd.CreateFromDocument``, or another `ScanHeader`.

    Raises
    ------
    ScanError
        If the header has no encoding section, or its matrix sizes or fields of view are missing or not positive.
    """

    def __init__(self, xml: Any) -> None:
        self.xml: Any = xml.xml if isinstance(xml, ScanHeader) else xml
        self.warnings: list[str] = list(getattr(self.xml, "repairs", []))
        """What is missing or cannot be read in the header, and what was done about it."""
        if not getattr(self.xml, "encoding", None):
            raise ScanError(
                " ".join(
                    [
                        "The header has no <encoding> section, so the matrix size and field of view are unknown.",
                        *self.warnings,
                    ]
                )
            )
        self.encoding = self.xml.encoding[0]
        self.encoded_matrix = _matrix(self.encoding.encodedSpace, "encodedSpace")
        self.recon_matrix = _matrix(self.encoding.reconSpace, "reconSpace")
        self.encoded_fov = _fov(self.encoding.encodedSpace, "encodedSpace")
        self.recon_fov = _fov(self.encoding.reconSpace, "reconSpace")
        for name in ("kspace_encoding_step_1", "kspace_encoding_step_2", *_COUNTERS):
            self.limits(name)
        for name in ("TR", "TE", "TI", "flipAngle_deg"):
            self.sequence(name)
        _ = self.stated_acceleration, self.noise_bandwidth, self.receiver_channels, self.field_strength_t

    def limits(self, counter: str) -> Limits | None:
        """Limits of a counter by its short name: ``kspace_encoding_step_1``, ``slice``, ``phase``, ..."""
        limit = getattr(self.encoding.encodingLimits, counter, None) if self.encoding.encodingLimits else None
        if limit is None:
            return None
        stated = zip(("minimum", "center", "maximum"), (limit.minimum, limit.center, limit.maximum), strict=True)
        return Limits(*(_whole(value, f"encodingLimits {counter} {name}") for name, value in stated))

    @property
    def bits_stored(self) -> int | None:
        """Bits of a pixel that FIRE's host takes (user parameter ``BitsStored``); None if the header does not say.

        Raises
        ------
        ScanError
            If it is no number of bits that a pixel can have.
        """
        user = self.xml.userParameters
        told = [int(entry.value) for entry in (user.userParameterLong if user else []) if entry.name == "BitsStored"]
        if told and not 1 <= told[-1] <= 16:
            raise ScanError(f"The header's user parameter BitsStored is {told[-1]}; a pixel has 1 to 16 bits.")
        return told[-1] if told else None

    @property
    def centre_line(self) -> int | None:
        """Counter of the line through the k-space centre, or None if the header does not say."""
        limits = self.limits("kspace_encoding_step_1")
        return None if limits is None else limits.centre

    @property
    def acceleration(self) -> int | None:
        """Acceleration along phase encoding as the header states it; None if that is no whole number."""
        factor = self.stated_acceleration
        return int(factor) if factor is not None and factor >= 1 and factor == int(factor) else None

    @property
    def stated_acceleration(self) -> float | None:
        """Acceleration along phase encoding, which need not be a whole number (SENSE factor 2.3 on Philips)."""
        parallel = self.encoding.parallelImaging
        factor = parallel.accelerationFactor if parallel else None
        return self._optional(factor.kspace_encoding_step_1, "accelerationFactor") if factor else None

    @property
    def simultaneous_slices(self) -> int:
        """Slices that were excited together (multiband factor); 1 if the header states none."""
        multiband = getattr(self.encoding.parallelImaging, "multiband", None)
        stated = [] if multiband is None else [multiband.multiband_factor]
        user = self.xml.userParameters
        for kind in ("userParameterLong", "userParameterDouble", "userParameterString"):
            entries = getattr(user, kind, None) or []
            stated += [entry.value for entry in entries if _MULTIBAND.search(str(entry.name))]
        return max([1, *(int(self._optional(value, "multiband factor") or 1) for value in stated)])

    @property
    def calibration_mode(self) -> str | None:
        """``embedded``, ``interleaved``, ``separate``, ``external`` or ``other``; None if the header does not say."""
        mode = self.encoding.parallelImaging.calibrationMode if self.encoding.parallelImaging else None
        return None if mode is None else str(getattr(mode, "value", mode))

    @property
    def trajectory(self) -> str:
        """Trajectory's name, for example ``cartesian``."""
        value = self.encoding.trajectory
        return str(getattr(value, "value", value) or "cartesian").lower()

    @property
    def noise_bandwidth(self) -> float:
        """Relative receiver noise bandwidth."""
        stated = self._optional(self._system("relativeReceiverNoiseBandwidth"), "relativeReceiverNoiseBandwidth")
        return stated or DEFAULT_NOISE_BANDWIDTH

    @property
    def receiver_channels(self) -> int | None:
        """Number of receiver channels as the header states it."""
        channels = self._optional(self._system("receiverChannels"), "receiverChannels")
        return None if channels is None else int(channels)

    @property
    def coil_labels(self) -> list[str]:
        """Names of the channels in the order of the data; empty if the header does not say."""
        return [str(label.coilName) for label in self._system("coilLabel") or []]

    @property
    def field_strength_t(self) -> float | None:
        """Field strength in tesla."""
        return self._optional(self._system("systemFieldStrength_T"), "systemFieldStrength_T")

    @property
    def vendor(self) -> str | None:
        """Vendor of the scanner."""
        return self._text(self._system("systemVendor"))

    @property
    def protocol_name(self) -> str | None:
        """Name of the protocol."""
        return self._text(self._measurement("protocolName"))

    @property
    def measurement_id(self) -> str | None:
        """Identifier of the measurement; on Siemens: device, patient, study and number, joined by underscores."""
        return self._text(self._measurement("measurementID"))

    @property
    def device_id(self) -> str | None:
        """Identifier of the scanner."""
        return self._text(self._system("deviceID"))

    @property
    def patient_id(self) -> str | None:
        """Identifier of the patient."""
        return getattr(self.xml.subjectInformation, "patientID", None)

    @property
    def study_id(self) -> str | None:
        """Identifier of the study."""
        return getattr(self.xml.studyInformation, "studyID", None)

    def dependency(self, kind: str) -> str | None:
        """Return the id of the measurement that this one depends on for ``noise``, ``calibration``, ...; None without.

        Vendors write the kind in any case.
        """
        stated = self._measurement("measurementDependency") or []
        return next((entry.measurementID for entry in stated if str(entry.dependencyType).lower() == kind), None)

    @property
    def patient_position(self) -> str | None:
        """Position of the patient, for example ``HFS``."""
        position = self._measurement("patientPosition")
        return None if position is None else str(getattr(position, "value", position))

    @property
    def sequence_type(self) -> str | None:
        """Kind of sequence, as the vendor calls it."""
        kind = getattr(self.xml.sequenceParameters, "sequence_type", None)
        return None if kind is None else str(kind)

    def sequence(self, name: str) -> list[float]:
        """Values of a sequence parameter (``TR``, ``TE``, ``TI`` in ms, ``flipAngle_deg``); empty if not stated."""
        parameters = self.xml.sequenceParameters
        values = (getattr(parameters, name, None) or []) if parameters else []
        read = [self._optional(value, name) for value in values]
        return [] if None in read else [value for value in read if value is not None]

    def _optional(self, value: Any, name: str) -> float | None:
        """Read a number that the chain can do without; one that is none is told."""
        if value is None:
            return None
        try:
            return _number(value, name)
        except ScanError as error:
            text = f"{error} It was not used."
            if text not in self.warnings:
                self.warnings.append(text)
            return None

    @staticmethod
    def _text(value: Any) -> str | None:
        return value if value is None else str(value)

    def _system(self, name: str) -> Any:
        return getattr(self.xml.acquisitionSystemInformation, name, None)

    def _measurement(self, name: str) -> Any:
        return getattr(self.xml.measurementInformation, name, None)


_MULTIBAND = re.compile(r"multi.?band.?(factor)?$|^mb.?factor$|^sms.?factor$", re.IGNORECASE)


def _matrix(space: Any, name: str) -> Triple:
    size = getattr(space, "matrixSize", None)
    values = Triple(*(_whole(getattr(size, axis, 0) or 0, f"{name} matrix size") for axis in "xyz"))
    if min(values) < 1 or max(values) > LARGEST:
        raise ScanError(
            f"The header's {name} matrix size {tuple(values)} must be positive along x, y and z, and at most {LARGEST}."
        )
    return values


def _fov(space: Any, name: str) -> Triple:
    fov = getattr(space, "fieldOfView_mm", None)
    values = Triple(*(_number(getattr(fov, axis, 0) or 0, f"{name} field of view") for axis in "xyz"))
    if min(values) <= 0:
        raise ScanError(f"The header's {name} field of view {tuple(values)} mm must be positive along x, y and z.")
    if min(values) < 1 / FARTHEST or max(values) > FARTHEST:
        raise ScanError(f"The header's {name} field of view {tuple(values)} mm is of no scanner's.")
    return values


def _number(value: Any, name: str) -> float:
    """Return a value of the header as a finite number; the schema's library leaves what is none as a text."""
    try:
        number = float(str(value).strip().replace(",", "."))  # some write a decimal comma
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ScanError(f"The header's {name} is '{shortened(value)}', which is no finite number.")
    return number


def _whole(value: Any, name: str) -> int:
    """Return a value of the header as a whole number of at most 64 bits."""
    try:
        number = int(value)
        if not isinstance(value, int | str) and number != value:
            raise ValueError(value)
    except (ValueError, TypeError, OverflowError):
        real = _number(value, name) if isinstance(value, str) else math.nan
        number = int(real) if real.is_integer() and abs(real) < 1 << 53 else 1 << 64
    if abs(number) >= 1 << 63:
        raise ScanError(f"The header's {name} is '{shortened(value)}', which is no whole number that can be used.")
    return number
