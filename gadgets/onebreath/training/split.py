"""Split of patients, never of slices; some patients are kept for reports alone."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Literal

from onebreath.errors import ScanError

Purpose = Literal["train", "validate", "report"]

REPORT_ONLY = ("SCD0000401", "SC-HF-I-5", "SC-HF-I-05")
"""Patients that published figures are measured on, under all names of the data set; no choice is ever made on them."""


def check_purpose(patient: str, purpose: Purpose, kept: Iterable[str] = ()) -> None:
    """Refuse a patient who is kept for reports.

    Parameters
    ----------
    patient
        Name as a reader gives it.
    purpose
        What the data are wanted for.
    kept
        Patterns of further patients kept for reports.

    Raises
    ------
    ScanError
        If the purpose is another than report and the patient is in `REPORT_ONLY` or matches `kept`.
    """
    if purpose != "report" and matches(patient, [*REPORT_ONLY, *kept]):
        raise ScanError(
            f"patient {patient} is kept for reports and must not be used to {purpose}; leave the file out of the recipe"
        )


def matches(patient: str, patterns: Sequence[str]) -> bool:
    """Return whether a patient's name matches one of the patterns (``*`` and ``?`` as in file names, case ignored)."""
    return any(fnmatch.fnmatchcase(patient.lower(), pattern.lower()) for pattern in patterns)


def check_disjoint(split: dict[str, set[str]]) -> None:
    """Check that no patient stands on two sides of a split.

    Parameters
    ----------
    split
        Patients by side.

    Raises
    ------
    ScanError
        Names the patients and both sides.
    """
    sides = list(split)
    for i, first in enumerate(sides):
        for second in sides[i + 1 :]:
            both = sorted(split[first] & split[second])
            if both:
                raise ScanError(f"patients {', '.join(both)} are in '{first}' and in '{second}'; split by patient")
