"""The ISMRMRD header; every optional section may be missing."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from ismrmrd import xsd

from onebreath.errors import ScanError
from onebreath.mrd.header_values import fov_of, matrix_of, number_of, trajectory_of, whole_of

DEFAULT_NOISE_BANDWIDTH = float(np.float32(0.793))
"""Gadgetron's default for the receiver's relative noise bandwidth, in single precision as there."""


_COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "set", "segment")


class Limits(NamedTuple):
    """First, centre and last value of an encoding counter."""

    minimum: int
    centre: int
    maximum: int


class ScanHeader:
    """The values of an ISMRMRD header that the chain needs.

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
        self.space = int(getattr(self.xml, "space", 0))
        """Number of the encoding space that is reconstructed; see `mrd.spaces`."""
        self.encoding = self.xml.encoding[self.space]
        self.encoded_matrix = matrix_of(self.encoding.encodedSpace, "encodedSpace")
        self.recon_matrix = matrix_of(self.encoding.reconSpace, "reconSpace")
        self.encoded_fov = fov_of(self.encoding.encodedSpace, "encodedSpace")
        self.recon_fov = fov_of(self.encoding.reconSpace, "reconSpace")
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
        return Limits(*(whole_of(value, f"encodingLimits {counter} {name}") for name, value in stated))

    @property
    def bits_stored(self) -> int | None:
        """Bits of a pixel that FIRE's host takes (user parameter ``BitsStored``); None if the header does not say.

        Raises
        ------
        ScanError
            If it is no number of bits that a pixel can have.
        """
        user = self.xml.userParameters
        entries = [entry for entry in (user.userParameterLong if user else []) if entry.name == "BitsStored"]
        bits = [whole_of(entry.value, "user parameter BitsStored") for entry in entries]
        if bits and not 1 <= bits[-1] <= 16:
            raise ScanError(f"The header's user parameter BitsStored is {bits[-1]}; a pixel has 1 to 16 bits.")
        return bits[-1] if bits else None

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
        """``embedded``, ``interleaved``, ``separate``, ``external`` or ``other``; None if the header does not say.

        Any other text is ``other``: what it says is not known, and it is not quoted.
        """
        mode = self.encoding.parallelImaging.calibrationMode if self.encoding.parallelImaging else None
        text = str(getattr(mode, "value", mode)).strip().lower()
        return None if mode is None else text if text in {kind.value for kind in xsd.calibrationModeType} else "other"

    @property
    def trajectory(self) -> str:
        """Trajectory's name, for example ``cartesian``."""
        return trajectory_of(self.encoding)

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
    def field_strength(self) -> str:
        """Field strength as a text: ``1.5 T``."""
        return "unknown T" if self.field_strength_t is None else f"{self.field_strength_t:.4g} T"

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
        """Read an optional number; an invalid one is reported."""
        if value is None:
            return None
        try:
            return number_of(value, name)
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
