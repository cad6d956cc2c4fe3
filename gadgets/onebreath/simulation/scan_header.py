"""The ISMRMRD header of a simulated scan."""

from __future__ import annotations

import hashlib

import numpy as np
from ismrmrd import xsd

from onebreath.simulation.coils import coil_names
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.sampling import Lines

_PROTON_HZ_PER_TESLA = 42_577_479
ECG_NAME = "ECG"


def make_header(options: ScanOptions, plan: Lines, frames: int, segments: int) -> xsd.ismrmrdHeader:
    """Header of the scan, in the style of a scanner's.

    It has no ``<version>``, as Gadgetron ends the connection if that differs from the version of its own schema.

    Parameters
    ----------
    options
        The scan.
    plan
        Its lines.
    frames, segments
        Number of values of the phase and the segment counter.
    """
    identity = _identity(options)
    return xsd.ismrmrdHeader(
        subjectInformation=xsd.subjectInformationType(patientName="Phantom", patientID=f"phantom-{identity}"),
        measurementInformation=xsd.measurementInformationType(
            measurementID=f"onebreath_{identity}_1_1",
            patientPosition=xsd.patientPositionType.HFS,
            protocolName=options.protocol_name,
        ),
        acquisitionSystemInformation=_system(options),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=round(options.field_t * _PROTON_HZ_PER_TESLA)
        ),
        encoding=[
            xsd.encodingType(
                encodedSpace=_space(options, options.readout_oversampling, encoded=True),
                reconSpace=_space(options, 1, encoded=False),
                encodingLimits=_limits(options, plan, frames, segments),
                trajectory=xsd.trajectoryType.CARTESIAN,
                parallelImaging=_parallel(options, plan),
            )
        ],
        sequenceParameters=xsd.sequenceParametersType(
            TR=[options.tr_ms],
            TE=[options.te_ms * (echo + 1) for echo in range(options.contrasts)],
            flipAngle_deg=[options.flip_deg],
            sequence_type="SSFP",
            echo_spacing=[options.tr_ms],
        ),
        userParameters=_user_parameters(options, plan),
        waveformInformation=_waveforms(options),
    )


def _identity(options: ScanOptions) -> str:
    """Id of the scan, equal for equal options only, so that different scans never share stored data."""
    return hashlib.sha256(repr(options).encode()).hexdigest()[:16]


def _system(options: ScanOptions) -> xsd.acquisitionSystemInformationType:
    names = coil_names(options.coils) if options.coil_labels else []
    return xsd.acquisitionSystemInformationType(
        systemVendor="Onebreath",
        systemModel="simulation",
        systemFieldStrength_T=options.field_t,
        relativeReceiverNoiseBandwidth=options.noise_bandwidth,
        receiverChannels=options.coils,
        coilLabel=[xsd.coilLabelType(coilNumber=i, coilName=name) for i, name in enumerate(names)],
        institutionName="none",
        deviceID="onebreath_simulation",
    )


def _space(options: ScanOptions, oversampling: int, encoded: bool) -> xsd.encodingSpaceType:
    rows, columns = options.matrix
    partitions = options.encoded_partitions if encoded else options.partitions
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=columns * oversampling, y=rows, z=partitions),
        fieldOfView_mm=xsd.fieldOfViewMm(
            x=options.fov_mm[1] * oversampling, y=options.fov_mm[0], z=options.thickness_mm * partitions
        ),
    )


def _limits(options: ScanOptions, plan: Lines, frames: int, segments: int) -> xsd.encodingLimitsType:
    def counter(size: int) -> xsd.limitType:
        return xsd.limitType(minimum=0, maximum=size - 1, center=0)

    line = xsd.limitType(minimum=0, maximum=plan.counter(plan.last), center=plan.counter(plan.centre))
    partition = counter(1)
    if options.partitions > 1:
        partition = xsd.limitType(
            minimum=0,
            maximum=plan.partition_counter(plan.last_partition),
            center=plan.partition_counter(options.encoded_partitions // 2),
        )
    return xsd.encodingLimitsType(
        kspace_encoding_step_1=line,
        kspace_encoding_step_2=partition,
        average=counter(options.averages),
        slice=counter(options.slices),
        contrast=counter(options.contrasts),
        phase=counter(frames),
        repetition=counter(options.repetitions),
        set=counter(options.sets),
        segment=counter(segments),
    )


def _parallel(options: ScanOptions, plan: Lines) -> xsd.parallelImagingType:
    interleaved = options.acs_mode == "interleaved" and options.acceleration > 1
    mode = "interleaved" if interleaved else options.acs_mode if plan.acs.size else "other"
    return xsd.parallelImagingType(
        accelerationFactor=xsd.accelerationFactorType(
            kspace_encoding_step_1=options.acceleration, kspace_encoding_step_2=options.partition_acceleration
        ),
        calibrationMode=xsd.calibrationModeType(mode),
        interleavingDimension=xsd.interleavingDimensionType.PHASE if interleaved else None,
    )


def _user_parameters(options: ScanOptions, plan: Lines) -> xsd.userParametersType:
    embedded = options.acs_mode == "embedded" and plan.acs.size
    numbers = {"EmbeddedRefLinesE1": np.unique(plan.acs % plan.matrix[1]).size} if embedded else {}
    return xsd.userParametersType(
        userParameterLong=[xsd.userParameterLongType(name=name, value=value) for name, value in numbers.items()],
        userParameterDouble=[
            xsd.userParameterDoubleType(name="SimulatedSNR", value=options.snr),
            xsd.userParameterDoubleType(name="SimulatedRR_ms", value=options.rr_ms),
        ],
    )


def _waveforms(options: ScanOptions) -> list[xsd.waveformInformationType]:
    if not options.ecg:
        return []
    return [
        xsd.waveformInformationType(
            waveformName=ECG_NAME,
            waveformType=xsd.waveformInformationTypeWaveformType.ECG,
            userParameters=xsd.userParametersType(),
        )
    ]
