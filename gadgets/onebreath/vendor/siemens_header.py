"""ISMRMRD header of a Siemens measurement, from its protocol and lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ismrmrd import xsd

from onebreath.errors import ScanError
from onebreath.mrd.lines import header_table
from onebreath.mrd.lines import side_line as kind_of
from onebreath.vendor.siemens import COUNTERS, Measurement

TRAJECTORIES = {1: "cartesian", 2: "radial", 4: "spiral"}
_REGRIDDED = (2, 4)
"""Values of alRegridMode for gradients that change during sampling: trapezoidal and sinusoidal."""
_GYROMAGNETIC_HZ = 42_577_479
_REFERENCE = {2: "embedded", 4: "separate"}


def make_header(measurement: Measurement, lines: Iterable[Any], anonymous: bool) -> xsd.ismrmrdHeader:
    """Header of a measurement.

    Parameters
    ----------
    measurement
        The measurement.
    lines
        ISMRMRD headers of its lines.
    anonymous
        Whether to omit the patient's name and ids.

    Raises
    ------
    ScanError
        If the protocol lacks information that a reconstruction needs.
    """
    try:
        return _header(measurement, header_table(list(lines)), anonymous)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ScanError(
            f"the protocol of measurement {measurement.number} ({measurement.name}) lacks information that a "
            f"reconstruction needs: {type(error).__name__}: {error}"
        ) from error


def _header(measurement: Measurement, table: np.ndarray, anonymous: bool) -> xsd.ismrmrdHeader:
    yaps, meas, dicom = (measurement.header[name] for name in ("MeasYaps", "Meas", "Dicom"))
    subject = None
    if not anonymous:
        name, identifier = str(meas.get("PatientName") or ""), str(meas.get("PatientID") or "")
        subject = xsd.subjectInformationType(patientName=name or None, patientID=identifier or None)
    return xsd.ismrmrdHeader(
        subjectInformation=subject,
        measurementInformation=xsd.measurementInformationType(
            measurementID=_identifier(measurement, anonymous),
            patientPosition=xsd.patientPositionType(str(meas["PatientPosition"])),
            protocolName=measurement.name or None,
            frameOfReferenceUID=None if anonymous else str(meas.get("FrameOfReference") or "") or None,
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor=str(dicom.get("Manufacturer") or "SIEMENS"),
            systemModel=str(dicom.get("ManufacturersModelName") or "") or None,
            systemFieldStrength_T=float(dicom["flMagneticFieldStrength"]),
            relativeReceiverNoiseBandwidth=0.793,
            receiverChannels=int(table["active_channels"].max()),
            coilLabel=_coils(yaps, int(table["active_channels"].max())),
            institutionName=None if anonymous else str(dicom.get("InstitutionName") or "") or None,
        ),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=int(
                dicom.get("lFrequency") or _GYROMAGNETIC_HZ * float(dicom["flMagneticFieldStrength"])
            )
        ),
        encoding=[_encoding(yaps, meas, table)],
        sequenceParameters=xsd.sequenceParametersType(
            TR=[float(us) / 1000 for us in yaps["alTR"][:1]],
            TE=[float(us) / 1000 for us in yaps["alTE"][: int(yaps.get("lContrasts", 1))]],
            TI=[float(us) / 1000 for us in yaps.get("alTI", [])[:1]],
            flipAngle_deg=[float(one) for one in yaps.get("adFlipAngleDegree", [])[:1]],
        ),
    )


def _identifier(measurement: Measurement, anonymous: bool) -> str:
    """Device, patient, study and number, by which scans of an exam find each other's noise."""
    config, dicom = measurement.header["Config"], measurement.header["Dicom"]
    device, number = dicom.get("DeviceSerialNumber", ""), measurement.header["Meas"].get("MeasUID", "")
    device, number = (f"{one:.0f}" if isinstance(one, float) else str(one) for one in (device, number))
    patient, study = ("", "") if anonymous else (str(config.get(name) or "") for name in ("Patient", "Study"))
    return "_".join(one.replace("_", "-") for one in (device, patient, study, number))


