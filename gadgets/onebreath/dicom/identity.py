"""Who and what instances are of: identifiers that repeat for the same images; nothing of the patient on request."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onebreath.images.reading import Series
from onebreath.mrd.header import ScanHeader
from onebreath.report.facts import IDENTIFYING

_NAMESPACE = uuid.UUID("6b4c4a3e-2f1d-5d0e-9a44-5f0f3c1f7a10")
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_LONGEST_UID = 64
_SEXES = {"M": "M", "F": "F", "O": "O"}


def uid(*parts: str) -> str:
    """Return a UID below 2.25 that is the same for the same texts, and another for others."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(parts)).int}"


def stated_uid(text: object) -> str:
    """Return a UID that a header states; empty if it is none."""
    found = str(text or "").strip()
    return found if len(found) <= _LONGEST_UID and _UID.fullmatch(found) else ""


def digest(series: Iterable[Series]) -> str:
    """Return the SHA-256 of all pixels and headers of some series, by which other images have other identifiers."""
    made = hashlib.sha256()
    for one in series:
        made.update(f"{one.number} {one.data.shape} {one.data.dtype}".encode())
        made.update(one.data.tobytes())
        made.update(one.headers.tobytes())
    return made.hexdigest()


@dataclass(frozen=True)
class Identity:
    """Whom the images belong to.

    Attributes
    ----------
    attributes
        DICOM attributes of patient, study and equipment, by keyword; texts.
    study_uid, frame_uid
        Identifiers of the study and of the frame of reference.
    anonymous
        Whether nothing of the patient is in them.
    secrets
        Texts that must not stand in any attribute.
    """

    attributes: dict[str, str]
    study_uid: str
    frame_uid: str
    anonymous: bool
    secrets: tuple[str, ...] = field(default=())


def identity(found: Sequence[Series], header: ScanHeader | None, pseudonym: str | None) -> Identity:
    """Collect who and what the images are of.

    Parameters
    ----------
    found
        All series of the reconstruction.
    header
        Of the raw data, if they are at hand; it has more than the images' meta.
    pseudonym
        Name and id in place of the patient's; empty: one made of the images; None: the patient's own are kept.
    """
    meta: Mapping[str, Any] = found[0].metas[0] if found[0].metas else {}
    stated = _stated(header)
    equipment = {name: stated[name] for name in _EQUIPMENT if stated.get(name)}
    position = {"PatientPosition": str(meta.get("patient_position", ""))}
    own = digest(found)
    if pseudonym is not None:
        name = pseudonym or f"ANON-{own[:12]}"
        study = uid("anonymous study", pseudonym, own)
        secrets = tuple(filter(None, (str(meta.get(key, "")) for key in IDENTIFYING)))
        secrets += tuple(stated[key] for key in _PATIENT if stated.get(key))
        kept = {key: text for key, text in equipment.items() if key not in ("InstitutionName", "StationName")}
        patient = {
            "PatientName": _person(name),
            "PatientID": name,
            "PatientIdentityRemoved": "YES",
            "DeidentificationMethod": "Onebreath: only equipment, protocol and geometry are kept",
        }
        return Identity({**kept, **position, **patient}, study, uid("frame", study), True, secrets)
    patient = {
        "PatientID": str(meta.get("patientID", "")),
        "StudyID": str(meta.get("studyID", ""))[:16],
        **{name: stated[name] for name in _PATIENT if stated.get(name)},
    }
    exam = "_".join(str(meta.get(key, "")) for key in ("deviceID", "patientID", "studyID"))
    known = exam if exam.strip("_") else str(meta.get("measurementID", "")) or own
    study = stated_uid(stated.get("StudyInstanceUID")) or uid("study", known)
    frame = stated_uid(stated.get("FrameOfReferenceUID")) or uid("frame", study)
    return Identity({**equipment, **position, **patient}, study, frame, False)


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
    """Return what the raw data's header says, by DICOM keyword; without what it does not."""
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
    """Return a name as DICOM has it: with a caret where there is one part only."""
    return f"{name}^" if name and "^" not in name else name


def _date(value: object) -> str:
    return str(value or "")[:10].replace("-", "")


def _time(value: object) -> str:
    return str(value or "")[:8].replace(":", "")
