"""Folders that are read again when they change, and whose last good content stays in force while they are wrong.

A site changes models and rules while scans run. The next scan uses the new ones; one that has begun keeps its own,
since it holds the value itself; and a new version that is broken replaces nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from onebreath.errors import ConfigError, OnebreathError
from onebreath.names import shortened

log = logging.getLogger("onebreath.zoo")

T = TypeVar("T")
Signature = tuple[tuple[str, int, int, int], ...]

_ATTEMPTS = 4
_PAUSE_S = 0.02
"""A folder that is being exchanged is gone for a moment, or its files belong to two versions; it is read again."""


@dataclass(frozen=True)
class Kept(Generic[T]):
    """The content of a folder, and why it is an older one; empty: it is what the folder holds now."""

    value: T
    warning: str = ""


class LastGood(Generic[T]):
    """Contents of folders, by folder.

    Parameters
    ----------
    read
        Reads a folder; raises an OnebreathError if it is wrong.
    pattern
        Wildcard of the files whose change makes it read again.
    """

    def __init__(self, read: Callable[[Path], T], pattern: str) -> None:
        self._read, self._pattern = read, pattern
        self._good: dict[Path, T] = {}
        self._last: dict[Path, tuple[Signature, Kept[T]]] = {}
        self._lock = threading.Lock()

    def get(self, folder: Path) -> Kept[T]:
        """Return the content of a folder.

        Raises
        ------
        OnebreathError
            What `read` raises, if this process never saw a good version.
        """
        with self._lock:
            known = self._last.get(folder)
            if known is not None and known[0] == signature(folder, self._pattern):
                return known[1]
            try:
                seen, value = self._read_whole(folder)
            except OnebreathError as error:
                if folder not in self._good:
                    raise
                seen, kept = signature(folder, self._pattern), Kept(self._good[folder], str(error))
                log.error("%s is wrong, its last good version stays in force: %s", folder, error)
            else:
                self._good[folder], kept = value, Kept(value)
            self._last[folder] = seen, kept
            return kept

    def _converted(self, folder: Path) -> T:
        """Read a folder; an unexpected exception counts as an error, so that the last good content stays in force."""
        try:
            return self._read(folder)
        except OnebreathError:
            raise
        except Exception as error:
            log.exception("%s cannot be read", folder)
            raise ConfigError(f"{folder} cannot be read: {type(error).__name__}: {shortened(error)}") from error

    def known(self, folder: Path) -> bool:
        """Return whether a good version of the folder was seen in this process."""
        return folder in self._good

    def _read_whole(self, folder: Path) -> tuple[Signature, T]:
        """Read a folder that does not change meanwhile."""
        for attempt in range(1, _ATTEMPTS + 1):
            before = signature(folder, self._pattern)
            try:
                value = self._converted(folder)
            except OnebreathError:
                if attempt == _ATTEMPTS or (before and signature(folder, self._pattern) == before):
                    raise
            else:
                if attempt == _ATTEMPTS or signature(folder, self._pattern) == before:
                    return before, value
            time.sleep(_PAUSE_S)
        raise AssertionError("the last attempt returns or raises")


def signature(folder: Path, pattern: str) -> Signature:
    """Names, times, sizes and inodes of a folder's files; empty if it is not there."""
    found = []
    for path in sorted(folder.glob(pattern)):
        try:
            status = path.stat()
        except OSError:  # it went away meanwhile, or is a link to nothing: as good as not there
            continue
        found.append((path.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
