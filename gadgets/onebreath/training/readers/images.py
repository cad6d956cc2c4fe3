"""Reader of folders of magnitude images: PNG and other pictures, NIfTI, npz and DICOM files, also in sub-folders."""

from __future__ import annotations

import importlib
import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from onebreath.errors import ScanError
from onebreath.training.data.series import ImageSeries
from onebreath.training.readers.dicom import dicom_folder, is_dicom
from onebreath.training.readers.magnitude import magnitudes, read_arrays, static_npz

LOG = logging.getLogger("onebreath.training")
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_NIFTI = (".nii", ".nii.gz")
_ARRAYS = (".npz",)
_PIXEL_MM = (1.0, 1.0)
"""Pixel size of files that do not state it; networks for magnitude images ignore it."""
# Modes of pictures whose first channel is the brightness; the number of a palette's colour, for example, is not.
_GREY = ("1", "L", "LA", "La", "I", "F")


def image_folder(path: Path) -> Iterator[ImageSeries]:
    """Yield all images below a folder, or of one file; images of zeros are skipped.

    The patient is the name of the file's folder directly below `path`, else that of the file; npz files with ``names``
    and DICOM files state it themselves. The volumes of a NIfTI file are the frames of its slices, the pages of a TIFF
    file are images of their own. Files of other kinds are left out, and the log says so.

    Raises
    ------
    ScanError
        If there is no image, a file is damaged or holds no magnitudes, or the package for its format is not installed.
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    known = [file for file in files if file.name.lower().endswith((*_PICTURES, *_NIFTI, *_ARRAYS))]
    others = [file for file in files if file not in set(known)]
    slices = [file for file in others if is_dicom(file)]
    found = False
    for file in known:
        for series in _read(file, _patient(file, path)):
            found = True
            yield series
    if slices:
        found = True
        yield from dicom_folder(path)
    if not found:
        raise ScanError(
            f"{path}: there is no image in it; expected .png, .jpg, .tif, .nii, .nii.gz, .npz or DICOM files"
        )
    if ignored := len(others) - len(slices):
        LOG.info("%s: %d files are left out, as they are no pictures, NIfTI, npz or DICOM files", path, ignored)


def _patient(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts if file != root else (file.name,)
    return parts[0] if len(parts) > 1 else file.name.partition(".")[0]


def _read(file: Path, patient: str) -> Iterator[ImageSeries]:
    name = file.name.lower()
    if name.endswith(_PICTURES):
        pages = _pages(file)
        for index, pixels in enumerate(pages):
            yield from _series(patient, file.stem if len(pages) == 1 else f"{file.stem}-{index:03d}", pixels[None])
    elif name.endswith(_NIFTI):
        volumes = magnitudes(_nifti(file), file)
        for index in range(volumes.shape[2]):
            yield from _series(patient, f"{file.name.partition('.')[0]}-{index:03d}", volumes[:, :, index].T)
    else:
        yield from _npz(file, patient)


def _npz(file: Path, patient: str) -> Iterator[ImageSeries]:
    arrays = read_arrays(file, ("images", "names"))
    if "names" in arrays:
        yield from static_npz(file)
        return
    images = magnitudes(arrays.get("images", np.zeros(0)), file)
    if images.ndim not in (3, 4):
        raise ScanError(f"{file}: images have the shape {images.shape}, expected (image, y, x) or (slice, frame, y, x)")
    for index, frames in enumerate(images if images.ndim == 4 else images[:, None]):
        yield from _series(patient, f"{file.stem}-{index:03d}", frames)


def _series(patient: str, name: str, images: np.ndarray) -> Iterator[ImageSeries]:
    if images.any():
        yield ImageSeries(patient, name, images.astype(np.float32), _PIXEL_MM)


def _pages(file: Path) -> list[np.ndarray]:
    """Brightness, or the first colour, of all pages of a picture."""
    pillow, sequences = _package("PIL.Image", "pillow", file), _package("PIL.ImageSequence", "pillow", file)
    try:
        with pillow.open(file) as picture:
            return [_brightness(page) for page in sequences.Iterator(picture)]
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ScanError(f"{file} cannot be read, it is damaged or not a picture: {error}") from error


def _brightness(page: Any) -> np.ndarray:
    grey = page.mode in _GREY or page.mode.startswith("I;16")
    pixels = np.array(page if grey else page.convert("RGB"))
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def _nifti(file: Path) -> np.ndarray:
    """Volumes (x, y, slice, volume)."""
    nibabel = _package("nibabel", "nibabel", file)
    try:
        volumes = np.asarray(nibabel.load(file).dataobj)
    except (OSError, ValueError, EOFError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise ScanError(f"{file} cannot be read, it is damaged or not a NIfTI file: {error}") from error
    shape = volumes.shape
    if len(shape) < 2 or max(shape[4:], default=1) > 1:
        raise ScanError(f"{file}: the shape is {shape}, expected (x, y), (x, y, slice) or (x, y, slice, volume)")
    return volumes.reshape(*shape[:4], *(1 for _ in range(4 - len(shape))))


def _package(module: str, package: str, file: Path) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ScanError(f"{file} needs the package {package}: pip install {package}") from error
