"""Raw data on disk: while a scan waits, until its learned series is made, and for what a crash leaves behind.

A spooled scan is a folder with ``request.json`` (what shall run) and ``data.bin`` (the bytes after the header, as they
came). Bytes are written before they are used, so a process that is killed loses none that it had taken from a socket.
The process that works on a folder holds a lock on it, which ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import logging
import os
import select
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from onebreath.diagnostics.reports import SpoolError
from onebreath.errors import ConnectionLost
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
        See `onebreath.storage.choice.OF_SCAN`.
    """

    scan: str
    title: str
    nodes: str
    header: str
    storage: str | None = None


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
            self.request = Request(**json.loads((folder / REQUEST).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            os.close(self._lock)
            raise SpoolError(f"{folder} is in use or damaged: {error}") from error

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
            partial.mkdir(parents=True, mode=0o700)
            (partial / REQUEST).write_text(json.dumps(asdict(request)), encoding="utf-8")
            (partial / DATA).touch()
            partial.rename(folder)
        except OSError as error:
            raise SpoolError(f"raw data cannot be kept at {folder}: {error.strerror}") from error
        return cls(folder)

    @property
    def complete(self) -> bool:
        """Whether all data of the scan came."""
        return (self.folder / COMPLETE).exists()

    def finish(self) -> None:
        """Mark the data as complete."""
        (self.folder / COMPLETE).touch()

    def release(self, *, remove: bool) -> None:
        """Let go of the folder, and remove it if nobody needs it any more."""
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def left_behind(root: Path) -> Iterator[SpooledScan]:
    """Find the scans that no process works on, oldest first."""
    for folder in sorted(root.glob("[!.]*/")):
        try:
            yield SpooledScan(folder)
        except SpoolError as error:
            log.info("%s", error)


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

    @classmethod
    def over(cls, path: Path) -> SpoolStream:
        """Make a stream that gives what is in a file, and then ends as if the other side had gone away."""
        ours, theirs = socket.socketpair()
        theirs.close()
        stream = cls(ours)
        stream._reader = io.FileIO(path, "rb")
        stream._written = path.stat().st_size
        return stream

    def record(self, path: Path, *, keep: bool) -> None:
        """Write what arrives from here on to a file, which exists.

        Parameters
        ----------
        path
            The file.
        keep
            Go on once everything that was taken in by `absorb` has been read.

        Raises
        ------
        SpoolError
            If it cannot be opened.
        """
        self._keep = keep
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
            while done < len(data):
                done += self._writer.write(data[done:]) or 0
        except OSError as error:
            with contextlib.suppress(OSError):  # what is behind the good part is never read
                self._writer.truncate(self._written)
            self.lost = SpoolError(f"raw data could not be kept on disk: {error.strerror}")
            log.warning("%s", self.lost)
            return False
        self._written += done
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
