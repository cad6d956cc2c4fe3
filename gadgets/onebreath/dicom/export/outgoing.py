"""Images of one scan on their way to the process that makes instances of them: a file that is there whole or not."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import h5py
import ismrmrd
import numpy as np

from onebreath.errors import ScanError
from onebreath.images.reading import Series, read_images
from onebreath.mrd.header import ScanHeader
from onebreath.wire.connection import parse_header
from onebreath.wire.image_file import ImageFile
from onebreath.wire.messages import HeaderText

GROUP, HEADER = "images", "header"
SUFFIX = ".h5"


def keep(folder: Path, scan: str, header: bytes, images: Sequence[ismrmrd.Image]) -> Path:
    """Write the images of a scan and its ISMRMRD header, flushed to disk; return the file.

    Raises
    ------
    OSError, ConfigError
        If the disk does not take them.
    ScanError
        If images of one series differ in size or type.
    """
    path = folder / f"{time.time_ns():020d}-{scan}{SUFFIX}"
    part = folder / f".{path.name}"
    try:
        with ImageFile(part, GROUP, private=True, anew=True) as file:
            for image in images:
                file.append(image)
        with h5py.File(part, "a") as stored:
            stored[HEADER] = np.frombuffer(header, np.uint8)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        return part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def kept(folder: Path) -> list[Path]:
    """Return the files that wait, the oldest first."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def scan_of(path: Path) -> str:
    """Return the identifier of the scan whose images a file holds."""
    return path.stem.partition("-")[2]


def ended_at(path: Path) -> float:
    """Return when the scan ended, in seconds since 1970."""
    return int(path.stem.partition("-")[0]) / 1e9


def read(path: Path) -> tuple[list[Series], ScanHeader | None]:
    """Return the series of a file, and the header of their scan, if one is known.

    Raises
    ------
    ScanError
        If it cannot be read.
    """
    series = read_images(path, GROUP)
    try:
        with h5py.File(path, "r") as stored:
            header = stored[HEADER][:].tobytes()
    except (OSError, KeyError) as error:
        raise ScanError(f"{path} cannot be read: {error}") from error
    return series, ScanHeader(parse_header(HeaderText(header))) if header else None
