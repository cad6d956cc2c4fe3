"""Raw data on disk: while a scan waits, until its learned series is made, and for what a crash leaves behind.

A spooled scan is a folder with ``request.json`` (what shall run) and ``data.bin`` (the bytes after the header, as they
came). Bytes are written before they are used, so a process that is killed loses none that it had taken from a socket.
The process that works on a folder holds a lock on it, which ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onebreath.diagnostics.reports import SpoolError
from onebreath.keeping import (
    DAMAGED,
    digest_of_file,
    private_folder,
    read_document,
    read_file,
    set_aside,
    write,
    write_document,
)
from onebreath.storage.results import KEPT_SECONDS, is_scan
from onebreath.wire.xml_guard import as_text
from onebreath.worker.spooling.stream import check_pieces

log = logging.getLogger("onebreath.spool")

REQUEST, DATA, COMPLETE = "request.json", "data.bin", "complete"


def scan_id() -> str:
    """Make an identifier for a scan that sorts by time and says nothing about the patient."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"


@dataclass(frozen=True)
class Request:
    """The nodes or configuration to run on the data of a scan.

    Parameters
    ----------
    scan
        Identifier.
    title
        Configuration or target, for people.
    nodes
        Configuration with external nodes only, as XML; empty if they make no images, so that what a crash leaves of
        the data is of no use.
    header
        The ISMRMRD header, as XML.
    storage
        See `onebreath.shim_settings.STORAGE_OF_SCAN`.
    """

    scan: str
    title: str
    nodes: str
    header: str
    storage: str | None = None

    @classmethod
    def made(cls, scan: str, title: str, nodes: str, header: bytes, storage: str | None = None) -> Request:
        """Make one of a header in any encoding."""
        return cls(scan, title, nodes, as_text(header), storage)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Request:
        """Make one of what was read; raises ValueError or TypeError if a value is not of its type."""
        found = cls(**document)
        texts = (found.scan, found.title, found.nodes, found.header, found.storage or "")
        if not all(isinstance(text, str) for text in texts) or not is_scan(found.scan):
            raise ValueError("a text is none, or the scan's identifier")
        return found


class InUse(SpoolError):
    """A folder is in use by another scan or process."""


def locked(folder: Path) -> int:
    """Lock a folder for this process; return an object whose closing releases it.

    Raises
    ------
    SpoolError
        If it cannot be read; `InUse` if another scan or process has it.
    """
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SpoolError(f"{folder} cannot be read: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise InUse(f"{folder} is in use: {error}") from error
    return lock


class SpooledScan:
    """A folder with a scan's raw data, locked by this process.

    Parameters
    ----------
    folder
        The folder; it exists.
    lock
        What `locked` gave for it; None: it is locked here.

    Raises
    ------
    SpoolError
        If another process works on it, or it cannot be read.
    """

    def __init__(self, folder: Path, lock: int | None = None) -> None:
        self.folder = folder
        self.data = folder / DATA
        self._lock = locked(folder) if lock is None else lock
        try:
            self.request = Request.of(read_document(folder / REQUEST))
            if not folder.name.endswith(self.request.scan) or not self.data.exists():
                raise ValueError("it has no data, or another scan's request")
        except (OSError, ValueError, TypeError, RecursionError) as error:
            os.close(self._lock)
            raise SpoolError(f"{folder} is damaged: {error}") from error

    @classmethod
    def create(cls, root: Path, request: Request) -> SpooledScan:
        """Make the folder of a new scan.

        Raises
        ------
        SpoolError
            If the disk does not take it.
        """
        folder = root / request.scan
        partial = root / f".{request.scan}"
        lock = None
        try:
            private_folder(root)
            partial.mkdir(mode=0o700)
            lock = locked(partial)  # at once: what nobody has locked was left by a crash
            write_document(partial / REQUEST, asdict(request))
            (partial / DATA).touch(mode=0o600)
            made = cls(partial, lock)
            partial.rename(folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            if lock is not None:
                os.close(lock)
            raise SpoolError(f"raw data cannot be kept at {folder}: {error.strerror}") from error
        made.folder, made.data = folder, folder / DATA
        return made

    @property
    def complete(self) -> bool:
        """Whether all data of the scan came."""
        return (self.folder / COMPLETE).exists()

    def finish(self, digest: str = "") -> None:
        """Mark the data as complete, with their SHA-256 (empty: of what lies there); raises OSError."""
        write(self.folder / COMPLETE, (digest or digest_of_file(self.data)).encode())

    def check(self) -> None:
        """Raise SpoolError if the data are not what came, or cannot be read."""
        try:
            if not self.complete:
                check_pieces(self.data)
            elif digest_of_file(self.data).encode() != read_file(self.folder / COMPLETE):
                raise ValueError("they have another digest than when they came")
        except (OSError, ValueError) as error:
            raise SpoolError(f"the raw data of scan {self.request.scan} were damaged on the disk: {error}") from error

    def release(self, *, remove: bool) -> None:
        """Release the folder, and remove it if it is no longer needed."""
        try:
            if remove:
                self._remove()
        finally:
            os.close(self._lock)

    def _remove(self) -> None:
        """Remove the folder: first its name, so that what a crash leaves of it is seen to be no scan."""
        going = self.folder.with_name(f".{self.request.scan}")
        with contextlib.suppress(OSError):
            self.folder = self.folder.rename(going)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            log.warning("%s cannot be removed; it may be made again at the next start", self.folder)


def left_behind(root: Path) -> Iterator[SpooledScan]:
    """Find the scans that no process works on, oldest first; what a crash left of others' folders is removed."""
    for partial in root.glob(".*/"):
        if partial.is_symlink():
            partial.unlink()
        elif not partial.name.startswith(DAMAGED):
            with contextlib.suppress(SpoolError):
                lock = locked(partial)
                shutil.rmtree(partial, ignore_errors=True)
                os.close(lock)
        elif time.time() - partial.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(partial, ignore_errors=True)
    for folder in sorted(root.glob("[!.]*/")):
        try:
            if folder.is_symlink():
                raise SpoolError("it is a link")
            yield SpooledScan(folder)
        except InUse as error:
            log.debug("%s", error)
        except SpoolError as error:
            set_aside(folder, error)
