"""ISMRMRD files of images, written image by image."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
from ismrmrd.hdf5 import get_hdf5type, image_header_dtype

from onebreath.errors import ConfigError, ScanError
from onebreath.keeping import behind, cannot_write, create
from onebreath.wire.messages import ascii_meta
from onebreath.wire.one_writer import OneWriter

MARGIN = 1 << 18
"""Bytes that HDF5 needs at most besides an image and its meta."""
INCOMPLETE = "incomplete"
"""Attribute of a group whose scan failed: why images are missing in it."""
_LONGEST_REASON = 8000
"""Characters that are kept of it: HDF5 stores no attribute above 64 KiB."""


def check_group(name: str) -> None:
    """Refuse a name that HDF5 takes for a path, where no reader would look for images; raises ConfigError."""
    if not name.strip() or name == "." or "/" in name or not name.isprintable():
        raise ConfigError(f"'{name}' cannot be the name of a group of images: give one without '/', other than '.'.")


class ImageFile:
    """Images of a reconstruction, written as ``/<group>/image_<series>/{data,header,attributes}``.

    The layout is that of ``gadgetron_ismrmrd_client``: data (image, channel, z, y, x). The images go to a file beside
    it, ``.<name>.<random>.part``, which takes its place at the end: the file is never seen half written. An error
    keeps the images before it, unless it was the disk that failed, and notes in their group that others are missing.
    They never replace a whole file, but go to ``<name>_incomplete`` beside it. A second writer of the same file is
    refused, from the first to the last moment of the first one.

    Parameters
    ----------
    path
        The file; created, or extended if it exists. Behind a link it is the file itself, unless it is private.
    group
        Group of this reconstruction: a new one, as images of two scans in one would be taken for one series.
    private
        Whether only the owner may read the file, whatever the umask.
    anew
        Whether a file that exists is replaced rather than extended.
    numbered
        Whether a group that exists already gives this one a number; else it is an error.

    Attributes
    ----------
    incomplete
        Why images are missing; set by who notices that the scan failed. An exception sets it, too.
    written
        The file that holds the images, once they are written.
    """

    def __init__(
        self, path: str | Path, group: str, *, private: bool = False, anew: bool = False, numbered: bool = False
    ) -> None:
        self.path, self.private, self._anew, self._numbered = Path(path), private, anew, numbered
        if not private:  # else the link would become a copy, and the file itself stay as it was
            self.path = behind(self.path)
        check_group(group)
        self.group = group
        self.incomplete = ""
        self.written: Path | None = None
        self.series: dict[int, int] = {}
        self._writer = OneWriter(self.path)
        self._part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        self._disk_failed = False
        self._file: h5py.File | None = None
        self._stored: dict[int, tuple[h5py.Dataset, h5py.Dataset, h5py.Dataset]] = {}

    def __enter__(self) -> ImageFile:
        with self._writing():
            self._writer.take()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if self._file is not None:
                self._finish(self._file, exception)
        finally:
            self._part.unlink(missing_ok=True)
            self._writer.release()

    def _finish(self, file: h5py.File, exception: tuple[object, ...]) -> None:
        """Close the file that was put together, and let it take its place."""
        error = next((one for one in exception if isinstance(one, BaseException)), None)
        if error is not None and not self.incomplete:
            self.incomplete = str(error) or f"it was ended by {type(error).__name__}"
        with self._writing():
            if self.incomplete and not self._disk_failed and self.group in file:
                # As a plain str: h5py stores no subclass of it, such as the texts that a server sent.
                file[self.group].attrs[INCOMPLETE] = str(self.incomplete)[:_LONGEST_REASON]
            file.close()
            if not self._disk_failed:
                target = self._beside() if self._anew and self.incomplete and self.path.exists() else self.path
                self._part.replace(target)
                self.written = target

    def _beside(self) -> Path:
        """Return a new file for images that shall not replace whole ones."""
        names = (f"{self.path.stem}_incomplete{number or ''}{self.path.suffix}" for number in count())
        return next(path for path in map(self.path.with_name, names) if not path.exists())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn errors of writing into a readable ConfigError; h5py raises several types."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            self._disk_failed = True
            raise ConfigError(cannot_write("The images", self.path, error)) from error

    def append(self, image: ismrmrd.Image) -> None:
        """Write one image.

        Raises
        ------
        ScanError
            If its size or type differs from the earlier ones of its series.
        ConfigError
            If the file cannot be written, or has the group already.
        """
        with self._writing():
            self._append(image)

    def _append(self, image: ismrmrd.Image) -> None:
        number = int(image.image_series_index)
        data = np.ascontiguousarray(image.data).view(get_hdf5type(image.data_type))
        if number not in self._stored:
            self._stored[number] = self._open(number, data)
        self._reserve(data.nbytes + len(image.attribute_string))
        values, headers, attributes = self._stored[number]
        if values.shape[1:] != data.shape or values.dtype != data.dtype:
            raise ScanError(
                f"{self.path}: image series {number} holds images {values.shape[1:]} {values.dtype}, now one of "
                f"{data.shape} {data.dtype} came"
            )
        row = values.shape[0]
        for dataset in (values, headers, attributes):
            dataset.resize(row + 1, axis=0)
        values[row] = data
        headers[row] = np.frombuffer(image.getHead(), dtype=image_header_dtype)[0]
        attributes[row] = ascii_meta(image.attribute_string)
        values.file.flush()
        self.series[number] = self.series.get(number, 0) + 1

    def _reserve(self, size: int) -> None:
        """Reserve disk space for this many more bytes: HDF5 does not recover from a failed write.

        What is not used of it is given back when HDF5 next flushes.
        """
        with self._part.open("r+b") as file:
            os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size + MARGIN)

    def _new_group(self, file: h5py.File) -> str:
        """Return the name of this reconstruction's group, which the file does not have yet."""
        name, number = self.group, 1
        while name in file:
            if not self._numbered:
                self._disk_failed = True  # the file stays as it is
                raise ConfigError(
                    f"{self.path} has a group {name} already; the images need one of their own: name another"
                )
            number += 1
            name = f"{self.group}_{number}"
        return name

    def _open(self, number: int, data: np.ndarray) -> tuple[h5py.Dataset, h5py.Dataset, h5py.Dataset]:
        """Open or create the three datasets of a series."""
        if self._file is None:
            self._writer.take()
            if self._writer.alone:  # nobody works on what killed processes have left behind
                for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.????????.part"):
                    left.unlink(missing_ok=True)
            extended = self.path.exists() and not self._anew
            if extended:
                shutil.copy(self.path, self._part)  # with its mode
            elif self.private:
                create(self._part)
            else:
                self._part.touch()
            self._reserve(0)
            # Opening keeps the mode of a file; a new one counts its groups, for whoever asks for the last of them.
            self._file = h5py.File(self._part, "a") if extended else h5py.File(self._part, "w", track_order=True)
            self.group = self._new_group(self._file)
        stored = self._file.require_group(f"{self.group}/image_{number}")
        if "data" not in stored:
            more = (None, *data.shape)
            chunks = (1, *data.shape)  # each with a checksum, so that no reader takes a damaged image for a whole one
            stored.create_dataset("data", (0, *data.shape), data.dtype, maxshape=more, chunks=chunks, fletcher32=True)
            stored.create_dataset("header", (0,), image_header_dtype, maxshape=(None,), chunks=(64,), fletcher32=True)
            stored.create_dataset("attributes", (0,), h5py.string_dtype(), maxshape=(None,), chunks=(64,))
        return stored["data"], stored["header"], stored["attributes"]
