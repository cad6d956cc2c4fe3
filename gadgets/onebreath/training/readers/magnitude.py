"""Readers of image series without coils: cine and static ``.npz`` files."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onebreath.errors import ScanError
from onebreath.training.data.series import NOT_CYCLIC, ImageSeries

LOG = logging.getLogger("onebreath.training")
PIXEL_MM = 1.37
"""Pixel size of files that do not state it, typical of cardiac cine."""
# Largest share of the maximum that values below zero may have: interpolation leaves some where there is no signal.
_BELOW_ZERO = 0.05


def cine_npz(path: Path) -> Iterator[ImageSeries]:
    """Yield the slices of a cine stack: ``images`` (slice, phase, row, column), in one file named after the patient.

    A ``meta.json`` in the same folder, keyed by patient, may hold `pixel_spacing_mm` and `phase_dir` (DICOM's
    InPlanePhaseEncodingDirection: COL, along a column, or ROW); images are transposed so that y is the phase encoding.
    `acquisition_matrix` (DICOM's AcquisitionMatrix) gives the facts `acquired_lines` and `acquired_samples`.
    """
    stack = magnitudes(read_array(path, "images"), path)
    if stack.ndim != 4:
        raise ScanError(f"{path}: images have the shape {stack.shape}, expected (slice, phase, row, column)")
    meta = _meta(path)
    spacing = tuple(float(size) for size in meta.get("pixel_spacing_mm", (PIXEL_MM, PIXEL_MM)))
    for index, images in enumerate(stack):
        if meta.get("phase_dir") == "ROW":
            images, pixel = images.swapaxes(1, 2), spacing[::-1]
        else:
            pixel = spacing
        facts = _acquired(meta.get("acquisition_matrix", ()))
        yield ImageSeries(path.stem, f"slice{index:02d}", images, (pixel[0], pixel[1]), facts)


def _acquired(matrix: Sequence[int]) -> dict[str, int]:
    """Facts from DICOM's AcquisitionMatrix: samples along rows and columns, then lines along rows and columns."""
    if len(matrix) != 4:
        return {}
    return {"acquired_samples": max(matrix[:2]), "acquired_lines": max(matrix[2:])}


def static_npz(path: Path) -> Iterator[ImageSeries]:
    """Yield single images: ``images`` (image, row, column) and ``names`` of the form ``PATIENT-IM-SERIES-NUMBER``."""
    images, names = magnitudes(read_array(path, "images"), path), read_array(path, "names")
    if images.ndim != 3 or len(names) != len(images):
        raise ScanError(f"{path}: images {images.shape} and names {names.shape} do not match")
    for image, name in zip(images, names, strict=True):
        patient, _, rest = str(name).partition("-IM-")
        if not patient or not rest:
            # The whole name in place of the patient's would put images of one patient on both sides of a split.
            raise ScanError(f"{path}: the name {name} is not of the form PATIENT-IM-SERIES-NUMBER")
        if image.any():
            yield ImageSeries(patient, rest, image[None], (PIXEL_MM, PIXEL_MM))


def clips_npz(path: Path) -> Iterator[ImageSeries]:
    """Yield clips that are not cyclic: one array (frame, row, column) per clip, whose name is also the patient's."""
    for name, frames in _arrays(path):
        yield ImageSeries(name, "clip", frames, (PIXEL_MM, PIXEL_MM), {NOT_CYCLIC: 1})


def views_npz(path: Path) -> Iterator[ImageSeries]:
    """Yield single images of patients: one array (image, row, column) per patient, named after the patient."""
    for name, images in _arrays(path):
        for index, image in enumerate(images):
            if image.any():
                yield ImageSeries(name, f"view{index}", image[None], (PIXEL_MM, PIXEL_MM))


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
        yield name, magnitudes(array, path)


def magnitudes(values: np.ndarray, path: Path) -> np.ndarray:
    """Magnitudes as float32, of complex values too; a few small values below zero become 0, and the log says so.

    Raises
    ------
    ScanError
        If the values are no numbers, or so far below zero that they are no magnitudes (phase, normalised images).
    """
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_):
        raise ScanError(f"{path}: the images are of type {values.dtype}, expected numbers")
    if np.iscomplexobj(values):
        return np.abs(values).astype(np.float32)
    found = values.astype(np.float32)
    if not found.size or not (found < 0).any():
        return found
    lowest, highest = float(np.nanmin(found)), float(np.nanmax(found))
    if -lowest > _BELOW_ZERO * max(highest, 0):
        raise ScanError(
            f"{path}: values are {lowest:g} to {highest:g}, which are no magnitudes (phase images, or normalised "
            "ones); expected values from 0 up"
        )
    LOG.warning("%s: values down to %g, which a magnitude cannot have, are taken as 0", path, lowest)
    return np.maximum(found, np.float32(0))


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
    found = content.get(path.stem, {}) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise ScanError(f"{file}: expected an object of patients, and in it one of {path.stem}'s values")
    _check_meta(found, f"{file}: {path.stem}")
    return found


def _check_meta(found: dict[str, Any], where: str) -> None:
    """Raise ScanError if a value of ``meta.json`` cannot be used."""
    sizes, direction = found.get("pixel_spacing_mm", (PIXEL_MM, PIXEL_MM)), found.get("phase_dir", "COL")
    if (
        not isinstance(sizes, Sequence)
        or len(sizes) != 2
        or not all(isinstance(n, int | float) and n > 0 for n in sizes)
    ):
        raise ScanError(f"{where}: pixel_spacing_mm is {sizes!r}, expected the sizes along a column and a row in mm")
    if direction not in ("COL", "ROW"):
        raise ScanError(f"{where}: phase_dir is {direction!r}, expected COL or ROW")