def _coils(yaps: Mapping[str, Any], channels: int) -> list[xsd.coilLabelType]:
    """Labels of the channels in the order of the data, which is that of the ADC channels."""
    found = []
    for selected in yaps.get("sCoilSelectMeas", {}).get("aRxCoilSelectData", [])[:1]:
        for one in selected.get("asList", []):
            coil = one["sCoilElementID"]
            found.append((int(one["lADCChannelConnected"]), f"{coil['tCoilID']}:{coil['tElement']}"))
    if len(found) != channels:
        return []
    return [xsd.coilLabelType(coilNumber=k, coilName=name) for k, (_, name) in enumerate(sorted(found))]


def _encoding(yaps: Mapping[str, Any], meas: Mapping[str, Any], table: np.ndarray) -> xsd.encodingType:
    kspace, first_slice = yaps["sKSpace"], yaps["sSliceArray"]["asSlice"][0]
    image = table[[kind_of(int(value)) is None for value in table["flags"]]]
    if not len(image):
        image = table  # a measurement of noise
    oversampling = float(meas.get("flReadoutOSFactor") or 2)
    phase_os = 1 + float(kspace.get("dPhaseOversamplingForDialog", 0) or 0)
    slice_os = 1 + float(kspace.get("dSliceOversamplingForDialog", 0) or 0)
    volume = int(kspace.get("ucDimension", 2)) == 4
    columns, rows = round(float(meas["lBaseResolution"]) * oversampling), round(float(meas["iPEFTLength"]))
    parts = round(float(meas["i3DFTLength"])) if volume else 1
    read, phase, thick = (float(first_slice[name]) for name in ("dReadoutFOV", "dPhaseFOV", "dThickness"))
    return xsd.encodingType(
        encodedSpace=_space((columns, rows, parts), (read * oversampling, phase * phase_os, thick * slice_os)),
        reconSpace=_space(
            (
                round(columns / oversampling),
                round(rows / phase_os),
                int(kspace["lImagesPerSlab"]) if volume else 1,
            ),
            (read, phase, thick),
        ),
        encodingLimits=_limits(image),
        trajectory=_trajectory(yaps, meas),
        parallelImaging=_parallel(yaps.get("sPat", {})),
    )


def _space(matrix: tuple[int, int, int], fov: tuple[float, float, float]) -> xsd.encodingSpaceType:
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=matrix[0], y=matrix[1], z=matrix[2]),
        fieldOfView_mm=xsd.fieldOfViewMm(x=round(fov[0], 6), y=round(fov[1], 6), z=round(fov[2], 6)),
    )


def _limits(image: np.ndarray) -> xsd.encodingLimitsType:
    """Limits of all counters in the imaging lines."""
    centres = {"kspace_encode_step_1": 5, "kspace_encode_step_2": 6}
    found = {}
    for name in COUNTERS:
        values = image["idx"][name]
        user = centres.get(name)
        centre = 0 if user is None else int(np.bincount(image["idx"]["user"][:, user].astype(int)).argmax())
        ours = name.replace("encode", "encoding")
        found[ours] = xsd.limitType(minimum=int(values.min()), maximum=int(values.max()), center=centre)
    return xsd.encodingLimitsType(**found)


def _trajectory(yaps: Mapping[str, Any], meas: Mapping[str, Any]) -> xsd.trajectoryType:
    regrid = meas.get("alRegridMode") or [1]
    if int(regrid[0] if isinstance(regrid, list) else regrid) in _REGRIDDED:
        return xsd.trajectoryType("epi")
    return xsd.trajectoryType(TRAJECTORIES.get(int(yaps["sKSpace"].get("ucTrajectory", 1)), "other"))


def _parallel(pat: Mapping[str, Any]) -> xsd.parallelImagingType:
    reference = _REFERENCE.get(int(pat.get("ucRefScanMode", 1)), "other")
    return xsd.parallelImagingType(
        accelerationFactor=xsd.accelerationFactorType(
            kspace_encoding_step_1=int(pat.get("lAccelFactPE", 1)),
            kspace_encoding_step_2=int(pat.get("lAccelFact3D", 1)),
        ),
        calibrationMode=xsd.calibrationModeType(reference),
    )
