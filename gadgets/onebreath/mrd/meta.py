"""Headers and meta of the images: geometry, counters and provenance, as Gadgetron and the MRD standard name them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from onebreath import __version__
from onebreath.diagnostics.software import code_sha256, commit
from onebreath.mrd.buffers import E1, RO
from onebreath.mrd.header import ScanHeader

STANDARD_NAMES = {
    "GADGETRON_ImageNumber": ("ImageNumber",),
    "GADGETRON_ImageComment": ("ImageComments", "ImageComment"),
    "GADGETRON_ImageProcessingHistory": ("ImageProcessingHistory",),
    "GADGETRON_SeqDescription": ("SeriesDescription", "SequenceDescriptionAdditional"),
    "GADGETRON_TE": ("EchoTime",),
    "GADGETRON_TI": ("InversionTime",),
}
"""What the MRD standard and the FIRE host call Gadgetron's entries; both are written."""

CHAIN = "Onebreath_chain"
"""Entry of the gadgets that made the image, and of their properties."""
UNSEALED = "unsealed_"
"""Before the names of gadgets whose facts came from outside without a seal of this user."""
_LEAST_WHOLE_WIDTH = 100
"""From this width on, rounding a window to whole numbers moves its ends by at most a hundredth of it."""
WARNINGS = "Onebreath_warnings"
"""Entry of the warnings that were given before the image was made."""

COUNTERS = ("average", "repetition", "set", "phase", "contrast", "slice")
"""Counters that number an image, slowest first (Gadgetron's ``ImageArraySendMixin``)."""


def write_both(meta: ismrmrd.Meta, name: str, value: Any) -> None:
    """Write an entry under Gadgetron's name and under the standard's names for it."""
    for key in (name, *STANDARD_NAMES.get(name, ())):
        meta[key] = value


def write_scaling(meta: ismrmrd.Meta, ratio: float, offset: float) -> None:
    """Write how pixels came from image values: ``pixel = ratio * value + offset``, and the DICOM inverse."""
    meta["GADGETRON_ScaleRatio"] = _text(ratio)
    meta["GADGETRON_ScaleOffset"] = _text(offset)
    meta["RescaleSlope"] = _text(1 / ratio)
    meta["RescaleIntercept"] = _text(0.0 - offset / ratio)


def upper_end(low: float, *tops: float) -> float:
    """Return the upper end of a window: the first of several that is above the lower end, whatever the unit.

    If none is, all values are the same; the window then is as wide as they are large, or 1 for zeros.
    """
    return next((top for top in tops if top > low), low + (abs(low) or 1.0))


def write_window(meta: ismrmrd.Meta, centre: float, width: float, ratio: float, offset: float) -> None:
    """Write a window: Gadgetron's is in pixels, FIRE's in the units that the rescale slope leads to.

    FIRE's are whole numbers by the standard, and so they are where rounding is not seen. A narrow window, as that of
    maps, phases and images without a noise scan, is written with six digits: hosts read it as a number, and rounded it
    would show black.

    Parameters
    ----------
    meta
        What to write to.
    centre, width
        In pixels.
    ratio, offset
        See `write_scaling`.
    """
    meta["GADGETRON_WindowCenter"], meta["GADGETRON_WindowWidth"] = f"{centre:.6g}", f"{width:.6g}"
    rescaled = (centre - offset) / ratio, width / ratio
    whole = rescaled[1] >= _LEAST_WHOLE_WIDTH
    texts = [str(round(value)) if whole else f"{value + 0.0:.6g}" for value in rescaled]
    meta["WindowCenter"], meta["WindowWidth"] = texts


def write_role(meta: ismrmrd.Meta, role: str) -> None:
    """Write an image's role; maps are marked quantitative."""
    meta["GADGETRON_DataRole"] = meta["DataRole"] = role
    if role != "Image":
        mark_quantitative(meta)


def mark_quantitative(meta: ismrmrd.Meta) -> None:
    """Mark an image whose pixels are to be read as they are: a FIRE host would otherwise normalise them."""
    meta["DataRole"] = [str(meta.get("GADGETRON_DataRole", "Image")), "Quantitative"]


def central_line(headers: NDArray[np.object_], centre: int) -> ismrmrd.AcquisitionHeader:
    """Return the header (of those along E1) acquired nearest to the k-space centre; the first one if none was."""
    acquired = [row for row, header in enumerate(headers) if header.number_of_samples > 0]
    return headers[min(acquired, key=lambda row: abs(row - centre))] if acquired else headers[0]


def image_header(line: ismrmrd.AcquisitionHeader, sampling: Any, series: int, number: int) -> ismrmrd.ImageHeader:
    """Make the header of an image from the line nearest to its k-space centre.

    `sampling` is Gadgetron's sampling description; the field of view is the recon space's, in mm; `number` becomes the
    image_index.
    """
    header = ismrmrd.ImageHeader.from_acquisition(line)
    header.data_type = ismrmrd.DATATYPE_CXFLOAT
    header.matrix_size = tuple(sampling.recon_matrix)
    header.field_of_view = tuple(sampling.recon_FOV)
    header.channels = 1
    header.image_type = ismrmrd.IMTYPE_MAGNITUDE
    header.image_series_index = series
    header.image_index = number
    return header


