"""Reader of folders of magnitude images: PNG and other pictures, NIfTI, npz and DICOM files, also in sub-folders."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from onebreath.errors import ScanError
from onebreath.training.data.series import ImageSeries
from onebreath.training.readers.magnitude import dicom_folder, read_arrays, static_npz

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_PIXEL_MM = (1.0, 1.0)
"""Pixel size of files that do not state it; networks for magnitude images ignore it."""


def image_folder(path: Path) -> Iterator[ImageSeries]:
    """Yield all images below a folder, or of one file; images of zeros are skipped.

    The patient is the name of the file's folder directly below `path`, else that of the file; npz files with ``names``
    and DICOM files state it themselves.

    Raises
    ------
    ScanError
        If there is no image, a file is damaged, or the package for its format is not installed.
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    found = False
    for file in files:
        for series in _read(file, _patient(file, path)):
            found = True
            yield series
    if any(file.suffix.lower() == ".dcm" for file in files):
        found = True
        yield from dicom_folder(path)
    if not found:
        raise ScanError(
            f"{path}: there is no image in it; expected .png, .jpg, .tif, .nii, .nii.gz, .npz or .dcm files"
        )


def _patient(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts if file != root else (file.name,)
    return parts[0] if len(parts) > 1 else file.name.partition(".")[0]


def _read(file: Path, patient: str) -> Iterator[ImageSeries]:
    name = file.name.lower()
    if name.endswith(_PICTURES):
        yield from _series(patient, file.stem, _picture(file)[None])
    elif name.endswith((".nii", ".nii.gz")):
        volume = _nifti(file)
        for index in range(volume.shape[2]):
            yield from _series(patient, f"{file.name.partition('.')[0]}-{index:03d}", volume[:, :, index].T[None])
    elif name.endswith(".npz"):
        yield from _npz(file, patient)


def _npz(file: Path, patient: str) -> Iterator[ImageSeries]:
    arrays = read_arrays(file, ("images", "names"))
    if "names" in arrays:
        yield from static_npz(file)
        return
    images = arrays.get("images", np.zeros(0))
    if images.ndim not in (3, 4):
        raise ScanError(f"{file}: images have the shape {images.shape}, expected (image, y, x) or (slice, frame, y, x)")
    for index, frames in enumerate(images if images.ndim == 4 else images[:, None]):
        yield from _series(patient, f"{file.stem}-{index:03d}", frames)


def _series(patient: str, name: str, images: np.ndarray) -> Iterator[ImageSeries]:
    if images.any():
        yield ImageSeries(patient, name, np.abs(images).astype(np.float32), _PIXEL_MM)


def _picture(file: Path) -> np.ndarray:
    """First channel of a picture."""
    pillow = _package("PIL.Image", "pillow", file)
    try:
        with pillow.open(file) as picture:
            pixels = np.asarray(picture)
    except (OSError, SyntaxError) as error:
        raise ScanError(f"{file} cannot be read, it is damaged or not a picture: {error}") from error
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def _nifti(file: Path) -> np.ndarray:
    """Volume (x, y, slice); the first of a series of volumes."""
    nibabel = _package("nibabel", "nibabel", file)
    try:
        volume = np.asarray(nibabel.load(file).dataobj)
    except (OSError, ValueError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        raise ScanError(f"{file} cannot be read, it is damaged or not a NIfTI file: {error}") from error
    volume = volume.reshape(*volume.shape[:3], -1)[..., 0] if volume.ndim > 3 else volume
    return volume if volume.ndim == 3 else volume[:, :, None]


def _package(module: str, package: str, file: Path) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ScanError(f"{file} needs the package {package}: pip install {package}") from error
