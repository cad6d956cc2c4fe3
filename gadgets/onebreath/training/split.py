"""Split by patient, never by slice; some patients are reserved for reports."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Literal

from onebreath.errors import ScanError

Purpose = Literal["train", "validate", "report"]

REPORT_ONLY = ("SCD0000401", "SC-HF-I-5", "SC-HF-I-05")
"""Patients of the published results, under all their names in the data set; no choice is ever based on them."""


def check_purpose(patient: str, purpose: Purpose, kept: Iterable[str] = ()) -> None:
    """Raise ScanError if a patient reserved for reports is used for anything else.

    Parameters
    ----------
    patient
        Name as returned by a reader.
    purpose
        Purpose of the data.
    kept
        Patterns of further patients reserved for reports.

    Raises
    ------
    ScanError
        If the purpose is not report and the patient is in `REPORT_ONLY` or matches `kept`.
    """
    if purpose != "report" and matches(patient, [*REPORT_ONLY, *kept]):
        raise ScanError(
            f"patient {patient} is reserved for reports and must not be used to {purpose}; leave it out of the recipe"
        )


def matches(patient: str, patterns: Sequence[str]) -> bool:
    """Whether a patient's name matches one of the patterns (``*`` and ``?`` as in file names, case ignored)."""
    return any(fnmatch.fnmatchcase(patient.lower(), pattern.lower()) for pattern in patterns)


def check_disjoint(split: dict[str, set[str]]) -> None:
    """Raise ScanError if a patient is in two parts of a split.

    Parameters
    ----------
    split
        Patients by part.

    Raises
    ------
    ScanError
        Names the patients and both parts.
    """
    sides = list(split)
    for i, first in enumerate(sides):
        for second in sides[i + 1 :]:
            both = sorted(split[first] & split[second])
            if both:
                raise ScanError(f"patients {', '.join(both)} are in '{first}' and in '{second}'; split by patient")
