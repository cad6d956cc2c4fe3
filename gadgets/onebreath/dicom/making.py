"""Instances of a reconstruction, as one asks for them, and their files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from onebreath.dicom.enhanced import enhanced_instances
from onebreath.dicom.identity import Identity
from onebreath.dicom.instances import instances
from onebreath.images.reading import Series


def made_of(found: Sequence[Series], who: Identity, *, enhanced: bool = False, maps: bool = True) -> Iterator[Any]:
    """Yield the instances of all series.

    Parameters
    ----------
    found, who
        The series, and their patient, study and equipment.
    enhanced
        Whether images become enhanced MR instances, one for each place; else each picture is an instance of its own.
    maps
        Whether noise maps become parametric maps; else they are images like others.

    Raises
    ------
    ConfigError
        If a package is not installed.
    ScanError
        If pixels or positions cannot be represented in DICOM.
    """
    return enhanced_instances(found, who, maps=maps) if enhanced else instances(found, who, maps=maps)


def content(instance: Any) -> bytes:
    """Bytes of an instance's file, equal for equal images."""
    target = io.BytesIO()
    instance.save_as(target, enforce_file_format=True)
    return target.getvalue()
