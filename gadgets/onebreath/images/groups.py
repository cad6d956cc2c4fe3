"""Which of the reconstructions in a file was made last: HDF5 lists groups by name, unless it was told to count them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import h5py

from onebreath.errors import ScanError

DATED = "%Y-%m-%d %H:%M:%S"
"""Names of groups that nobody named, by ``onebreath replay`` and ``gadgetron_ismrmrd_client``."""


def last_of(file: h5py.File, path: Path, names: Sequence[str]) -> str:
    """Return the group that was made last: by the file's own count, the times of its arrays, or its name, if a date.

    Raises
    ------
    ScanError
        If there are several, and nothing tells.
    """
    if len(names) == 1:
        return names[0]
    for ages in (_counted(file, names), _written(file, names), _dated(names)):
        if ages and ages.count(max(ages)) == 1:
            return names[ages.index(max(ages))]
    raise ScanError(
        f"{path} has images in the groups {', '.join(names)}, and nothing in it tells which was made last: name the "
        "group (option -G)."
    )


def _counted(file: h5py.File, names: Sequence[str]) -> list[float]:
    """Return the places of groups in the order of creation; empty if the file does not count."""
    found = [file.id.links.get_info(name.encode()) for name in names]
    return [float(link.corder) for link in found] if all(link.corder_valid for link in found) else []


def _written(file: h5py.File, names: Sequence[str]) -> list[float]:
    """Return when the newest array of each group was written, in s; empty if the file does not tell of all."""
    times = [max(_times(file[name]), default=0) for name in names]
    return [float(time) for time in times] if all(times) else []


def _times(group: h5py.Group) -> Iterator[int]:
    for item in group.values():
        for part in item.values() if isinstance(item, h5py.Group) else ():
            yield h5py.h5g.get_objinfo(part.id).mtime


def _dated(names: Sequence[str]) -> list[float]:
    """Return the dates that names of groups are, in s; empty if one is none."""
    try:
        return [(datetime.strptime(name, DATED) - datetime.min).total_seconds() for name in names]
    except ValueError:
        return []
