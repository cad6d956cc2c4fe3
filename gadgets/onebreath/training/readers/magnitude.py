"""Readers of image series without coils: cine and static ``.npz`` files, and folders of DICOM files."""

from __future__ import annotations

import importlib
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onebreath.errors import ScanError
from onebreath.training.data.series import NOT_CYCLIC, ImageSeries

# Pixel size of an image whose file does not say it, a usual one for cardiac cine.
_PIXEL_MM = 1.37


def cine_npz(path: Path) -> Iterator[ImageSeries]:
    """Read a cine stack: ``images`` (slice, phase, row, column), one patient per file, named after the patient.

    A ``meta.json`` beside it, keyed by patient, may hold `pixel_spacing_mm` and `phase_dir` (DICOM's
    InPlanePhaseEncodingDirection: COL, along a column, or ROW); rows are brought along the phase encoding.
    `acquisition_matrix` (DICOM's AcquisitionMatrix) gives the facts `acquired_lines` and `acquired_samples`.
    """
    stack = read_array(path, "images")
    if stack.ndim != 4:
        raise ScanError(f"{path}: images have the shape {stack.shape}, expected (slice, phase, row, column)")
    meta = _meta(path)
    spacing = tuple(float(size) for size in meta.get("pixel_spacing_mm", (_PIXEL_MM, _PIXEL_MM)))
    for index, images in enumerate(stack):
        if meta.get("phase_dir") == "ROW":
            images, pixel = images.swapaxes(1, 2), spacing[::-1]
        else:
            pixel = spacing
        facts = _acquired(meta.get("acquisition_matrix", ()))
        yield ImageSeries(path.stem, f"slice{index:02d}", images.astype(np.float32), (pixel[0], pixel[1]), facts)


def _acquired(matrix: Sequence[int]) -> dict[str, int]:
    """Sizes in DICOM's AcquisitionMatrix: samples along rows and columns, then lines along rows and columns."""
    if len(matrix) != 4:
        return {}
    return {"acquired_samples": max(matrix[:2]), "acquired_lines": max(matrix[2:])}


def static_npz(path: Path) -> Iterator[ImageSeries]:
    """Read single images: ``images`` (image, row, column) and ``names``, of the form ``PATIENT-IM-SERIES-NUMBER``."""
    images, names = read_array(path, "images"), read_array(path, "names")
    if images.ndim != 3 or len(names) != len(images):
        raise ScanError(f"{path}: images {images.shape} and names {names.shape} do not belong together")
    for image, name in zip(images, names, strict=True):
        patient, _, rest = str(name).partition("-IM-")
        if image.any():
            yield ImageSeries(patient, rest or str(name), image[None].astype(np.float32), (_PIXEL_MM, _PIXEL_MM))


def clips_npz(path: Path) -> Iterator[ImageSeries]:
    """Read clips that are no heartbeats: an array (frame, row, column) each, named after itself."""
    for name, frames in _arrays(path):
        yield ImageSeries(name, "clip", frames.astype(np.float32), (_PIXEL_MM, _PIXEL_MM), {NOT_CYCLIC: 1})


def views_npz(path: Path) -> Iterator[ImageSeries]:
    """Read single images of patients: an array (image, row, column) each, named after the patient."""
    for name, images in _arrays(path):
        for index, image in enumerate(images):
            if image.any():
                yield ImageSeries(name, f"view{index}", image[None].astype(np.float32), (_PIXEL_MM, _PIXEL_MM))


def _arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with zipfile.ZipFile(path) if zipfile.is_zipfile(path) else _no_archive(path) as archive:
        names = sorted(name.removesuffix(".npy") for name in archive.namelist())
    for name in names:
        array = read_array(path, name)
        if array.ndim != 3:
            raise ScanError(f"{path}: {name} has the shape {array.shape}, expected (frame or image, row, column)")
        yield name, array


def _no_archive(path: Path) -> zipfile.ZipFile:
    raise ScanError(f"{path} cannot be read, it is damaged or no .npz file")


def dicom_folder(path: Path) -> Iterator[ImageSeries]:
    """Read all DICOM magnitude images below a folder; slices by position, frames by trigger time.

    Raises
    ------
    ScanError
        pydicom is not installed, there is no image, or the images of a slice differ in size.
    """
    try:
        pydicom = importlib.import_module("pydicom")
    except ImportError as error:
        raise ScanError("DICOM files need the package pydicom: pip install pydicom") from error
    slices: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for file in sorted(path.rglob("*")):
        if file.is_file() and pydicom.misc.is_dicom(file):
            image = pydicom.dcmread(file)
            position = ",".join(f"{float(value):.2f}" for value in image.get("ImagePositionPatient", ()))
            slices[str(image.get("PatientID", path.name)), f"{image.get('SeriesNumber', 0)}-{position}"].append(image)
    if not slices:
        raise ScanError(f"{path}: no DICOM file in it")
    for (patient, name), images in slices.items():
        yield _dicom_series(patient, name, images)


def _dicom_series(patient: str, name: str, images: list[Any]) -> ImageSeries:
    images.sort(key=lambda image: (float(image.get("TriggerTime", 0)), int(image.get("InstanceNumber", 0))))
    shapes = {(int(image.Rows), int(image.Columns)) for image in images}
    if len(shapes) > 1:
        raise ScanError(f"{patient} {name}: its DICOM images differ in size, {sorted(shapes)}")
    frames = np.stack([image.pixel_array for image in images]).astype(np.float32)
    pixel = tuple(float(value) for value in images[0].get("PixelSpacing", (_PIXEL_MM, _PIXEL_MM)))
    if images[0].get("InPlanePhaseEncodingDirection") == "ROW":
        frames, pixel = frames.swapaxes(1, 2), pixel[::-1]
    return ImageSeries(patient, name, frames, (pixel[0], pixel[1]))


def read_array(path: Path, key: str) -> np.ndarray:
    """Read one array of an npz file.

    Raises
    ------
    ScanError
        If the file is damaged, or has no such array.
    """
    arrays = read_arrays(path, (key,))
    if key not in arrays:
        raise ScanError(f"{path}: there is no array '{key}' in it")
    return arrays[key]


def read_arrays(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Read those arrays of an npz file that are in it; ScanError if the file is damaged."""
    try:
        # numpy leaves a file open that it fails to read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return {key: np.asarray(content[key]) for key in keys if key in content}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ScanError(f"{path} cannot be read, it is damaged or no .npz file: {error}") from error


def _meta(path: Path) -> dict[str, Any]:
    file = path.parent / "meta.json"
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ScanError(f"{file} is not JSON: {error}") from error
    found = content.get(path.stem, {})
    return dict(found)
