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

# Pixel size of files that do not state it, typical of cardiac cine.
_PIXEL_MM = 1.37


def cine_npz(path: Path) -> Iterator[ImageSeries]:
    """Yield the slices of a cine stack: ``images`` (slice, phase, row, column), in one file named after the patient.

    A ``meta.json`` in the same folder, keyed by patient, may hold `pixel_spacing_mm` and `phase_dir` (DICOM's
    InPlanePhaseEncodingDirection: COL, along a column, or ROW); images are transposed so that y is the phase encoding.
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
    """Facts from DICOM's AcquisitionMatrix: samples along rows and columns, then lines along rows and columns."""
    if len(matrix) != 4:
        return {}
    return {"acquired_samples": max(matrix[:2]), "acquired_lines": max(matrix[2:])}


def static_npz(path: Path) -> Iterator[ImageSeries]:
    """Yield single images: ``images`` (image, row, column) and ``names`` of the form ``PATIENT-IM-SERIES-NUMBER``."""
    images, names = read_array(path, "images"), read_array(path, "names")
    if images.ndim != 3 or len(names) != len(images):
        raise ScanError(f"{path}: images {images.shape} and names {names.shape} do not match")
    for image, name in zip(images, names, strict=True):
        patient, _, rest = str(name).partition("-IM-")
        if image.any():
            yield ImageSeries(patient, rest or str(name), image[None].astype(np.float32), (_PIXEL_MM, _PIXEL_MM))


def clips_npz(path: Path) -> Iterator[ImageSeries]:
    """Yield clips that are not cyclic: one array (frame, row, column) per clip, whose name is also the patient's."""
    for name, frames in _arrays(path):
        yield ImageSeries(name, "clip", frames.astype(np.float32), (_PIXEL_MM, _PIXEL_MM), {NOT_CYCLIC: 1})


def views_npz(path: Path) -> Iterator[ImageSeries]:
    """Yield single images of patients: one array (image, row, column) per patient, named after the patient."""
    for name, images in _arrays(path):
        for index, image in enumerate(images):
            if image.any():
                yield ImageSeries(name, f"view{index}", image[None].astype(np.float32), (_PIXEL_MM, _PIXEL_MM))


def _arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and array (frame or image, row, column) of everything in an npz file."""
    if not zipfile.is_zipfile(path):
        raise ScanError(f"{path} cannot be read, it is damaged or not a .npz file")
    with zipfile.ZipFile(path) as archive:
        names = sorted(name.removesuffix(".npy") for name in archive.namelist())
    for name in names:
        array = read_array(path, name)
        if array.ndim != 3:
            raise ScanError(f"{path}: {name} has the shape {array.shape}, expected (frame or image, row, column)")
        yield name, array


def dicom_folder(path: Path) -> Iterator[ImageSeries]:
    """Yield all DICOM magnitude images below a folder; slices by position, frames by trigger time.

    Raises
    ------
    ScanError
        If pydicom is not installed, there is no image, or the images of a slice differ in size.
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
        raise ScanError(f"{path}: there is no DICOM file in it")
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
    """One array of an npz file.

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
    """Arrays of an npz file by name, without those that it lacks; ScanError if the file is damaged."""
    try:
        # numpy does not close a file that it fails to read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return {key: np.asarray(content[key]) for key in keys if key in content}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ScanError(f"{path} cannot be read, it is damaged or not a .npz file: {error}") from error


def _meta(path: Path) -> dict[str, Any]:
    """Entry of the file's patient in ``meta.json``; empty if there is none."""
    file = path.parent / "meta.json"
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ScanError(f"{file} is not JSON: {error}") from error
    found = content.get(path.stem, {})
    return dict(found)
