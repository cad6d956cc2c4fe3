"""Texts as DICOM takes them: each kind of attribute (VR) has its length, and letters that it must not have.

All instances are in UTF-8 (``ISO_IR 192``), so that names of any script stay what they are.
"""

from __future__ import annotations

import datetime
import math
import re
import unicodedata
from typing import Any

from onebreath.optional import required

CHARACTER_SET = "ISO_IR 192"
_LONGEST = {"CS": 16, "LO": 64, "LT": 10240, "PN": 64, "SH": 16, "ST": 1024}
_OF_LINES = ("LT", "ST")  # that may have several lines, and backslashes; elsewhere these part values
_GROUPS, _COMPONENTS = 3, 5  # of a name: in letters, ideograms and sounds; family, given, middle, prefix, suffix
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")


def put(made: Any, keyword: str, value: object) -> None:
    """Set an attribute of a dataset to a text, number, or list of texts, as far as its VR takes it."""
    if isinstance(value, list):
        setattr(made, keyword, [fitting(keyword, str(one)) for one in value])
    else:
        setattr(made, keyword, fitting(keyword, value) if isinstance(value, str) else value)


def fitting(keyword: str, text: str) -> str:
    """Return a text as an attribute's VR takes it: cut to its length, without letters that mean something else.

    Dates, times and numbers that are none become empty.
    """
    vr = str(required("pydicom", "dicom", "DICOM").datadict.dictionary_VR(keyword))
    kept = "\n" if vr in _OF_LINES else ""
    plain = unicodedata.normalize("NFC", text)
    plain = "".join(one if one in kept or unicodedata.category(one) not in ("Cc", "Cs") else " " for one in plain)
    if vr not in _OF_LINES:
        plain = plain.replace("\\", "/")
    plain = plain.strip()
    if vr in ("DA", "TM", "DS"):
        return {"DA": _date, "TM": _time, "DS": _number}[vr](plain)
    if vr == "PN":
        return "=".join(_name(group) for group in plain.split("=", _GROUPS - 1))
    if vr == "CS":
        plain = re.sub("[^A-Z0-9_ ]", "_", plain.upper())
    return cut(plain, _LONGEST[vr]) if vr in _LONGEST else plain


def cut(text: str, most: int) -> str:
    """Return the beginning of a text that has at most so many bytes in UTF-8.

    DICOM counts letters, but dciodvfy and other readers count bytes, which are more.
    """
    return text.encode()[:most].decode(errors="ignore").strip()


def _name(group: str) -> str:
    """Return one spelling of a name; what is more than a family, given, middle name, prefix and suffix is the last."""
    components = group.replace("=", " ").split("^", _COMPONENTS - 1)
    return cut("^".join(one.replace("^", " ").strip() for one in components), _LONGEST["PN"])


def _date(text: str) -> str:
    try:
        return text if datetime.datetime.strptime(text, "%Y%m%d").strftime("%Y%m%d") == text else ""
    except ValueError:
        return ""


def _time(text: str) -> str:
    return text if _TIME.fullmatch(text) else ""


def _number(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        return ""
    if not math.isfinite(value):
        return ""
    return str(required("pydicom", "dicom", "DICOM").valuerep.format_number_as_ds(value))
