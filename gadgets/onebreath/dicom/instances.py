"""MR Image Storage instances of a reconstruction, one per frame and slice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath import __version__
from onebreath.dicom.apart import Part
from onebreath.dicom.identity import Identity, scanned, uid
from onebreath.dicom.pixels import Scaled
from onebreath.dicom.texts import CHARACTER_SET, cut, put
from onebreath.images.geometry import Geometry
from onebreath.images.reading import Series
from onebreath.images.stacks import Stack, in_space
from onebreath.images.upright import Turn, stood_up
from onebreath.mrd.meta import meta_texts
from onebreath.optional import required
from onebreath.report.facts import Facts

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLEMENTATION = uid("implementation")
NOT_FOR_DIAGNOSIS = "NOT FOR DIAGNOSIS: research reconstruction, not a medical device"
PARTS = {"magnitude": "M", "phase": "P", "real": "R", "imaginary": "I"}
"""Fourth value of the image type, by part of the complex values."""
MODEL = ("model", "model_version", "weights_sha256")
"""Facts of `reconstruct` that identify the model."""
PHASE_SERIES = 3000
"""Added to the series number for the phase of complex images, as in Gadgetron."""
NARROW = 256.0
"""Width of a window below which the offsets of 0.5 and 1 in DICOM's LINEAR formula would be visible."""
_LONG = 64


def of_series(part: Part, scale: Scaled, who: Identity) -> Iterator[Any]:
    """Yield a pydicom `FileDataset` for each picture of a part of a series, whose pixels are `scale`'s.

    Raises
    ------
    ConfigError
        If pydicom is not installed.
    ScanError
        If positions cannot be represented in DICOM.
    """
    series, facts = part.series, Facts(part.series.metas, who.secrets)
    number, series_uid = numbers(series, scale, who, "series")
    described = description(part, scale, facts, who)
    rr_ms = facts.most("sort", "rr_median_ms")
    count = 0
    for stack in (stack for group in in_space(series) for stack in group):
        trigger = stack.trigger_ms()
        for frame, image in enumerate(stack.images):
            turn, geometry = stood_up(Geometry.of(series.headers[image], series.data.shape))
            for z in range(geometry.size[2]):
                count += 1
                made = _instance(scale, image, z, turn)
                identify(made, who, series_uid, number, count)
                for name, value in described.items():
                    put(made, name, value)
                made.ContributingEquipmentSequence = [equipment(model_of(facts))]
                _place(made, geometry, z)
                _time(made, stack, frame, trigger, rr_ms)
                yield made


def numbers(series: Series, scale: Scaled, who: Identity, kind: str) -> tuple[int, str]:
    """Return number and UID of a series of instances; the UID is that of its pixels and the scan, and of their kind."""
    number = series.number + (PHASE_SERIES if series.part == "complex" and scale.part == "phase" else 0)
    own = np.ascontiguousarray(scale.pixels).tobytes() + scanned(series)
    return number, uid(kind, who.study_uid, str(number), hashlib.sha256(own).hexdigest())


def new_instance(kind: str, pixels: NDArray[np.uint16]) -> Any:
    """Dataset of a SOP class with pixels (y, x), or (frame, y, x)."""
    pydicom = required("pydicom", "dicom", "DICOM")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    meta.ImplementationClassUID, meta.ImplementationVersionName = IMPLEMENTATION, f"ONEBREATH_{__version__}"[:16]
    made = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    made.SpecificCharacterSet = CHARACTER_SET
    made.SOPClassUID, made.Modality = kind, "MR"
    made.Rows, made.Columns = pixels.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()
    made["PixelData"].VR = "OW"
    made.LossyImageCompression, made.BurnedInAnnotation = "00", "NO"
    return made


def set_window(made: Any, scale: Scaled) -> None:
    """Set the window for display."""
    as_text = required("pydicom", "dicom", "DICOM").valuerep.format_number_as_ds
    made.WindowCenter, made.WindowWidth = as_text(float(scale.window[0])), as_text(float(scale.window[1]))
    if scale.window[1] < NARROW:
        made.VOILUTFunction = "LINEAR_EXACT"


def _instance(scale: Scaled, image: int, z: int, turn: Turn) -> Any:
    """Dataset with the pixels of one picture, turned, and what they mean."""
    as_text = required("pydicom", "dicom", "DICOM").valuerep.format_number_as_ds
    made = new_instance(MR_IMAGE_STORAGE, turn.pixels(scale.pixels[image, z]))
    made.RescaleSlope, made.RescaleIntercept = as_text(scale.slopes[image]), as_text(scale.intercepts[image])
    made.RescaleType = "US"
    set_window(made, scale)
    return made


def identify(made: Any, who: Identity, series_uid: str, series_number: int, number: int) -> None:
    """Set patient, study, series and identifiers."""
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        setattr(made, name, who.attributes.get(name, ""))
    for name in ("AccessionNumber", "ReferringPhysicianName", "Manufacturer", "PatientPosition"):
        setattr(made, name, who.attributes.get(name, ""))
    for name, text in who.attributes.items():
        put(made, name, text)
    made.StudyInstanceUID, made.SeriesInstanceUID = who.study_uid, series_uid
    made.Laterality = ""
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = who.frame_uid, ""
    made.SeriesNumber, made.InstanceNumber = series_number, number
    made.SOPInstanceUID = uid("instance", series_uid, str(number))
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID


