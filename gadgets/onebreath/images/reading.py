"""Image files as ``onebreath replay`` and ``gadgetron_ismrmrd_client`` write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from ismrmrd.hdf5 import image_header_dtype
from numpy.typing import NDArray

from onebreath.errors import ScanError, WireError
from onebreath.images.groups import last_of
from onebreath.wire import h5_guard
from onebreath.wire.raw_file import unreadable
from onebreath.wire.xml_guard import read_meta

PARTS = {1: "magnitude", 2: "phase", 3: "real", 4: "imaginary", 5: "complex"}
"""What an image shows, by MRD's image type."""


@dataclass(frozen=True)
class Series:
    """The images of one series.

    Attributes
    ----------
    number
        Of the series.
    data
        Pixels as they are stored (image, channel, z, y, x).
    metas
        Meta of each image.
    headers
        ISMRMRD image headers (image,), a structured array; empty where the file holds none.
    """

    number: int
    data: np.ndarray
    metas: list[dict[str, Any]]
    headers: np.ndarray = field(default_factory=lambda: np.zeros(0, image_header_dtype))

    def values(self, image: int) -> NDArray[Any]:
        """Return one image (channel, z, y, x) in the units of the reconstruction; complex or float32.

        Integer pixels are scaled back by what the meta says; without such a meta a pixel is its own value.
        """
        return self._scaled(self.data[image], image)

    def picture(self, image: int, z: int) -> NDArray[Any]:
        """Return one slice (y, x) of the first channel of an image, in the units of the reconstruction."""
        return self._scaled(self.data[image, 0, z], image)

    def _scaled(self, pixels: np.ndarray, image: int) -> NDArray[Any]:
        if np.iscomplexobj(pixels):
            return np.asarray(pixels, np.complex64)
        slope, intercept = self.rescale(image)
        return np.asarray(pixels, np.float32) * np.float32(slope) + np.float32(intercept)

    def rescale(self, image: int) -> tuple[float, float]:
        """Return slope and intercept from a stored pixel of an image to its value; 1 and 0 where none are stated.

        Raises
        ------
        ScanError
            If the meta states what is no number.
        """
        meta = self.metas[image]
        try:
            if "GADGETRON_ScaleRatio" in meta:
                ratio, offset = float(meta["GADGETRON_ScaleRatio"]), float(meta.get("GADGETRON_ScaleOffset", 0))
                return 1 / ratio, 0.0 - offset / ratio
            return float(meta.get("RescaleSlope", 1)), float(meta.get("RescaleIntercept", 0))
        except (TypeError, ValueError, ZeroDivisionError) as error:
            place = f"image {image + 1} of series {self.number}"
            raise ScanError(f"the scale in the meta of {place} is none: {error}") from error

    @property
    def role(self) -> str:
        """What the pixels are: ``Image``, or the kind of map (``Gfactor``, ``SNR_MAP``, ``Normality``, ...)."""
        return str(self.metas[0].get("GADGETRON_DataRole", "Image")) if self.metas else "Image"

    @property
    def part(self) -> str:
        """The part of a complex image that was sent: magnitude, phase, real, imaginary or complex."""
        if np.iscomplexobj(self.data):
            return "complex"
        return PARTS.get(int(self.headers["image_type"][0]), "magnitude") if len(self.headers) else "magnitude"

    def said(self, name: str) -> list[str]:
        """Return the values of a meta entry over all images, each once, in the order they come in."""
        return list(dict.fromkeys(str(meta[name]) for meta in self.metas if name in meta))


def read_series(path: Path, group: str | None = None) -> list[Series]:
    """Read all series of a reconstruction.

    Parameters
    ----------
    path
        A file as ``onebreath replay`` or ``gadgetron_ismrmrd_client`` writes it.
    group
        Which reconstruction; None: the one that was made last.

    Raises
    ------
    ScanError
        If the file cannot be read or holds no images, or nothing tells which of several was made last.
    """
    with _open(path) as file:
        chosen = _group_of(file, path, group)
        return [_read(number, chosen[name]) for number, name in _numbered(chosen)]