def image_meta(
    line: ismrmrd.AcquisitionHeader,
    scan: ScanHeader,
    sampling: Any,
    image: ismrmrd.ImageHeader,
    acquired: Iterable[ismrmrd.AcquisitionHeader],
) -> ismrmrd.Meta:
    """Make the meta that every image of a slice carries: what Gadgetron's own gadgets write, and read downstream."""
    meta = ismrmrd.Meta()
    write_both(meta, "GADGETRON_ImageNumber", str(image.image_index))
    write_both(meta, "GADGETRON_ImageProcessingHistory", ["GT", "Onebreath"])
    meta["encoding"] = str(scan.space)
    for name, values in (("encoding_FOV", sampling.encoded_FOV), ("recon_FOV", sampling.recon_FOV)):
        meta[name] = _texts(values)
    for name, values in (("encoded_matrix", sampling.encoded_matrix), ("recon_matrix", sampling.recon_matrix)):
        meta[name] = _texts(values)
    for name, axis in (("RO", RO), ("E1", E1), ("E2", 2)):
        meta[f"sampling_limits_{name}"] = _texts(sampling.sampling_limits[axis])
    _write_geometry(meta, line)
    _write_times(meta, line, acquired)
    _write_scan(meta, scan, line.idx.contrast)
    meta["OnebreathVersion"] = __version__
    meta["OnebreathCommit"], meta["OnebreathCode"] = commit(), code_sha256()
    return meta


def write_facts(meta: ismrmrd.Meta, notes: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what each gadget decided, as ``Onebreath_<gadget>_<fact>``."""
    for gadget, facts in notes.items():
        for name, value in facts.items():
            meta[f"Onebreath_{gadget}_{name}"] = _text(value)


def write_warnings(meta: ismrmrd.Meta, texts: Iterable[str]) -> None:
    """Add warnings to those that the meta holds."""
    held = read_warnings(meta)
    added = held + [text for text in texts if text not in held]
    if added:
        meta[WARNINGS] = added


def read_warnings(meta: Mapping[str, Any]) -> list[str]:
    """Return the warnings in an image's meta."""
    held = meta.get(WARNINGS, [])
    return [held] if isinstance(held, str) else [str(text) for text in held]


def meta_texts(meta: Mapping[str, Any], name: str) -> list[str]:
    """Return the values of an entry as texts without space around them; none where it is missing or empty."""
    held = meta.get(name)
    values = held if isinstance(held, list) else [held]
    return [text for value in values if value is not None and (text := str(value).strip())]


def meta_text(meta: Mapping[str, Any], name: str) -> str:
    """Return an entry as one text; empty where it is missing or empty, which XML gives as None."""
    return " ".join(meta_texts(meta, name))


def write_chain(meta: ismrmrd.Meta, steps: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """Write the gadgets and the properties that were set."""
    meta[CHAIN] = json.dumps(list(steps))


def read_chain(meta: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Return what `write_chain` wrote, nothing if it is not there; raises ValueError or TypeError if it is damaged."""
    return [(str(name), dict(properties)) for name, properties in json.loads(str(meta.get(CHAIN, "[]")))]


def _write_geometry(meta: ismrmrd.Meta, line: ismrmrd.AcquisitionHeader) -> None:
    meta["PatientPosition"] = _texts(line.position)
    meta["patient_table_position"] = _texts(line.patient_table_position)
    for name in ("read_dir", "phase_dir", "slice_dir"):
        meta[name] = _texts(getattr(line, name))
    meta["ImageRowDir"] = _texts(line.read_dir)
    meta["ImageColumnDir"] = _texts(line.phase_dir)
    meta["Keep_image_geometry"] = "1"
    for kind in ("int", "float"):
        for place, value in enumerate(getattr(line, f"user_{kind}")):
            meta[f"user_{kind}_{place}"] = _text(value)


def _write_times(
    meta: ismrmrd.Meta, line: ismrmrd.AcquisitionHeader, acquired: Iterable[ismrmrd.AcquisitionHeader]
) -> None:
    meta["acquisition_time_stamp"] = _text(line.acquisition_time_stamp)
    meta["physiology_time_stamp"] = _texts(line.physiology_time_stamp)
    lines = list(acquired) or [line]
    stamps = [header.acquisition_time_stamp for header in lines]
    meta["acquisition_time_range"] = _texts((min(stamps), max(stamps)))
    physiology = np.array([list(header.physiology_time_stamp) for header in lines])
    meta["physiology_time_range"] = _texts(np.stack([physiology.min(0), physiology.max(0)], axis=1).ravel())


def own_times(scan: ScanHeader, name: str, contrast: int) -> list[float]:
    """Return the one of the header's times (ms) that belongs to an echo; all of them if they are not listed by echo."""
    times = scan.sequence(name)
    return [times[contrast]] if contrast < len(times) else times


def _write_scan(meta: ismrmrd.Meta, scan: ScanHeader, contrast: int) -> None:
    if scan.protocol_name:
        meta["protocolName"] = scan.protocol_name
    if scan.patient_position:
        meta["patient_position"] = scan.patient_position
    if scan.measurement_id:
        meta["measurementID"] = scan.measurement_id
        parts = scan.measurement_id.split("_")
        if len(parts) == 4:
            meta.update(zip(("deviceID", "patientID", "studyID", "measurementNumber"), parts, strict=True))
    for name, times in (("GADGETRON_TE", own_times(scan, "TE", contrast)), ("GADGETRON_TI", scan.sequence("TI"))):
        if times:
            write_both(meta, name, _texts(times))
    if scan.sequence("TR"):
        meta["RepetitionTime"] = _texts(scan.sequence("TR"))


def _texts(values: Iterable[Any]) -> list[str]:
    return [_text(value) for value in values]


def _text(value: Any) -> str:
    """Write a number so that reading it back gives the same float32."""
    return f"{value:.9g}" if isinstance(value, float | np.floating) else str(value)
