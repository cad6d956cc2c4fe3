"""A folder as a store, where there is no storage server."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from onebreath.keeping import DAMAGED, private_folder, sealed, secret, unsealed, write
from onebreath.storage.base import TIME_TO_LIVE, StorageError, Tags

KEY = "key"
NAME = re.compile(r"[a-z0-9_]{1,100}")


class _Entry(NamedTuple):
    """The fields of a file's name."""

    created_ns: int
    expires: int
    name: str
    device: str
    session: str
    measurement: str


class FolderStore:
    """Store of files that only their owner can read; their names hold keyed digests, not ids of patients and scans.

    Parameters
    ----------
    root
        The folder; it is made when first written to.
    now
        Seconds since 1970.
    """

    def __init__(self, root: Path, now: Callable[[], float] = time.time) -> None:
        self.root = root
        self.now = now

    @property
    def where(self) -> str:
        """The folder."""
        return f"folder {self.root}"

    @property
    def kind(self) -> str:
        """What it is, without its path."""
        return "folder of stored data"

    def latest(self, tags: Tags) -> bytes | None:
        """Return the newest data that have these tags, or None; see `Store`."""
        try:
            key = self._key(make=False)
            if key is None:
                return None
            wanted = self._entry(key, tags, 0)
            found = [
                (entry, path)
                for entry, path in _entries(self._subject(key, tags))
                if entry.expires > self.now() and _fits(entry, wanted, tags)
            ]
            for _, path in sorted(found, reverse=True):
                content = unsealed(path)
                if content is not None:
                    return content
            return None
        except OSError as error:
            raise self._failed("read", error) from error

    def put(self, tags: Tags, content: bytes, seconds: int = TIME_TO_LIVE) -> None:
        """Keep data, and remove expired data; see `Store`."""
        if not NAME.fullmatch(tags.name):
            raise StorageError(f"'{tags.name}' is no name for stored data; it takes a-z, 0-9 and _")
        try:
            key = self._key(make=True)
            if key is None:
                raise OSError(errno.EIO, "the key was damaged")
            folder = self._subject(key, tags)
            private_folder(folder)
            self._clean()
            entry = self._entry(key, tags, seconds)
            last = max((old.created_ns for old, _ in _entries(folder)), default=0)
            entry = entry._replace(created_ns=max(entry.created_ns, last + 1))  # however the clock jumps
            write(folder / ".".join(map(str, entry)), sealed(content))
        except OSError as error:
            raise self._failed("written", error) from error

    def check(self) -> None:
        """Raise StorageError if the folder cannot be used."""
        try:
            self._key(make=True)
        except OSError as error:
            raise self._failed("written", error) from error

    def _failed(self, what: str, error: OSError) -> StorageError:
        """Return an error that names the folder, not a file in it, of whose hidden names nobody knows."""
        reason = os.strerror(error.errno) if error.errno else "no reason given"
        return StorageError(
            f"{self.where} cannot be {what}: {error.strerror or error}", f"{self.kind} cannot be {what}: {reason}"
        )

    def _key(self, *, make: bool) -> bytes | None:
        """Read the key of the digests; without it nobody can try patients' ids against the names."""
        return secret(self.root / KEY, make=make)

    def _subject(self, key: bytes, tags: Tags) -> Path:
        return self.root / _digest(key, tags.subject)

    def _entry(self, key: bytes, tags: Tags, seconds: int) -> _Entry:
        digests = (_digest(key, value) for value in (tags.device, tags.session, tags.measurement))
        now = self.now()
        return _Entry(int(now * 1e9), int(now + seconds), tags.name, *digests)

    def _clean(self) -> None:
        for folder in self.root.iterdir():
            if folder.is_dir():
                for entry, path in _entries(folder):
                    if not 0 < entry.expires - self.now() < 2 * TIME_TO_LIVE:  # past its time, or of a wrong clock
                        path.unlink(missing_ok=True)
                for path in folder.glob(f"{DAMAGED}*"):
                    if path.stat().st_mtime + TIME_TO_LIVE <= self.now():
                        path.unlink(missing_ok=True)


def _digest(key: bytes, value: str) -> str:
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:32] if value else "-"


def _entries(folder: Path) -> Iterator[tuple[_Entry, Path]]:
    for path in folder.iterdir() if folder.is_dir() else ():
        parts = path.name.split(".")
        if len(parts) == len(_Entry._fields) and parts[0].isdecimal() and parts[1].isdecimal():
            yield _Entry(int(parts[0]), int(parts[1]), *parts[2:]), path


def _fits(entry: _Entry, wanted: _Entry, tags: Tags) -> bool:
    """Return whether a file has all tags that are stated."""
    stated = {name for name, _ in tags.pairs()} - {"subject"}
    return all(getattr(entry, name) == getattr(wanted, name) for name in stated)
