"""Reader of folders of DICOM images: one frame per file, slices by position, frames by trigger time."""

from __future__ import annotations

import importlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onebreath.errors import ScanError
from onebreath.training.data.series import ImageSeries
from onebreath.training.readers.magnitude import PIXEL_MM

LOG = logging.getLogger("onebreath.training")
_PREAMBLE, _MAGIC = 128, b"DICM"
# What DICOM's ImageType (its third value) and ComplexImageComponent call the parts of an image that is no magnitude.
_NO_MAGNITUDE = {
    **dict.fromkeys(("P", "PHASE"), "phase"),
    **dict.fromkeys(("R", "REAL"), "real"),
    **dict.fromkeys(("I", "IMAGINARY"), "imaginary"),
}


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its first bytes; many scanners write names without a suffix."""
    with path.open("rb") as file:
        return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC


def dicom_folder(path: Path) -> Iterator[ImageSeries]:
    """Yield all DICOM magnitude images below a folder, or of one file; slices by position, frames by trigger time.

    Values are in the units that slope and intercept give. Files of other kinds, which exports bring along (reports,
    phase images, colour pictures), are left out; the log says how many.

    Raises
    ------
    ScanError
        If pydicom is not installed, there is no image, a file is damaged or has several frames, or the images of a
        slice differ in size.
    """
    try:
        pydicom = importlib.import_module("pydicom")
    except ImportError as error:
        raise ScanError("DICOM files need the package pydicom: pip install pydicom") from error
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    slices: dict[tuple[str, str, str], list[tuple[Path, Any]]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    for file in filter(is_dicom, files):
        image = _read(pydicom, file)
        if reason := _unsuitable(image):
            left_out[reason] += 1
            continue
        # Unique identifiers of anonymised files often break DICOM's rules, of which pydicom would warn for each file.
        with pydicom.config.disable_value_validation():
            slices[_slice_of(image, path)].append((file, image))
    if left_out:
        kinds = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
        LOG.warning("%s: DICOM files that are no magnitude images are left out: %s", path, kinds)
    if not slices:
        raise ScanError(f"{path}: there is no DICOM file in it{' with a magnitude image' if left_out else ''}")
    alike = Counter((patient, name) for patient, name, _ in slices)
    for (patient, name, series), images in slices.items():
        # Series of two examinations may have the same number and position.
        yield _series(patient, name if alike[patient, name] == 1 else f"{name}-{series}", images)


def _slice_of(image: Any, path: Path) -> tuple[str, str, str]:
    """Patient, name of the slice, and identifier of its series."""
    position = ",".join(f"{value:.2f}" for value in _numbers(image, "ImagePositionPatient", ()))
    name = f"{_text(image, 'SeriesNumber', '0')}-{position}"
    return _text(image, "PatientID", path.stem), name, _text(image, "SeriesInstanceUID", "")


def _read(pydicom: Any, file: Path) -> Any:
    try:
        return pydicom.dcmread(file)
    except (OSError, ValueError, AttributeError, KeyError, pydicom.errors.InvalidDicomError) as error:
        raise ScanError(f"{file} cannot be read, it is damaged or not a DICOM file: {error}") from error


def _unsuitable(image: Any) -> str:
    """Why an object is no magnitude image; empty if it is one."""
    if "PixelData" not in image:
        return "without pixels"
    if int(image.get("SamplesPerPixel") or 1) != 1:
        return "in colour"
    kinds = [*list(image.get("ImageType") or ())[2:3], image.get("ComplexImageComponent") or ""]
    return next((_NO_MAGNITUDE[kind] for kind in kinds if kind in _NO_MAGNITUDE), "")


def _series(patient: str, name: str, images: list[tuple[Path, Any]]) -> ImageSeries:
    images.sort(key=lambda one: (*_numbers(one[1], "TriggerTime", (0,)), *_numbers(one[1], "InstanceNumber", (0,))))
    first = images[0][1]
    shapes = {(int(image.Rows), int(image.Columns)) for _, image in images}
    if len(shapes) > 1:
        raise ScanError(f"{patient} {name}: its DICOM images differ in size, {sorted(shapes)}")
    frames = np.stack([_pixels(file, image) for file, image in images])
    pixel = tuple(_numbers(first, "PixelSpacing", (PIXEL_MM, PIXEL_MM)))
    if len(pixel) != 2 or not min(pixel) > 0:
        raise ScanError(f"{patient} {name}: PixelSpacing is {pixel}, expected two sizes in mm")
    if first.get("InPlanePhaseEncodingDirection") == "ROW":
        frames, pixel = frames.swapaxes(1, 2), pixel[::-1]
    return ImageSeries(patient, name, frames, (pixel[0], pixel[1]))


def _pixels(file: Path, image: Any) -> np.ndarray:
    """Values ``(y, x)`` in the units of slope and intercept, which may differ from frame to frame."""
    if int(image.get("NumberOfFrames") or 1) > 1:
        raise ScanError(
            f"{file} has {image.NumberOfFrames} frames (enhanced DICOM), whose order is not read; make one file of "
            "each frame, for example by dcm4che's emf2sf, or convert it to NIfTI (kind: images)"
        )
    try:
        stored = np.asarray(image.pixel_array, np.float32).reshape(int(image.Rows), int(image.Columns))
    except (ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise ScanError(f"{file}: its pixels cannot be read, they are damaged or compressed: {reason}") from error
    (slope,), (intercept,) = _numbers(image, "RescaleSlope", (1,)), _numbers(image, "RescaleIntercept", (0,))
    return stored * np.float32(slope) + np.float32(intercept)


def _text(image: Any, name: str, otherwise: str) -> str:
    """Value of an element as text; elements without a value count as missing."""
    value = image.get(name)
    return otherwise if value is None or not str(value).strip() else str(value)


def _numbers(image: Any, name: str, otherwise: Sequence[float]) -> tuple[float, ...]:
    """Values of an element; elements without a value count as missing."""
    value = image.get(name)
    if value is None or value == "":
        return tuple(map(float, otherwise))
    return tuple(map(float, value)) if isinstance(value, Sequence) and not isinstance(value, str) else (float(value),)
