"""Enhanced MR Image Storage: slices and phases of a series in one instance, each frame with its own attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onebreath.dicom.apart import Part
from onebreath.dicom.identity import Identity, uid
from onebreath.dicom.instances import (
    description,
    equipment,
    identify,
    model_of,
    new_instance,
    numbers,
    set_window,
    times_ms,
)
from onebreath.dicom.maps import TIMELESS
from onebreath.dicom.pixels import Scaled
from onebreath.dicom.texts import put
from onebreath.images.geometry import Geometry
from onebreath.images.reading import Series
from onebreath.images.stacks import Stack, in_space
from onebreath.images.upright import Turn, stood_up
from onebreath.optional import required
from onebreath.report.facts import Facts

ENHANCED_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4.1"
COMPONENTS = {"magnitude": "MAGNITUDE", "phase": "PHASE", "real": "REAL", "imaginary": "IMAGINARY"}


@dataclass(frozen=True)
class _Frame:
    """One picture of an instance: its image in the series, its partition, and its position in the stack and in time.

    It is turned to be upright; `geometry` is of the turned pixels.
    """

    image: int
    z: int
    turn: Turn
    geometry: Geometry
    position: int
    time: int
    repetition: int
    trigger_ms: float | None


def of_series(part: Part, scale: Scaled, who: Identity) -> Iterator[Any]:
    """Yield a pydicom `FileDataset` for each echo and direction of a part; its frames are slices and phases.

    Errors as in `onebreath.dicom.instances.of_series`.
    """
    series, facts = part.series, Facts(part.series.metas, who.secrets)
    number, series_uid = numbers(series, scale, who, "enhanced series")
    described = description(part, scale, facts, who)
    kind = described.get("RescaleType", "US")
    rr_ms = facts.most("sort", "rr_median_ms")
    for count, group in enumerate(in_space(series), 1):
        frames = list(_frames(series, group))
        made = _instance(scale, frames)
        identify(made, who, series_uid, number, count)
        _describe(made, described, scale, who)
        made.ContributingEquipmentSequence = [equipment(model_of(facts))]
        _dimensions(made)
        shared = _shared(made, frames[0].geometry, scale)
        _set_times(made, shared, series.metas[frames[0].image])
        made.SharedFunctionalGroupsSequence = [shared]
        made.PerFrameFunctionalGroupsSequence = [_of_frame(frame, scale, kind, rr_ms) for frame in frames]
        yield made


def _frames(series: Series, group: Sequence[Stack]) -> Iterator[_Frame]:
    """Yield the pictures of a group, the phases of each slice one after the other."""
    position = 0
    for stack in group:
        trigger = stack.trigger_ms()
        for z in range(series.data.shape[2]):
            position += 1
            for time, image in enumerate(stack.images):
                repetition = int(series.headers["repetition"][image])
                moment = trigger[time] if trigger is not None else None
                turn, geometry = stood_up(Geometry.of(series.headers[image], series.data.shape))
                yield _Frame(image, z, turn, geometry, position, time + 1, repetition, moment)


def _instance(scale: Scaled, frames: Sequence[_Frame]) -> Any:
    """Dataset with the pixels of all frames."""
    made = new_instance(
        ENHANCED_MR_IMAGE_STORAGE, np.stack([one.turn.pixels(scale.pixels[one.image, one.z]) for one in frames])
    )
    made.NumberOfFrames, made.PresentationLUTShape = len(frames), "IDENTITY"
    return made


def _describe(made: Any, described: dict[str, Any], scale: Scaled, who: Identity) -> None:
    """Set what the classic instances have, and what only enhanced ones must have."""
    for name in ("SeriesDescription", "ProtocolName", "ImageComments", "ContentQualification", "DerivationDescription"):
        put(made, name, described[name])
    made.ImageType = [*described["ImageType"][:2], "DYNAMIC" if made.NumberOfFrames > 1 else "OTHER", "NONE"]
    put(made, "SoftwareVersions", described["SoftwareVersions"])
    made.Manufacturer = who.attributes.get("Manufacturer") or "unknown"
    made.ManufacturerModelName = who.attributes.get("ManufacturerModelName") or "unknown"
    made.DeviceSerialNumber = who.attributes.get("DeviceSerialNumber") or "unknown"
    made.ContentDate = who.attributes.get("StudyDate") or TIMELESS[0]
    made.ContentTime = who.attributes.get("StudyTime") or TIMELESS[1]
    made.PixelPresentation, made.VolumetricProperties = "MONOCHROME", "VOLUME"
    made.VolumeBasedCalculationTechnique = "NONE"
    made.ComplexImageComponent = COMPONENTS.get(scale.part, "MAGNITUDE")
    made.AcquisitionContrast = "UNKNOWN"
    made.AcquisitionContextSequence = []
    made.ApplicableSafetyStandardAgency = "UNKNOWN"  # raw data do not state it
    del made.Laterality


def _dimensions(made: Any) -> None:
    """Set what the frames are sorted by: stack, position in it, time."""
    pydicom = required("pydicom", "dicom", "DICOM")
    organisation = uid("dimensions", str(made.SOPInstanceUID))
    made.DimensionOrganizationSequence = _item(DimensionOrganizationUID=organisation)
    indices: list[Any] = []
    for keyword, label in (
        ("StackID", "Stack"),
        ("InStackPositionNumber", "Slice"),
        ("TemporalPositionIndex", "Phase"),
    ):
        indices += _item(
            DimensionOrganizationUID=organisation,
            DimensionIndexPointer=pydicom.tag.Tag(keyword),
            FunctionalGroupPointer=pydicom.tag.Tag("FrameContentSequence"),
            DimensionDescriptionLabel=label,
        )
    made.DimensionIndexSequence = indices


def _shared(made: Any, geometry: Geometry, scale: Scaled) -> Any:
    """Groups that are the same for all frames: size of pixels, directions, anatomy, and the window for display."""
    pydicom = required("pydicom", "dicom", "DICOM")
    as_text = pydicom.valuerep.format_number_as_ds
    group, window = pydicom.Dataset(), pydicom.Dataset()
    region = _item(CodeValue="38266002", CodingSchemeDesignator="SCT", CodeMeaning="Entire body")
    row, column = geometry.in_plane()
    x, y, z = geometry.spacing
    group.PixelMeasuresSequence = _item(PixelSpacing=[as_text(y), as_text(x)], SliceThickness=as_text(z))
    group.PlaneOrientationSequence = _item(
        ImageOrientationPatient=[as_text(float(one) + 0.0) for one in (*row, *column)]
    )
    group.FrameAnatomySequence = _item(FrameLaterality="U", AnatomicRegionSequence=region)
    set_window(window, scale)
    group.FrameVOILUTSequence = [window]
    group.MRImageFrameTypeSequence = [_frame_type(made)]
    return group


def _set_times(made: Any, shared: Any, meta: Mapping[str, Any]) -> None:
    """Set the times of the sequence, as far as they are known; all frames are of one echo.

    The macro of the repetition time wants flip angle, SAR and operating mode as well (dciodvfy: also of derived
    frames), which raw data do not state; the time stands by itself then, as in classic instances.
    """
    times = times_ms(meta)
    if "RepetitionTime" in times:
        made.RepetitionTime = required("pydicom", "dicom", "DICOM").valuerep.format_number_as_ds(
            times["RepetitionTime"]
        )
    if "EchoTime" in times:
        shared.MREchoSequence = _item(EffectiveEchoTime=times["EchoTime"])


def _item(**attributes: Any) -> list[Any]:
    """Sequence of one item."""
    made = required("pydicom", "dicom", "DICOM").Dataset()
    for name, value in attributes.items():
        setattr(made, name, value)
    return [made]


def _frame_type(made: Any) -> Any:
    pydicom = required("pydicom", "dicom", "DICOM")
    item = pydicom.Dataset()
    item.FrameType = list(made.ImageType)
    for name in (
        "PixelPresentation",
        "VolumetricProperties",
        "VolumeBasedCalculationTechnique",
        "ComplexImageComponent",
        "AcquisitionContrast",
    ):
        setattr(item, name, getattr(made, name))
    return item


def _of_frame(frame: _Frame, scale: Scaled, kind: str, rr_ms: float) -> Any:
    """Groups of one frame: place, time, and the values of its pixels."""
    pydicom = required("pydicom", "dicom", "DICOM")
    as_text = pydicom.valuerep.format_number_as_ds
    group = pydicom.Dataset()
    group.FrameContentSequence = _item(
        StackID="1",
        InStackPositionNumber=frame.position,
        TemporalPositionIndex=frame.time,
        DimensionIndexValues=[1, frame.position, frame.time],
        FrameAcquisitionNumber=frame.repetition + 1,
    )
    group.PlanePositionSequence = _item(
        ImagePositionPatient=[as_text(float(one) + 0.0) for one in frame.geometry.position((0, 0, frame.z))]
    )
    group.PixelValueTransformationSequence = _item(
        RescaleSlope=as_text(scale.slopes[frame.image]),
        RescaleIntercept=as_text(scale.intercepts[frame.image]),
        RescaleType=kind,
    )
    if frame.trigger_ms is not None:
        times = {"NominalCardiacTriggerDelayTime": frame.trigger_ms}
        times |= {"RRIntervalTimeNominal": rr_ms} if rr_ms else {}
        group.CardiacSynchronizationSequence = _item(**times)
    return group
