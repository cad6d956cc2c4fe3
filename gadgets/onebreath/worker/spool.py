"""Raw data on disk: while a scan waits, until its learned series is made, and for what a crash leaves behind.

A spooled scan is a folder with ``request.json`` (what shall run) and ``data.bin`` (the bytes after the header, as they
came). Bytes are written before they are used, so a process that is killed loses none that it had taken from a socket.
The process that works on a folder holds a lock on it, which ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import logging
import os
import select
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onebreath.diagnostics.reports import SpoolError
from onebreath.errors import ConnectionLost
from onebreath.keeping import digest_of_file, private_folder, read_document, set_aside, write, write_document
from onebreath.storage.results import is_scan
from onebreath.wire.framing import Stream
from onebreath.wire.limits import Limits

log = logging.getLogger("onebreath.spool")

PIECE = 1 << 18  # bytes taken from the socket at once while a scan waits
REQUEST, DATA, COMPLETE = "request.json", "data.bin", "complete"


def scan_id() -> str:
    """Make an identifier for a scan that sorts by time and says nothing about the patient."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"


@dataclass(frozen=True)
class Request:
    """What shall run on the data of a scan.

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
    def of(cls, document: dict[str, Any]) -> Request:
        """Make one of what was read; raises ValueError or TypeError if a value is not of its type."""
        found = cls(**document)
        texts = (found.scan, found.title, found.nodes, found.header, found.storage or "")
        if not all(isinstance(text, str) for text in texts) or not is_scan(found.scan):
            raise ValueError("a text is none, or the scan's identifier")
        return found


class InUse(SpoolError):
    """Another scan or process works on a folder."""


class SpooledScan:
    """A folder with a scan's raw data, locked by this process.

    Parameters
    ----------
    folder
        The folder; it exists.

    Raises
    ------
    SpoolError
        If another process works on it, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / DATA
        try:
            self._lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SpoolError(f"{folder} cannot be read: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise InUse(f"{folder} is in use: {error}") from error
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
        try:
            private_folder(root)
            partial.mkdir(mode=0o700)
            write_document(partial / REQUEST, asdict(request))
            (partial / DATA).touch(mode=0o600)
            made = cls(partial)  # locked before others can see it
            partial.rename(folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
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
        """Raise SpoolError if complete data are not what came."""
        try:
            if self.complete and digest_of_file(self.data) != (self.folder / COMPLETE).read_text():
                raise SpoolError(f"the raw data of scan {self.request.scan} were damaged on the disk")
        except (OSError, ValueError) as error:
            raise SpoolError(f"the raw data of scan {self.request.scan} cannot be read: {error}") from error

    def release(self, *, remove: bool) -> None:
        """Let go of the folder, and remove it if nobody needs it any more."""
        try:
            if remove:
                shutil.rmtree(self.folder, ignore_errors=True)
                if self.folder.exists():
                    log.warning("%s cannot be removed; it may be made again at the next start", self.folder)
        finally:
            os.close(self._lock)


def left_behind(root: Path) -> Iterator[SpooledScan]:
    """Find the scans that no process works on, oldest first."""
    for folder in sorted(root.glob("[!.]*/")):
        try:
            yield SpooledScan(folder)
        except InUse as error:
            log.debug("%s", error)
        except SpoolError as error:
            set_aside(folder, error)


class SpoolStream(Stream):
    """A stream whose bytes can be kept on disk while they are read, or taken from the socket before they are.

    Parameters
    ----------
    sock, limits
        See `Stream`.
    """

    def __init__(self, sock: socket.socket, limits: Limits | None = None) -> None:
        super().__init__(sock, limits)
        self.lost: SpoolError | None = None
        """Why not everything is on disk."""
        self._writer: io.FileIO | None = None
        self._reader: io.FileIO | None = None
        self._written = self._reread = 0
        self._keep = False
        self._unwritten = b""
        self._take: Callable[[int], None] = lambda count: None
        self._digest = hashlib.sha256()

    @classmethod
    def over(cls, path: Path) -> SpoolStream:
        """Make a stream that gives what is in a file, and then ends as if the other side had gone away."""
        ours, theirs = socket.socketpair()
        theirs.close()
        stream = cls(ours)
        stream._reader = io.FileIO(path, "rb")
        stream._written = path.stat().st_size
        return stream

    @property
    def digest(self) -> str:
        """SHA-256 of what was recorded."""
        return self._digest.hexdigest()

    def record(self, path: Path, *, keep: bool, take: Callable[[int], None] = lambda count: None) -> None:
        """Write what arrives from here on to a file, which exists.

        Parameters
        ----------
        path
            The file.
        keep
            Go on once everything that was taken in by `absorb` has been read.
        take
            Asked before bytes are written; raises OSError if there is no room for so many.

        Raises
        ------
        SpoolError
            If it cannot be opened.
        """
        self._keep, self._take = keep, take
        try:
            self._writer, self._reader = io.FileIO(path, "ab"), io.FileIO(path, "rb")
        except OSError as error:
            raise SpoolError(f"raw data cannot be kept at {path}: {error.strerror}") from error
        self._write(self._room[self._begin : self._end])  # received with the header, and still to be read from there
        self._reread = self._reader.seek(self._written)

    def arrived(self, seconds: float) -> bool:
        """Whether anything has come, or the other side has gone, within so many seconds."""
        if self._end > self._begin:
            return True
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(1000 * seconds))

    def absorb(self, seconds: float) -> None:
        """Wait for bytes, and take them from the socket to the disk; without a file or room on it, only wait.

        Raises
        ------
        ConnectionLost
            If the connection broke. That the other side sends nothing more is seen when the bytes are read.
        """
        if self._writer is None or self.lost is not None:
            time.sleep(seconds)
            return
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        if not poll.poll(1000 * seconds):
            return
        try:
            data = self.socket.recv(PIECE)
        except OSError as error:
            raise ConnectionLost(f"the connection broke while the scan waited: {error}") from error
        if not data:
            time.sleep(seconds)
        elif not self._write(memoryview(data)):
            self._unwritten = data

    def _receive(self, rest: memoryview) -> int:
        """Receive from the disk what was taken in before, then from the socket."""
        taken = self._taken_in(rest)
        if taken:
            self._begin = self._end = 0
            return taken
        received = super()._receive(rest)
        if self._writer is not None:
            self._write(rest[:received])
            self._write(self._room[: self._end])
            self._reread = self._written
        return received

    def _taken_in(self, rest: memoryview) -> int:
        if self._reader is not None and self._reread < self._written:
            count = self._reader.readinto(rest[: self._written - self._reread]) or 0
            if count == 0:
                raise ConnectionLost("raw data on disk were shortened by somebody else")
            self._reread += count
            return count
        count = min(len(rest), len(self._unwritten))
        rest[:count] = self._unwritten[:count]
        self._unwritten = self._unwritten[count:]
        if count == 0 and not self._keep:
            self.stop_recording()
        return count

    def _write(self, data: memoryview) -> bool:
        """Append to the file; False, and nothing more ever, if the disk does not take it all."""
        if self._writer is None or self.lost is not None:
            return False
        done = 0
        try:
            self._take(len(data))
            while done < len(data):
                done += self._writer.write(data[done:]) or 0
        except OSError as error:
            with contextlib.suppress(OSError):  # what is behind the good part is never read
                self._writer.truncate(self._written)
            self.lost = SpoolError(f"raw data could not be kept on disk: {error.strerror or error}")
            log.warning("%s", self.lost)
            return False
        self._written += done
        self._digest.update(data)
        return True

    def stop_recording(self) -> None:
        """Close the file."""
        for file in (self._writer, self._reader):
            if file is not None:
                file.close()
        self._writer = self._reader = None

    def close(self) -> None:
        """See `Stream.close`."""
        super().close()
        self.stop_recording()
