"""HDF5 files with helpful errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from onebreath.errors import ScanError


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises
    ------
    ScanError
        If the file is missing, truncated or of another format, or a part of it cannot be decoded.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        reason = "there is no such file" if not path.exists() else f"it is truncated or not an HDF5 file ({error})"
        raise ScanError(f"{path} cannot be read: {reason}") from error
