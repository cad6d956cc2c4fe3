"""HDF5 files that somebody sent: no links out of them, and nothing larger than this computer is read at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from onebreath.errors import ScanError
from onebreath.wire.limits import half_of_memory

MOST_OBJECTS = 10_000  # groups and arrays of a file


def open_file(path: Path) -> h5py.File:
    """Open a file for reading.

    Raises
    ------
    OSError
        If it cannot be read, or is not HDF5.
    ScanError
        If it is a pipe or a device, leads to other files, leads nowhere, or has more than `MOST_OBJECTS` parts.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ScanError(f"{path} cannot be read: it is no file, but a pipe or a device")
    file = h5py.File(path, "r")
    try:
        _check(file, path)
    except BaseException:
        file.close()
        raise
    return file


def array(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return an array of a group; raises ScanError if there is none."""
    found = group.get(name) if isinstance(group, h5py.Group) else None
    if not isinstance(found, h5py.Dataset) or not found.shape:
        raise ScanError(f"{group.file.filename}: {group.name} holds no array '{name}'")
    return found


def whole(group: h5py.Group, name: str) -> np.ndarray[Any, Any]:
    """Read an array as a whole; texts as such. Raises ScanError if it is none, or larger than half of the memory."""
    found = array(group, name)
    check_room(found)
    try:
        return np.asarray(found.asstr()[:] if h5py.check_string_dtype(found.dtype) else found[:])
    except (OSError, UnicodeDecodeError) as error:
        raise ScanError(f"{group.file.filename}: {found.name} cannot be read: {why_unread(error)}") from error


def check_room(stored: h5py.Dataset, dtype: np.dtype[Any] | None = None) -> None:
    """Raise ScanError for an array that, with elements of this type, would take more than half of the memory."""
    count = int(np.prod([int(n) for n in stored.shape or ()], dtype=object))
    size = count * (stored.dtype if dtype is None else dtype).itemsize
    if size > half_of_memory():
        raise ScanError(
            f"{stored.file.filename}: {stored.name} says that it has {count} elements, {size / 1e9:.0f} GB; more "
            f"than {half_of_memory() / 1e9:.0f} GB are not read on this computer"
        )


def _check(file: h5py.File, path: Path) -> None:
    waiting: list[h5py.Group] = [file]
    seen, count = set(), 0
    while waiting:
        group = waiting.pop()
        for name in group:
            count += 1
            if count > MOST_OBJECTS:
                raise ScanError(f"{path} has more than {MOST_OBJECTS} groups and arrays")
            item = _item(group, name, path)
            place = h5py.h5o.get_info(item.id).addr
            if isinstance(item, h5py.Group) and place not in seen:
                waiting.append(item)
            seen.add(place)


def _item(group: h5py.Group, name: str, path: Path) -> Any:
    if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
        raise ScanError(f"{path}: {group.name} has a link to another file, '{name}'; put its content into this one")
    try:
        item = group[name]
    except (KeyError, RuntimeError, OSError) as error:
        raise ScanError(f"{path}: '{name}' in {group.name} cannot be read: {error}") from error
    if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
        raise ScanError(f"{path}: {item.name} has its values in other files; put them into this one")
    return item


def why_unread(error: Exception) -> str:
    """Return why stored values cannot be read; of a checksum that does not fit HDF5 says at most that one failed."""
    if "filter returned failure" in str(error) or "checksum" in str(error):
        return (
            "its values are damaged: a checksum does not fit, or they cannot be unpacked. Copy or make the file again"
        )
    return str(error)
