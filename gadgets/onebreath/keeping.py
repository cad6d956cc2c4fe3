"""Files that outlive a scan: private, written atomically, with digests, within a disk quota."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onebreath.errors import ConfigError
from onebreath.names import as_unicode

log = logging.getLogger("onebreath.keeping")

DAMAGED = ".damaged-"
"""Beginning of the name of a file that was set aside."""
DIGEST = "sha256"
SEAL = 32  # bytes of the digest at the end of a file
KEY = 32  # bytes of a key
LOOK = 1.0  # seconds for which a measurement of the folder's size is believed


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, for this user alone whatever the umask; return it.

    Raises
    ------
    OSError
        If it cannot be made, or belongs to somebody else who lets others in; if it is a link to a folder that others
        may enter: what a link leads to is not changed.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_mode & 0o077:
        if path.is_symlink():
            raise OSError(errno.ELOOP, f"{path} is a link to a folder that others may enter; make that 0700")
        path.chmod(0o700)
    return path


def create(path: Path) -> None:
    """Create an empty file that only its owner can read; raises OSError if it exists or cannot be made."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the name of a file beside `path` to write to; it replaces `path` at the end, or is removed after an error.

    Nobody sees a file that is half written. Raises OSError.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Write a private file atomically and flush it to disk; raises OSError."""
    with replacing(path) as part:
        write_new(part, content)


def behind(path: Path) -> Path:
    """Return the file that a link leads to, which is what whoever names the link means; any other path as it is."""
    return path.resolve() if path.is_symlink() and path.exists() else path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Replace a file as `replacing` does, behind a link the file itself, with a readable error that names the file.

    Raises
    ------
    ConfigError
        If it cannot be written: a full disk, a folder in its place, ...; libraries raise several types.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with replacing(behind(path)) as part:
            yield part
    except (OSError, RuntimeError) as error:
        raise ConfigError(cannot_write("The file", path, error)) from error


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8; the file appears complete or not at all. Errors as in `whole`."""
    with whole(path) as part:
        part.write_text(as_unicode(text), encoding="utf-8")


def cannot_write(what: str, path: Path, error: Exception) -> str:
    """Return an error text that names the file that cannot be written, the cause, and what is there now."""
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error).partition("(")[0].strip()
    full = " Is the disk full?" if number in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
    left = "It is as it was before." if path.exists() else "No file was left there."
    return f"{what} cannot be written to {path} ({reason}).{full} {left}"


def write_new(path: Path, content: bytes) -> None:
    """Write a new private file and flush it to disk; raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


class NoFile(OSError):
    """What lies where a file is expected is a link, a pipe or anything else that is none."""


def read_file(path: Path) -> bytes:
    """Read a file; raises OSError if it cannot be read, NoFile if it is a link or might keep the reader waiting."""
    with os.fdopen(_opened(path), "rb") as file:
        return file.read()


def _opened(path: Path) -> int:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NoFile(errno.ELOOP, "it is a link") from error
        raise
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise NoFile(errno.EINVAL, "it is no file")
    return number


def sealed(content: bytes) -> bytes:
    """Return the content followed by its digest; `unsealed` checks and removes it."""
    return content + hashlib.sha256(content).digest()


def unsealed(path: Path) -> bytes | None:
    """Read a file that ends with its digest; None, and it is set aside, if that does not fit. Raises OSError."""
    try:
        whole = read_file(path)
        if sealed(whole[:-SEAL]) == whole:
            return whole[:-SEAL]
        set_aside(path, "its digest does not fit its content")
    except NoFile as error:
        set_aside(path, error.strerror)
    return None


def secret(path: Path, *, make: bool) -> bytes | None:
    """Read a key that only this user knows.

    Parameters
    ----------
    path
        Its file. One that was damaged is set aside: what lies under that key is not found again.
    make
        Make one if there is none.

    Raises
    ------
    OSError
        If it cannot be read or made.
    """
    key = _read_secret(path)
    if key is None and make:
        private_folder(path.parent)
        part = path.with_name(f".{secrets.token_hex(8)}")
        try:
            write_new(part, sealed(secrets.token_bytes(KEY)))
            os.link(part, path)  # unlike a rename, it leaves a key that another process has made meanwhile
        except FileExistsError:
            pass
        finally:
            part.unlink(missing_ok=True)
        key = _read_secret(path)
    return key


def _read_secret(path: Path) -> bytes | None:
    if not path.is_symlink() and path.is_file() and path.stat().st_size == KEY:
        return read_file(path)  # before keys had digests they had their length
    return unsealed(path) if os.path.lexists(path) else None


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON object with its digest; see `write`."""
    write(path, json.dumps({**document, DIGEST: _digest_of(document)}).encode())


def read_document(path: Path) -> dict[str, Any]:
    """Read what `write_document` wrote.

    Raises
    ------
    OSError, ValueError
        If it cannot be read; if it is not what was written, or no file.
    """
    try:
        document = json.loads(read_file(path))
    except NoFile as error:
        raise ValueError(error.strerror) from error
    if not isinstance(document, dict) or document.pop(DIGEST, None) != _digest_of(document):
        raise ValueError("its digest does not fit its content")
    return document


def _digest_of(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; raises OSError if it cannot be read, or is no file."""
    with os.fdopen(_opened(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _by_pieces(file)


def _by_pieces(file: Any) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def set_aside(path: Path, why: object) -> None:
    """Rename a damaged file, so that it is not used but can be examined, and log this."""
    aside = path.with_name(f"{DAMAGED}{path.name}")
    try:
        path.replace(aside)
        log.warning("%s is damaged and set aside as %s: %s", path, aside.name, why)
    except OSError as error:
        log.warning("%s is damaged (%s), and cannot be set aside: %s", path, why, error)


class Space:
    """Disk quota of a folder.

    Parameters
    ----------
    folder
        The folder; it need not exist yet.
    quota
        Bytes of all files in it; 0: any number.
    reserve
        Bytes that must stay free on its disk; of a small one a twentieth.
    """

    def __init__(self, folder: Path, quota: int = 0, reserve: int = 0) -> None:
        self.folder, self.quota, self.reserve = folder, quota, reserve
        self._guard = threading.Lock()
        self._used, self._measured = 0, -LOOK

    def take(self, count: int) -> None:
        """Ask whether `count` bytes more may be written.

        Raises
        ------
        OSError
            ENOSPC or EDQUOT, if not.
        """
        if self.reserve:
            disk = os.statvfs(_existing(self.folder))
            reserve = min(self.reserve, disk.f_blocks * disk.f_frsize // 20)
            if disk.f_bavail * disk.f_frsize < reserve + count:
                raise OSError(errno.ENOSPC, f"less than {reserve / 1e6:.3g} MB would stay free on the disk")
        if self.quota:
            with self._guard:
                if time.monotonic() - self._measured > LOOK:
                    self._used, self._measured = _size(self.folder), time.monotonic()
                if self._used + count > self.quota:
                    text = f"raw data and results would take more than their quota of {self.quota / 1e6:.0f} MB"
                    raise OSError(errno.EDQUOT, text)
                self._used += count


def _existing(path: Path) -> Path:
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118 - thousands of times a second
            except OSError:  # removed just now
                continue
    return total
