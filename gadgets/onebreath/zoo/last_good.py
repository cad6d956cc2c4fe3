"""Cache of folders that are read again when they change, and keep their last good content while they are invalid.

A site changes models and rules while scans run. The next scan uses the new ones; a running scan keeps its own, as it
holds the value itself; and an invalid new version replaces nothing.
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
"""Attempts to read a folder, and pauses between them: while it is replaced it may be missing, or mix two versions."""


@dataclass(frozen=True)
class Kept(Generic[T]):
    """Content of a folder, and a warning if it is an older version; empty if it is current."""

    value: T
    warning: str = ""


class LastGood(Generic[T]):
    """Cache of the contents of folders.

    Parameters
    ----------
    read
        Function that reads a folder; raises an OnebreathError if it is invalid.
    pattern
        Wildcard of the files whose changes invalidate the cache.
    """

    def __init__(self, read: Callable[[Path], T], pattern: str) -> None:
        self._read, self._pattern = read, pattern
        self._good: dict[Path, T] = {}
        self._last: dict[Path, tuple[Signature, Kept[T]]] = {}
        self._lock = threading.Lock()

    def get(self, folder: Path) -> Kept[T]:
        """Content of a folder.

        Raises
        ------
        OnebreathError
            From `read`, if this process has seen no good version.
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
        """Content of a folder; any exception becomes an OnebreathError, so that the last good content is kept."""
        try:
            return self._read(folder)
        except OnebreathError:
            raise
        except Exception as error:
            log.exception("%s cannot be read", folder)
            raise ConfigError(f"{folder} cannot be read: {type(error).__name__}: {shortened(error)}") from error

    def known(self, folder: Path) -> bool:
        """Whether this process has seen a good version of the folder."""
        return folder in self._good

    def _read_whole(self, folder: Path) -> tuple[Signature, T]:
        """Signature and content of a folder that did not change while it was read."""
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
    """Names, times, sizes and inodes of a folder's files; empty if the folder does not exist."""
    found = []
    for path in sorted(folder.glob(pattern)):
        try:
            status = path.stat()
        except OSError:  # removed meanwhile, or a broken link
            continue
        found.append((path.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
