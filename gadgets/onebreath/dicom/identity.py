"""Patient, study and equipment of instances, with reproducible identifiers, anonymised on request."""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onebreath.dicom.texts import fitting
from onebreath.images.reading import Series
from onebreath.images.secrets import REMOVED, Secrets
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.meta import meta_text

log = logging.getLogger("onebreath.dicom")

_NAMESPACE = uuid.UUID("6b4c4a3e-2f1d-5d0e-9a44-5f0f3c1f7a10")
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_LONGEST_UID = 64
_OF_SCAN = (
    *("field_of_view", "position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"),
    *("average", "slice", "contrast", "phase", "repetition", "set", "image_index", "image_type"),
    *("acquisition_time_stamp", "physiology_time_stamp"),
)
"""Fields of image headers that identifiers are made of."""
_SEXES = {"M": "M", "F": "F", "O": "O"}


def uid(*parts: str) -> str:
    """UID below 2.25 that is a function of the given texts."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(parts)).int}"


def stated_uid(text: object) -> str:
    """UID stated in a header; empty if it is not valid."""
    found = str(text or "").strip()
    return found if len(found) <= _LONGEST_UID and _UID.fullmatch(found) else ""


def digest(series: Iterable[Series]) -> str:
    """SHA-256 of pixels, places, counters and times of some series: other images have other identifiers.

    Nothing else of the headers counts: the length of the meta, for one, is that of its times of processing, too.
    """
    made = hashlib.sha256()
    for one in series:
        made.update(f"{one.number} {one.data.shape} {one.data.dtype}".encode())
        made.update(np.ascontiguousarray(one.data).tobytes())
        made.update(scanned(one))
    return made.hexdigest()


def scanned(series: Series) -> bytes:
    """What the headers of a series say of the scan, which is the same whenever its images are made again."""
    # Instances made before pictures were turned hold their pixels in another order: these are others.
    return b"upright" + b"".join(np.ascontiguousarray(series.headers[name]).tobytes() for name in _OF_SCAN)


@dataclass(frozen=True)
class Identity:
    """Patient, study and equipment of the images.

    Attributes
    ----------
    attributes
        DICOM attributes of patient, study and equipment by keyword, as text.
    study_uid, frame_uid
        Identifiers of the study and of the frame of reference.
    anonymous
        Whether the patient is removed.
    secrets
        What must not occur in any attribute; None: the patient is named.
    """

    attributes: dict[str, str]
    study_uid: str
    frame_uid: str
    anonymous: bool
    secrets: Secrets | None = None


def identity(found: Sequence[Series], header: ScanHeader | None, pseudonym: str | None) -> Identity:
    """Identity of the images, from the raw data's header and the images' meta.

    Parameters
    ----------
    found
        All series of the reconstruction.
    header
        Header of the raw data, if available; it contains more than the images' meta.
    pseudonym
        Name and id that replace the patient's; empty: derived from the images; None: the patient's are kept.
    """
    meta: Mapping[str, Any] = found[0].metas[0] if found[0].metas else {}
    stated = _stated(header)
    equipment = {name: stated[name] for name in _EQUIPMENT if stated.get(name)}
    position = {"PatientPosition": meta_text(meta, "patient_position")}
    own = digest(found)
    if pseudonym is not None:
        name = pseudonym or f"ANON-{own[:12]}"
        study = uid("anonymous study", pseudonym, own)
        secrets = Secrets.of((one for series in found for one in series.metas), header, REMOVED)
        kept = {key: text for key, text in equipment.items() if key not in ("InstitutionName", "StationName")}
        patient = {
            "PatientName": _person(name),
            "PatientID": name,
            "PatientIdentityRemoved": "YES",
            "DeidentificationMethod": "Onebreath: only equipment, protocol and geometry are kept",
        }
        return Identity(_fitting({**kept, **position, **patient}), study, uid("frame", study), True, secrets)
    own_patient, own_study = _exam_of(meta)
    patient = {
        "PatientID": own_patient,
        "StudyID": own_study,
        **{name: stated[name] for name in _PATIENT if stated.get(name)},
    }
    study = stated_uid(stated.get("StudyInstanceUID")) or uid("study", _exam(meta, stated, own))
    frame = stated_uid(stated.get("FrameOfReferenceUID")) or uid("frame", study)
    return Identity(_fitting({**equipment, **position, **patient}), study, frame, False)


def _fitting(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return attributes as DICOM takes them, and say which ones are changed; not from what, as it may be a name."""
    made = {name: fitting(name, text) for name, text in attributes.items()}
    for name, text in attributes.items():
        if made[name] != text.strip() and (name != "MagneticFieldStrength" or not made[name]):
            log.warning("%s of the scan is longer than DICOM takes, or no such value: it is changed or left out", name)
    return made


