"""A folder as a store, where no storage server is at hand."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from onebreath.keeping import DAMAGED, private_folder, set_aside
from onebreath.storage.base import TIME_TO_LIVE, StorageError, Tags

KEY = "key"
LENGTH = 32  # bytes of the key
SEAL = 32  # bytes of the digest at the end of a file
NAME = re.compile(r"[a-z0-9_]{1,100}")


class _Entry(NamedTuple):
    """What a file's name says."""

    created_ns: int
    expires: int
    name: str
    device: str
    session: str
    measurement: str


class FolderStore:
    """Data in files that only their owner can read; patients' and scans' ids stand in no name, only keyed digests.

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
                content = _unsealed(path)
                if content is not None:
                    return content
            return None
        except OSError as error:
            raise StorageError(f"{self.where} cannot be read: {error}") from error

    def put(self, tags: Tags, content: bytes, seconds: int = TIME_TO_LIVE) -> None:
        """Keep data, and remove what is past its time; see `Store`."""
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
            target = folder / ".".join(map(str, entry))
            part = folder / f".{secrets.token_hex(8)}"
            try:
                _write(part, content + hashlib.sha256(content).digest())
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{self.where} cannot be written: {error}") from error

    def check(self) -> None:
        """Raise StorageError if the folder cannot be had."""
        try:
            self._key(make=True)
        except OSError as error:
            raise StorageError(f"{self.where} cannot be written: {error}") from error

    def _key(self, *, make: bool) -> bytes | None:
        """Read the key of the digests; without it nobody can try patients' ids against the names."""
        path = self.root / KEY
        key = _key_in(path)
        if key is None and make:
            private_folder(self.root)
            part = self.root / f".{secrets.token_hex(8)}"
            made = secrets.token_bytes(LENGTH)
            try:
                _write(part, made + hashlib.sha256(made).digest())
                os.link(part, path)  # unlike a rename, it leaves a key that another process has made meanwhile
            except FileExistsError:
                pass
            finally:
                part.unlink(missing_ok=True)
            key = _key_in(path)
        return key

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


def _key_in(path: Path) -> bytes | None:
    """Read the key; None if there is none, or it is damaged, and set aside: what lies under it is not found again."""
    if not path.exists():
        return None
    whole = path.read_bytes()
    return whole if len(whole) == LENGTH else _unsealed(path)  # before keys had digests they had their length


def _unsealed(path: Path) -> bytes | None:
    """Read a file that ends with its digest; None, and it is set aside, if that does not fit."""
    whole = path.read_bytes()
    content, digest = whole[:-SEAL], whole[-SEAL:]
    if hashlib.sha256(content).digest() == digest:
        return content
    set_aside(path, "its digest does not fit its content")
    return None


def _write(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, down to the disk."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _entries(folder: Path) -> Iterator[tuple[_Entry, Path]]:
    for path in folder.iterdir() if folder.is_dir() else ():
        parts = path.name.split(".")
        if len(parts) == len(_Entry._fields) and parts[0].isdecimal() and parts[1].isdecimal():
            yield _Entry(int(parts[0]), int(parts[1]), *parts[2:]), path


def _fits(entry: _Entry, wanted: _Entry, tags: Tags) -> bool:
    """Whether a file has all tags that are stated."""
    stated = {name for name, _ in tags.pairs()} - {"subject"}
    return all(getattr(entry, name) == getattr(wanted, name) for name in stated)
