"""Instances of a reconstruction, as one asks for them, and their files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from onebreath.dicom.apart import parts
from onebreath.dicom.enhanced import of_series as of_series_enhanced
from onebreath.dicom.identity import Identity
from onebreath.dicom.instances import of_series as of_series_classic
from onebreath.dicom.maps import is_map, parametric_maps
from onebreath.dicom.pixels import scaled
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
        Whether noise maps become parametric maps; else, or without an image to refer to, they are images like others.

    Raises
    ------
    ConfigError
        If a package is not installed.
    ScanError
        If pixels or positions cannot be represented in DICOM.
    """
    of_series = of_series_enhanced if enhanced else of_series_classic
    first = None
    apart = [series for series in found if maps and is_map(series)]
    for series in (one for one in found if one not in apart):
        for scale in scaled(series):
            for part in parts(series):
                for made in of_series(part, part.of(scale), who):
                    first = first or made
                    yield made
    for part in (part for series in apart for part in parts(series)):
        if first is not None:
            yield from parametric_maps(part, [first], who)
        else:
            yield from of_series(part, scaled(part.series)[0], who)


def content(instance: Any) -> bytes:
    """Bytes of an instance's file, equal for equal images."""
    target = io.BytesIO()
    instance.save_as(target, enforce_file_format=True)
    return target.getvalue()