def read_images(path: Path, group: str | None = None) -> list[Series]:
    """Read all series of a reconstruction for use outside the chain, where every image needs its header.

    Raises
    ------
    ScanError
        As `read_series`, or if an image lacks its header or meta.
    """
    return _whole(path, read_series(path, group))


def _whole(path: Path, found: list[Series]) -> list[Series]:
    """Return the series; raise ScanError where an image lacks its header or meta."""
    for series in found:
        if not len(series.data) == len(series.headers) == len(series.metas) or series.data.ndim != 5:
            raise ScanError(
                f"{path}: series {series.number} has {len(series.data)} images of {series.data.ndim - 1} axes, "
                f"{len(series.headers)} headers and {len(series.metas)} metas; they do not fit together"
            )
    return found


@contextmanager
def images_of(path: Path, group: str | None = None) -> Iterator[list[Series]]:
    """Yield all series of a reconstruction, as `read_images`, but pixels are read when they are indexed.

    What is too large for the memory can be used image by image, while the body runs.

    Raises
    ------
    ScanError
        As `read_images`.
    """
    with _open(path) as file:
        chosen = _group_of(file, path, group)
        yield _whole(path, [_read(number, chosen[name], whole=False) for number, name in _numbered(chosen)])


class StoredPixels:
    """Pixels (image, channel, z, y, x) that lie in a file, and are read as far as they are indexed."""

    def __init__(self, stored: h5py.Dataset) -> None:
        self._stored = stored
        self.shape: tuple[int, ...] = stored.shape
        self.ndim = len(self.shape)
        self.dtype: np.dtype[Any] = _complex(np.zeros(0, stored.dtype)).dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        return _complex(self._stored[index])


def _series_of(group: h5py.Group) -> dict[int, str]:
    parts = [(name, name.rpartition("_")[2]) for name in group if name.startswith("image_")]
    return {int(number): name for name, number in parts if number.isdecimal()}


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    opened = False
    try:
        with h5_guard.open_file(path) as file:
            opened = True
            yield file
    except OSError as error:
        if opened and error.errno is not None:  # the system's, of what is done with the images; HDF5's have no number
            raise
        why = h5_guard.why_unread(error) if opened else unreadable(path, error)
        raise ScanError(f"{path} cannot be read: {why}") from error


def _group_of(file: h5py.File, path: Path, group: str | None) -> h5py.Group:
    groups = [name for name, item in file.items() if isinstance(item, h5py.Group) and _series_of(item)]
    if not groups or (group is not None and group not in groups):
        there = f"it has {', '.join(groups)}" if groups else "it holds no images at all"
        raise ScanError(f"{path} has no images{f' in group {group}' if group else ''}; {there}")
    return file[group or last_of(file, path, groups)]


def _numbered(group: h5py.Group) -> list[tuple[int, str]]:
    return sorted(_series_of(group).items())


def _read(number: int, stored: h5py.Group, *, whole: bool = True) -> Series:
    texts = h5_guard.whole(stored, "attributes")
    headers = h5_guard.whole(stored, "header") if "header" in stored else np.zeros(0, image_header_dtype)
    if whole:
        data = _complex(h5_guard.whole(stored, "data"))
    else:
        data = cast("np.ndarray", StoredPixels(h5_guard.array(stored, "data")))
    return Series(number, data, _metas(number, texts), headers)


def _complex(data: np.ndarray) -> np.ndarray:
    """Return pixels stored as records of real and imaginary part as complex numbers."""
    if data.dtype.names == ("real", "imag"):
        return data.view(np.complex64 if data.dtype["real"].itemsize == 4 else np.complex128)
    return data


def _metas(number: int, texts: np.ndarray) -> list[dict[str, Any]]:
    metas = []
    for place, text in enumerate(map(str, texts), 1):
        try:
            metas.append(dict(read_meta(text, f"the meta of image {place}, series {number},")))
        except WireError as error:
            raise ScanError(str(error)) from error
    return metas
