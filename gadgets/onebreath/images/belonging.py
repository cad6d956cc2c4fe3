"""Whether a raw file is the one that images were made from: what both state must agree."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onebreath.errors import ScanError
from onebreath.images.reading import Series
from onebreath.images.stacks import tick_of
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import DAY_MS
from onebreath.mrd.meta import meta_text, meta_texts
from onebreath.mrd.spaces import spaces, with_space
from onebreath.names import shortened
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile

_SAME = 1e-5  # relative difference of times that were written as text


def header_of(found: Sequence[Series], path: Path, group: str) -> ScanHeader:
    """Return the header of the raw file of some images.

    Raises
    ------
    ScanError
        If it cannot be read, or is that of other images.
    """
    with RawFile(path, group) as raw:
        header = ScanHeader(parse_header(raw.header_xml))
        check_belongs(found, raw, header)
    return header


def check_belongs(found: Sequence[Series], raw: RawFile, header: ScanHeader) -> None:
    """Raise ScanError if a raw file contradicts the images that are said to be made from it.

    Raises
    ------
    ScanError
        With what the images say, and what the raw file says.
    """
    stamps = raw.headers()["acquisition_time_stamp"]
    times = (int(stamps.min()), int(stamps.max())) if len(stamps) else None
    metas = [meta for series in found for meta in series.metas]
    contradiction = next(contradictions(metas, header, times), None)
    if contradiction is not None:
        what, images, scan = contradiction
        raise ScanError(
            f"{raw.path} is not the raw data of these images: {what} is {images} in the images, but {scan} in the raw "
            "data. Name the raw data that the images were made from, or none."
        )


def contradictions(
    metas: Iterable[Mapping[str, Any]], header: ScanHeader, times: tuple[int, int] | None = None
) -> Iterator[tuple[str, str, str]]:
    """Yield what images and raw data both state, and state differently.

    Parameters
    ----------
    metas
        Meta of each image.
    header
        Header of the raw data.
    times
        First and last time stamp of its lines, if they are known.

    Yields
    ------
    tuple
        What it is, and the values of the images and of the raw data, as texts.
    """
    stated = _stated(header)
    for meta in metas:
        for name, values in stated.items():
            own = meta_text(meta, name)
            if own and values and own not in values:
                yield name, f"'{shortened(own)}'", " or ".join(f"'{shortened(value)}'" for value in values)
        yield from _other_numbers(meta, header)
        if times is not None:
            yield from _other_times(meta, times)


def _stated(header: ScanHeader) -> dict[str, tuple[str, ...]]:
    """Return what the header has for entries of the meta; ids of the measurement's id and those of their own count."""
    parts = (header.measurement_id or "").split("_")
    _, patient, study, _ = parts if len(parts) == 4 else [""] * 4
    found = {
        "measurementID": (header.measurement_id,),
        "patientID": (header.patient_id, patient),
        "studyID": (header.study_id, study),
        "protocolName": (header.protocol_name,),
        "patient_position": (header.patient_position,),
    }
    # Texts are compared without space at their ends: that of a meta is gone when it has been XML.
    return {
        name: tuple(dict.fromkeys(text for value in values if (text := str(value or "").strip())))
        for name, values in found.items()
    }


def _other_numbers(meta: Mapping[str, Any], header: ScanHeader) -> Iterator[tuple[str, str, str]]:
    """Yield matrix and repetition time, if they are others."""
    own = _numbers(meta, "recon_matrix")
    count = spaces(header.xml)
    headers = [ScanHeader(with_space(header.xml, space)) for space in range(count)] if count > 1 else [header]
    matrices = [tuple(map(float, one.recon_matrix)) for one in headers]
    if len(own) == 3 and tuple(own) not in matrices:
        yield "the matrix", _joined(own, " x "), " or ".join(_joined(one, " x ") for one in matrices)
    own, stated = _numbers(meta, "RepetitionTime"), header.sequence("TR")
    if own and stated and not all(any(math.isclose(one, other, rel_tol=_SAME) for other in stated) for one in own):
        yield "the repetition time", f"{_joined(own, ', ')} ms", f"{_joined(stated, ', ')} ms"


def _other_times(meta: Mapping[str, Any], times: tuple[int, int]) -> Iterator[tuple[str, str, str]]:
    """Yield the time stamps, if lines of the image were not acquired while the raw data were.

    The images' go on over midnight, where the raw data's begin again.
    """
    own, day = _numbers(meta, "acquisition_time_range"), DAY_MS / tick_of(meta)
    if len(own) == 2 and not all(any(times[0] <= one - more <= times[1] for more in (0, day)) for one in own):
        yield "the time stamp of lines", _joined(own, " to "), _joined(times, " to ")


def _numbers(meta: Mapping[str, Any], name: str) -> list[float]:
    try:
        return [float(text) for text in meta_texts(meta, name)]
    except ValueError:  # other programs' metas may have words there
        return []


def _joined(values: Iterable[float], between: str) -> str:
    return between.join(f"{value:.9g}" for value in values)
