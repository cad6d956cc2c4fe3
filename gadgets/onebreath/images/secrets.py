"""What identifies the patient of some images, and texts without it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onebreath.mrd.header import ScanHeader
from onebreath.mrd.meta import meta_text

IDENTIFYING = ("measurementID", "patientID", "studyID")
"""Meta entries that contain the patient's name or id."""
SPOKEN = ("protocolName", "SeriesDescription", "GADGETRON_ImageComment", "GADGETRON_SeqDescription")
"""Meta entries that a person has written, wholly or in part."""
HIDDEN, REMOVED = "[hidden]", "[removed]"
SHORTEST = 3
"""Smallest length of an id or name to hide in all texts; a shorter one would hide unrelated numbers and words."""
_LETTERS, _LETTER, _SIGN = r"[^\W\d_]+", r"[^\W\d_]", r"[^\W_]"
_NOBODY = ("none", "null", "unknown", "anonymous")
_SECTIONS = {
    "subjectInformation": ("patientID", "patientBirthdate"),
    "studyInformation": ("studyID", "accessionNumber", "studyDate", "studyDescription", "studyInstanceUID"),
    "measurementInformation": ("measurementID", "seriesInstanceUIDRoot", "frameOfReferenceUID"),
}


@dataclass(frozen=True)
class Secrets:
    """Names and ids, and what is put in their place.

    Attributes
    ----------
    ids
        Hidden wherever they stand.
    names
        Parts of names: hidden as words in all texts, and wherever they stand in texts of `SPOKEN`.
    short
        Ids and parts of names below `SHORTEST`: hidden as words in texts of `SPOKEN`.
    mark
        What replaces them.
    """

    ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    mark: str = HIDDEN

    @classmethod
    def in_meta(cls, metas: Iterable[Mapping[str, Any]]) -> Secrets:
        """Secrets of what is no secret but is not to be told: the long ids in the meta."""
        found = (meta_text(meta, name) for meta in metas for name in IDENTIFYING)
        return cls(_sorted(text for text in found if len(text) >= SHORTEST))

    @classmethod
    def of(cls, metas: Iterable[Mapping[str, Any]], header: ScanHeader | None, mark: str = HIDDEN) -> Secrets:
        """All that meta of images and the header of their scan say of the patient."""
        metas = list(metas)
        ids = {meta_text(meta, name) for meta in metas for name in IDENTIFYING}
        patients = {meta_text(meta, "patientID") for meta in metas}
        measured = {meta_text(meta, "measurementID") for meta in metas}
        names: set[str] = set()
        if header is not None:
            ids |= set(_ids(header))
            patients.add(str(header.patient_id or "").strip())
            measured.add(header.measurement_id or "")
            names = {part for part in _names(header) if part.lower() not in _NOBODY}
        for parts in (text.split("_") for text in measured):
            if len(parts) == 4:  # Siemens: device, patient, study, number
                ids |= set(parts[1:3])
                patients.add(parts[1])
        return cls(
            _sorted(text for text in ids if len(text) >= SHORTEST and text.lower() not in _NOBODY),
            _sorted(name for name in names if _long(name)),
            # Which number a study has tells nobody's name, but patients have short ids, too.
            _sorted([*(one for one in patients if 0 < len(one) < SHORTEST), *(one for one in names if not _long(one))]),
            mark,
        )

    def hide(self, text: str) -> str:
        """Return a text without ids and names."""
        text = _replaced(text, (re.escape(one) for one in self.ids), self.mark)
        return _replaced(text, (f"(?<!{_LETTER}){re.escape(one)}(?!{_LETTER})" for one in self.names), self.mark)

    def hide_spoken(self, text: str) -> str:
        """Return a text that a person has written without ids and names, in whatever form they are in it."""
        text = _replaced(text, (re.escape(one) for one in (*self.ids, *self.names)), self.mark)
        return _replaced(text, (_alone(one) for one in self.short), self.mark)


def _ids(header: ScanHeader) -> Iterator[str]:
    for section, names in _SECTIONS.items():
        for name in names:
            text = str(getattr(getattr(header.xml, section, None), name, None) or "").strip()
            yield text
            if "ate" in name:  # 1970-01-31, which others write as 19700131
                yield text.replace("-", "")


def _names(header: ScanHeader) -> Iterator[str]:
    subject, study = header.xml.subjectInformation, header.xml.studyInformation
    for name in (getattr(subject, "patientName", None), getattr(study, "referringPhysicianName", None)):
        yield from re.findall(_LETTERS, str(name or ""))


def _long(name: str) -> bool:
    """Whether a part of a name is no part of common words; one ideogram of two is a name."""
    return len(name) >= SHORTEST or (len(name) > 1 and not name.isascii())


def _alone(short: str) -> str:
    """Pattern of a short id or name that stands alone, and is not the 7 of 1.7 mm."""
    return rf"(?<!{_SIGN})(?<!\d[.,]){re.escape(short)}(?!{_SIGN})(?![.,]\d)"


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, the longest first: it may contain others."""
    return tuple(sorted({text for text in texts if text}, key=lambda one: (-len(one), one)))


def _replaced(text: str, patterns: Iterable[str], mark: str) -> str:
    """Replace what patterns match, in one go, so that no mark is searched for names."""
    joined = "|".join(patterns)
    return re.sub(joined, lambda found: mark, text, flags=re.IGNORECASE) if joined else text
