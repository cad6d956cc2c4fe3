"""A stream whose bytes go to disk, while their scan waits or until its images are out."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from onebreath.diagnostics.reports import SpoolError
from onebreath.errors import ConnectionLost
from onebreath.wire.framing import Stream
from onebreath.wire.limits import Limits

log = logging.getLogger("onebreath.spool")

PIECE = 1 << 18  # bytes taken from the socket at once while a scan waits
SUMS = "sums"
"""File beside the data: for each piece where it ends and its digest, written before the piece itself."""
_SUM = struct.Struct("<Q16s8s")  # where the piece ends, its digest, and that of both


def check_pieces(data: Path) -> None:
    """Compare data that a crash cut off with their digests, up to the piece in which they end.

    Raises
    ------
    ValueError, OSError
        If they are not what came; if they cannot be read.
    """
    sums = data.with_name(SUMS)
    if not sums.exists():
        return
    with data.open("rb") as file, sums.open("rb") as digests:
        begin = 0
        while len(entry := digests.read(_SUM.size)) == _SUM.size:
            end, digest, own = _SUM.unpack(entry)
            if own != _digest(entry[:-8])[:8] or end <= begin:
                raise ValueError("their digests are damaged")
            piece = file.read(end - begin)
            if len(piece) < end - begin:
                return
            if _digest(piece) != digest:
                raise ValueError(f"bytes {begin} to {end} are not what came")
            begin = end
        if file.read(1):
            raise ValueError("there is more than came")


def _sum(end: int, piece: memoryview) -> bytes:
    entry = struct.pack("<Q16s", end, _digest(piece))
    return entry + _digest(entry)[:8]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _digest(piece: bytes | memoryview) -> bytes:
    return hashlib.blake2b(piece, digest_size=16).digest()


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
        """Reason why not everything is on disk."""
        self._writer: io.FileIO | None = None
        self._reader: io.FileIO | None = None
        self._sums: io.FileIO | None = None
        self._written = self._reread = 0
        self._keep = False
        self._unwritten = b""
        self._take: Callable[[int], None] = lambda count: None
        self._digest = hashlib.sha256()
        self._waiting_since: dict[int, float] = {}
        self._waited_before = 0.0

    @property
    def waited(self) -> float:
        """Seconds that were spent waiting for the other side to send, or to take."""
        now = time.monotonic()
        return self._waited_before + sum(now - since for since in list(self._waiting_since.values()))

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        thread = threading.get_ident()
        self._waiting_since[thread] = begun = time.monotonic()
        try:
            yield
        finally:
            self._waiting_since.pop(thread, None)
            self._waited_before += time.monotonic() - begun

    @classmethod
    def over(cls, path: Path) -> SpoolStream:
        """Make a stream that reads from a file, and then ends as if the peer had disconnected."""
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
            Asked before bytes are written; raises OSError if there is no room for that many.

        Raises
        ------
        SpoolError
            If it cannot be opened.
        """
        self._keep, self._take = keep, take
        try:
            self._writer, self._reader = io.FileIO(path, "ab"), io.FileIO(path, "rb")
            self._sums = io.FileIO(path.with_name(SUMS), "ab", opener=_private)
        except OSError as error:
            raise SpoolError(f"raw data cannot be kept at {path}: {error.strerror}") from error
        self._write(self._room[self._begin : self._end])  # received with the header, and still to be read from there
        self._reread = self._reader.seek(self._written)

    def arrived(self, seconds: float) -> bool:
        """Return whether anything has come, or the other side has gone, within this many seconds."""
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
        with self._waiting():
            received = super()._receive(rest)
        if self._writer is not None:
            self._write(rest[:received])
            self._write(self._room[: self._end])
            self._reread = self._written
        return received

    def _send_some(self, parts: list[memoryview], due: float) -> int:
        with self._waiting():
            return super()._send_some(parts, due)

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
        if self._writer is None or self._sums is None or self.lost is not None:
            return False
        if not len(data):
            return True
        done = 0
        try:
            self._take(len(data) + _SUM.size)
            self._sums.write(_sum(self._written + len(data), data))
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
        for file in (self._writer, self._reader, self._sums):
            if file is not None:
                file.close()
        self._writer = self._reader = self._sums = None

    def close(self) -> None:
        """See `Stream.close`."""
        super().close()
        self.stop_recording()