def _exam_of(meta: Mapping[str, Any]) -> tuple[str, str]:
    """Ids of patient and study in the meta, by themselves or within the measurement's id; empty if not stated."""
    parts = meta_text(meta, "measurementID").split("_")
    _, patient, study, _ = parts if len(parts) == 4 else [""] * 4
    return _real(meta_text(meta, "patientID") or patient), _real(meta_text(meta, "studyID") or study)


def _exam(meta: Mapping[str, Any], stated: Mapping[str, str], own: str) -> str:
    """Text that tells the exam from all others: by patient and study; by the images' digest, too, if one is not stated.

    What is the same for two patients, such as the bare number of a measurement, must not put both into one study.
    """
    own_patient, own_study = _exam_of(meta)
    patient = [own_patient, *(_real(stated.get(name, "")) for name in ("PatientID", "PatientName", "PatientBirthDate"))]
    study = [own_study, *(_real(stated.get(name, "")) for name in ("StudyID", "AccessionNumber", "StudyDate"))]
    # What the header only repeats does not count: with and without it, the exam is the same.
    known = [*dict.fromkeys(filter(None, patient)), "", *dict.fromkeys(filter(None, study))]
    complete = any(patient[:3]) and any(study)  # a date of birth names no patient
    return "_".join([meta_text(meta, "deviceID"), *known, *([] if complete else [own])])


def _real(text: str) -> str:
    """A stated id or name; empty if it only fills the place of one, as zeros do."""
    return "" if text.strip("0_^- ").lower() in _FILLERS else text


_FILLERS = ("", "none", "null", "unknown", "n/a")
_PATIENT = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
)
_EQUIPMENT = (
    "Manufacturer",
    "ManufacturerModelName",
    "InstitutionName",
    "StationName",
    "DeviceSerialNumber",
    "MagneticFieldStrength",
)


def _stated(header: ScanHeader | None) -> dict[str, str]:
    """Values in the raw data's header by DICOM keyword, without missing ones."""
    if header is None:
        return {}
    xml = header.xml
    subject, study = xml.subjectInformation, xml.studyInformation
    measurement, system = xml.measurementInformation, xml.acquisitionSystemInformation
    found: dict[str, Any] = {}
    if subject is not None:
        found["PatientName"], found["PatientID"] = _person(subject.patientName or ""), subject.patientID
        found["PatientBirthDate"] = _date(subject.patientBirthdate)
        found["PatientSex"] = _SEXES.get(str(getattr(subject.patientGender, "value", subject.patientGender)), "")
    if study is not None:
        found |= {"StudyDate": _date(study.studyDate), "StudyTime": _time(study.studyTime), "StudyID": study.studyID}
        found |= {"AccessionNumber": study.accessionNumber, "ReferringPhysicianName": study.referringPhysicianName}
        found |= {"StudyDescription": study.studyDescription, "StudyInstanceUID": study.studyInstanceUID}
    if measurement is not None:
        found["FrameOfReferenceUID"] = measurement.frameOfReferenceUID
    if system is not None:
        found |= {"Manufacturer": system.systemVendor, "ManufacturerModelName": system.systemModel}
        found |= {"InstitutionName": system.institutionName, "StationName": system.stationName}
        found |= {"DeviceSerialNumber": getattr(system, "deviceSerialNumber", None)}
        found["MagneticFieldStrength"] = system.systemFieldStrength_T
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _person(name: str) -> str:
    """Name in DICOM's form, with a caret if it has only one component."""
    return f"{name}^" if name and "^" not in name else name


def _date(value: object) -> str:
    return str(value or "")[:10].replace("-", "")


def _time(value: object) -> str:
    return str(value or "")[:8].replace(":", "")