def description(part: Part, scale: Scaled, facts: Facts, who: Identity) -> dict[str, Any]:
    """Attributes of all instances of a series: how the images were made, by what software, and their restrictions."""
    series = part.series

    text = facts.one
    kind = PARTS.get(scale.part, "M") if series.role == "Image" else series.role.replace("_", " ")
    comment = text("GADGETRON_ImageComment") or f"series {series.number}"
    title = f"{text('protocolName')}{text('SeriesDescription')}".strip("_") if text("SeriesDescription") else comment
    if scale.part == "phase" and "phase" not in title:
        title += "_phase"
    title = titled(title, part)
    model, version, sha = (facts.fact("reconstruct", name) for name in MODEL)
    fallback, acceleration = (facts.fact("reconstruct", name) for name in ("fallback", "acceleration"))
    noise = facts.fact("export", "noise_factor")
    made = [
        f"Reconstructed from raw data by Onebreath {text('OnebreathVersion')} (commit {text('OnebreathCommit')[:12]})",
        f"method {facts.fact('reconstruct', 'method')}",
        f"model {model} version {version}, weights sha256 {sha}" if model else "no learned model",
        f"fallback: {fallback}" if fallback else "",
        f"acceleration {acceleration}" if acceleration else "",
        f"clipped pixels in the series: {facts.total('export', 'clipped_pixels'):.0f}",
        f"noise is {noise} times that in SNR units" if noise not in ("", "1") else "",
        *(f"warning: {warning}" for warning in facts.warnings()),
    ]
    described: dict[str, Any] = {
        "ImageType": ["DERIVED", "PRIMARY", "OTHER", kind],
        "SeriesDescription": title,
        "ProtocolName": text("protocolName"),
        "ImageComments": f"{NOT_FOR_DIAGNOSIS}. {comment}",
        "ContentQualification": "RESEARCH",
        "SoftwareVersions": f"Onebreath {text('OnebreathVersion') or __version__}",
        "DerivationDescription": "; ".join(filter(None, made)),
    }
    in_units = facts.fact("prewhiten", "whitened") == "True" and noise in ("", "1")
    if series.role == "Image" and scale.part != "phase" and in_units:
        described["RescaleType"] = "SNR"
    elif scale.part == "phase":
        described["RescaleType"] = "RAD"
    return described


def titled(title: str, part: Part) -> str:
    """Return a series' title with the set and average that it holds, which a long one must not push out."""
    return f"{cut(title, _LONG - len(part.title) - 1)} {part.title}".strip()


def model_of(facts: Facts) -> str:
    """Name, version and hash of the model that made the images."""
    return " ".join(facts.fact("reconstruct", name) for name in MODEL).strip() or "no learned model"


def equipment(model: str) -> Any:
    """Item that says what software made the image, and by which model."""
    pydicom = required("pydicom", "dicom", "DICOM")
    purpose, made = pydicom.Dataset(), pydicom.Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = "109102", "DCM", "Processing Equipment"
    made.PurposeOfReferenceCodeSequence = [purpose]
    made.Manufacturer, made.ManufacturerModelName, made.SoftwareVersions = "Onebreath", "Onebreath", __version__
    put(made, "ContributionDescription", f"Image reconstruction; {model}")
    return made


def _place(made: Any, geometry: Geometry, z: int) -> None:
    """Set position and orientation; directions are perpendicular to DICOM's last digit."""
    as_text = required("pydicom", "dicom", "DICOM").valuerep.format_number_as_ds
    row, column = geometry.in_plane()
    made.ImageOrientationPatient = [as_text(float(one) + 0.0) for one in (*row, *column)]
    made.ImagePositionPatient = [as_text(float(one) + 0.0) for one in geometry.position((0, 0, z))]
    made.PixelSpacing = [as_text(geometry.spacing[1]), as_text(geometry.spacing[0])]  # between rows, then columns
    made.SliceThickness = as_text(geometry.spacing[2])
    normal = np.cross(row, column)
    made.SliceLocation = as_text(float(geometry.position((0, 0, z)) @ normal) + 0.0)
    made.MRAcquisitionType = "3D" if geometry.size[2] > 1 else "2D"


def times_ms(meta: Mapping[str, Any]) -> dict[str, float]:
    """Return the sequence's times that an image's meta states, by DICOM's names, which are the meta's own."""
    found = ((keyword, meta_texts(meta, keyword)) for keyword in ("RepetitionTime", "EchoTime", "InversionTime"))
    return {keyword: float(texts[0]) for keyword, texts in found if texts}


def _time(made: Any, stack: Stack, frame: int, trigger: list[float] | None, rr_ms: float) -> None:
    """Set the sequence's times, the cardiac phase, and counters."""
    as_text = required("pydicom", "dicom", "DICOM").valuerep.format_number_as_ds
    meta = stack.series.metas[stack.images[frame]]
    made.ScanningSequence, made.SequenceVariant, made.ScanOptions = "RM", "NONE", ""
    for keyword, time in times_ms(meta).items():
        setattr(made, keyword, as_text(time))
    for keyword in ("RepetitionTime", "EchoTime"):
        if keyword not in made:
            setattr(made, keyword, "")
    made.EchoTrainLength = ""
    made.EchoNumbers = int(stack.series.headers["contrast"][stack.images[frame]]) + 1
    made.AcquisitionNumber = int(stack.series.headers["repetition"][stack.images[frame]]) + 1
    if trigger is not None:
        made.ScanOptions = "CG"
        made.TriggerTime, made.CardiacNumberOfImages = as_text(trigger[frame]), len(stack.images)
        if rr_ms:
            made.NominalInterval = round(rr_ms)
    if len(stack.images) > 1:
        made.TemporalPositionIdentifier, made.NumberOfTemporalPositions = frame + 1, len(stack.images)
