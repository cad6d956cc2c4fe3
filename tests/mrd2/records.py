"""Records of ISMRMRD in which every field says something."""

import ismrmrd
import numpy as np
from xsdata.models.datatype import XmlDate, XmlTime


def everything() -> ismrmrd.Acquisition:
    """A line in which every field differs from what it is by itself."""
    head = ismrmrd.AcquisitionHeader()
    head.version, head.flags, head.measurement_uid = 1, (1 << 7) | (1 << 19) | (1 << 63), 4000000001
    head.scan_counter, head.acquisition_time_stamp = 4000000002, 4000000003
    head.physiology_time_stamp[:] = (4000000004, 5, 6)
    head.number_of_samples, head.active_channels, head.available_channels = 5, 3, 3
    head.channel_mask[0], head.channel_mask[1] = (1 << 2) | (1 << 63), 1 << 1
    head.discard_pre, head.discard_post, head.center_sample, head.encoding_space_ref = 1, 2, 65535, 1
    head.trajectory_dimensions, head.sample_time_us = 2, 2.4
    for number, name in enumerate(("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position")):
        getattr(head, name)[:] = (0.1 + number, -0.2, 1e-7)
    for number, (name, _) in enumerate(type(head.idx)._fields_[:9]):
        setattr(head.idx, name, 65535 - number)
    head.idx.user[:] = range(10, 18)
    head.user_int[:] = range(-4, 4)
    head.user_float[:] = [0.1 * n for n in range(8)]
    rng = np.random.default_rng(0)
    data = (rng.standard_normal((3, 5)) + 1j * rng.standard_normal((3, 5))).astype(np.complex64)
    return ismrmrd.Acquisition(head, data, rng.standard_normal((5, 2)).astype(np.float32))


def full_header() -> ismrmrd.xsd.ismrmrdHeader:
    xsd = ismrmrd.xsd
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=64, y=32, z=1), fieldOfView_mm=xsd.fieldOfViewMm(x=300.1, y=200.0, z=5.0)
    )
    direction = xsd.gradientDirectionType(rl=0.1, ap=0.2, fh=0.3)
    limit = xsd.limitType(minimum=0, maximum=31, center=16)
    user = xsd.userParametersType(
        userParameterLong=[xsd.userParameterLongType(name="long", value=-(2**40))],
        userParameterDouble=[
            xsd.userParameterDoubleType(name="double", value=0.1),
            xsd.userParameterDoubleType(name="single", value=0.10000000149011612),
        ],
        userParameterString=[xsd.userParameterStringType(name="text", value="blank and <sign>")],
        userParameterBase64=[xsd.userParameterBase64Type(name="base64", value=b"\0\1\2")],
    )
    return xsd.ismrmrdHeader(
        version=1,
        subjectInformation=xsd.subjectInformationType(
            patientName="A^B", patientWeight_kg=70.5, patientBirthdate=XmlDate(1970, 2, 3), patientGender="O"
        ),
        studyInformation=xsd.studyInformationType(studyTime=XmlTime(12, 3, 4, 123456789), accessionNumber=2**40),
        measurementInformation=xsd.measurementInformationType(
            measurementID="1_2",
            patientPosition=xsd.patientPositionType.FFDR,
            relativeTablePosition=xsd.threeDimensionalFloat(x=1.5, y=-2.25, z=0.1),
            measurementDependency=[xsd.measurementDependencyType(dependencyType="Noise", measurementID="1_1")],
            referencedImageSequence=xsd.referencedImageSequenceType(referencedSOPInstanceUID=["1.2.3", "4.5"]),
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemFieldStrength_T=1.494, relativeReceiverNoiseBandwidth=0.793, receiverChannels=2,
            coilLabel=[xsd.coilLabelType(coilNumber=n, coilName=name) for n, name in enumerate("ab")],
        ),
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63500000),
        encoding=[
            xsd.encodingType(
                encodedSpace=space, reconSpace=space, trajectory=xsd.trajectoryType.GOLDENANGLE,
                encodingLimits=xsd.encodingLimitsType(kspace_encoding_step_1=limit, user_7=limit),
                trajectoryDescription=xsd.trajectoryDescriptionType(
                    identifier="spokes", comment="none",
                    userParameterLong=[xsd.userParameterLongType(name="n", value=5)],
                ),
                parallelImaging=xsd.parallelImagingType(
                    accelerationFactor=xsd.accelerationFactorType(kspace_encoding_step_1=2, kspace_encoding_step_2=3),
                    calibrationMode=xsd.calibrationModeType.SEPARATE,
                    interleavingDimension=xsd.interleavingDimensionType.REPETITION,
                    multiband=xsd.multibandType(
                        spacing=[xsd.multibandSpacingType(dZ=[1.5, 2.5])], deltaKz=0.25, multiband_factor=2,
                        calibration=xsd.multibandCalibrationType.FULL3_D, calibration_encoding=1,
                    ),
                ),
                echoTrainLength=4,
            )
        ],
        sequenceParameters=xsd.sequenceParametersType(
            TR=[2.8, 3.1], TE=[1.2], flipAngle_deg=[50.1], sequence_type="TrueFISP",
            diffusionDimension=xsd.diffusionDimensionType.USER_3,
            diffusion=[xsd.diffusionType(gradientDirection=direction, bvalue=800.0)],
            diffusionScheme="Bipolar",
        ),
        userParameters=user,
        waveformInformation=[
            xsd.waveformInformationType(
                waveformName="ECG", waveformType=xsd.waveformInformationTypeWaveformType.ECG, userParameters=user
            )
        ],
    )  # fmt: skip
