"""Bytes on a socket: exact buffered reads, one send per message, and detection of a disconnected peer."""

from __future__ import annotations

import logging
import math
import socket
import struct
import threading
import time
from typing import Any

import numpy as np
from gadgetron.external import constants

from onebreath.budget import claim
from onebreath.errors import ConnectionLost, WireError
from onebreath.wire.limits import Limits
from onebreath.wire.sending import LEAST_RATE, SMALL_MESSAGE, Sending
from onebreath.wire.xml_guard import unpadded

log = logging.getLogger("onebreath.wire")


ROOM = 1 << 22  # all that a sender may have under way: it then seldom waits, which costs more than the copying
FIRST_ROOM = 1 << 18  # until that much of ROOM has come that it was no stranger knocking
TOGETHER, LARGEST = 64, 1 << 21  # messages at hand that are taken as one block, and its bytes

NEXT_MESSAGE = "the next message"
HESITATION = 10.0  # seconds that a message may stand still besides
SHORTEST = 0.001  # seconds; none at all would mean to wait for ever
PROBES = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Seconds of quiet before a peer is probed, seconds between probes, and how many may stay unanswered."""

MESSAGE_NAMES = {
    value: name.removeprefix("GADGET_MESSAGE_").removeprefix("ISMRMRD_")
    for name, value in vars(constants).items()
    if name.startswith("GADGET_MESSAGE_") and "_ID_M" not in name
}


def message_name(identifier: int) -> str:
    """Name of a message id for logs and errors, e.g. ``ACQUISITION`` for 1008."""
    return MESSAGE_NAMES.get(identifier, f"message {identifier}")


class Stream(Sending):
    """Message parts over one connected socket, read from one thread at a time and sent from any.

    It stands in for the socket wrapper of the `gadgetron` package (`read`, `write`, `close`), so readers and writers
    made for that package work with it.

    Parameters
    ----------
    sock
        A connected stream socket; the stream owns it from here on.
    limits
        What sizes are believed.
    """

    def __init__(self, sock: socket.socket, limits: Limits | None = None) -> None:
        sock.settimeout(None)
        self.socket = sock
        self.limits = limits or Limits()
        self._message = self.limits.message + ROOM  # the room holds bytes received early
        self.reading = "the first message"
        self._tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        if self._tcp:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._quick_ack = getattr(socket, "TCP_QUICKACK", None) if self._tcp else None
        self._room = memoryview(bytearray(FIRST_ROOM))
        self._begin = self._end = 0
        self._received = 0
        self._taken, self._waited = 0, 0.0  # bytes received for the message that is being read, and seconds of waiting
        self._silence = 0.0
        self._due: float | None = None
        self._sending = threading.Lock()
        self._ended = False
        self.closed = False

    # --- reading

    def read(self, count: int) -> bytes:
        """Read exactly `count` bytes.

        Raises
        ------
        ConnectionLost
            If the peer goes away first; the text names the message that was being read.
        """
        if self._end - self._begin >= count:
            self._begin += count
            return bytes(self._room[self._begin - count : self._begin])
        target = bytearray(count)
        self.read_into(memoryview(target))
        return bytes(target)

    def read_into(self, target: memoryview) -> None:
        """Fill `target` (bytes, writable); see `read`."""
        size = len(target)
        done = min(size, self._end - self._begin)
        target[:done] = self._room[self._begin : self._begin + done]
        self._begin += done
        while done < size:
            received = self._receive(target[done:])
            done += min(received, size - done)

    def _receive(self, rest: memoryview) -> int:
        """Receive into `rest`, and what comes beyond it into the empty room; both in one system call."""
        if self._received > FIRST_ROOM and len(self._room) < ROOM:
            self._room = memoryview(bytearray(ROOM))  # all pages are in use from here on: a scan's memory stays flat
        begun = time.monotonic()
        received = self._some(rest)
        while received is None:
            if self._silence and time.monotonic() - begun >= 0.99 * self._silence:
                raise ConnectionLost(f"nothing came any more while {self.reading} was read")
            received = self._some(rest)
        if received == 0 and self.reading == NEXT_MESSAGE:
            raise ConnectionLost("the other side went away without CLOSE, which ends a scan")
        if received == 0:
            raise ConnectionLost(
                f"the other side went away while {self.reading} was read: {len(rest)} bytes of it are missing"
            )
        self._begin, self._end = 0, max(0, received - len(rest))
        self._received += received
        self._taken = self.limits.check(f"the size in bytes of {self.reading}", self._taken + received, self._message)
        return received

    def _some(self, rest: memoryview) -> int | None:
        """Receive once; None if nothing came for a while."""
        if self._due is not None:
            self._hurry(self._due)
        begun = time.monotonic()
        try:
            if self._quick_ack is not None:
                # The kernel clears this flag by itself; without it an answer waits 40 ms for a delayed ACK.
                self.socket.setsockopt(socket.IPPROTO_TCP, self._quick_ack, 1)
            received = self.socket.recvmsg_into([rest, self._room])[0]
        except BlockingIOError:
            received = None
        except OSError as error:
            raise ConnectionLost(f"the connection broke while {self.reading} was read: {error}") from error
        if self._silence and self.reading != NEXT_MESSAGE:
            self._waited += time.monotonic() - begun
            if self._waited > HESITATION + self._taken / LEAST_RATE:
                raise ConnectionLost(f"{self.reading} came too slowly: {self._taken} bytes in {self._waited:.0f} s")
        return received

    def at_hand(self, size: int) -> memoryview:
        """Return bytes received but not yet read: of whole messages of `size` bytes, as many as fit one block."""
        count = min(TOGETHER, LARGEST // size, (self._end - self._begin) // size)
        return self._room[self._begin : self._begin + count * size]

    def skip(self, count: int) -> None:
        """Count bytes that are at hand as read."""
        self._begin += count

    def unpack(self, layout: struct.Struct) -> Any:
        """Read one number."""
        return layout.unpack(self.read(layout.size))[0]

    def read_identifier(self) -> int:
        """Read the id that starts every message."""
        self.reading = NEXT_MESSAGE
        self._taken, self._waited = 0, 0.0
        identifier: int = self.unpack(constants.uint16)
        self.reading = message_name(identifier)
        return identifier

    def next_identifier(self) -> int:
        """Wait for the id of the next message and leave it to be read."""
        identifier = self.read_identifier()
        waiting = constants.uint16.pack(identifier) + bytes(self._room[self._begin : self._end])
        if len(waiting) > len(self._room):
            self._room = memoryview(bytearray(len(waiting)))
        self._room[: len(waiting)] = waiting
        self._begin, self._end = 0, len(waiting)
        return identifier

    def read_array(self, shape: tuple[int, ...], dtype: Any, order: Any = "C") -> np.ndarray:
        """Read a writable array of known shape straight from the socket; the caller has checked its size.

        Raises
        ------
        WireError
            If there is no memory for it.
        """
        try:
            block = np.empty(math.prod(shape) * np.dtype(dtype).itemsize, np.uint8)
        except MemoryError as error:
            raise WireError(f"{self.reading}: no memory for an array of shape {shape}") from error
        if block.size > SMALL_MESSAGE:
            claim(block.size, self.reading)
        if block.size:
            self.read_into(block.data)
        return block.view(dtype).reshape(shape, order=order)

    def read_text(self, length: struct.Struct, name: str, most: int | None = None) -> bytes:
        """Read a length and as many bytes; NULs at the end, which the C++ client adds, are dropped."""
        count = self.limits.check(f"the length of {name}", self.unpack(length), most or self.limits.text)
        return unpadded(self.read(count))

    def discard(self, quiet: float) -> None:
        """Discard all input until the peer closes or has been silent for `quiet` seconds."""
        self.patience(quiet)
        try:
            while True:
                self._receive(self._room[:1])
        except ConnectionLost as error:
            log.debug("input thrown away: %s", error)
        self._begin = self._end = 0

    def patience(self, seconds: float) -> None:
        """Time out reads after `seconds` without a byte (0: never); sending is not affected."""
        self._silence = seconds
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(min(seconds, HESITATION)))

    def due_within(self, seconds: float | None) -> None:
        """Read nothing more after this many seconds, however the bytes trickle in; None: no such end."""
        self._due = None if seconds is None else time.monotonic() + seconds

    def _hurry(self, due: float) -> None:
        left = due - time.monotonic()
        if left <= 0:
            raise ConnectionLost(f"{self.reading} came too slowly")
        wait = min(left, self._silence or left)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(max(wait, SHORTEST)))

    def give_up_after(self, silence: float) -> None:
        """Treat a peer as disconnected that sends or accepts nothing for this many seconds (0: never).

        One whose computer or network is gone is found out sooner, by probes that the kernel sends while nothing flows.
        """
        self.patience(silence)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(silence))
        if self._tcp:
            for name, value in PROBES.items():
                if hasattr(socket, name):
                    self.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    # --- ending

    def end(self) -> None:
        """Send CLOSE, unless the last message went out before; the peer may be gone already."""
        if not self._ended:
            try:
                self.send([constants.uint16.pack(constants.GADGET_MESSAGE_CLOSE)], last=True)
            except ConnectionLost as error:
                log.debug("no CLOSE sent: %s", error)

    def break_off(self) -> None:
        """Send nothing more, not even CLOSE, so that the peer sees that something is missing; it may still send."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            log.debug("connection was broken before: %s", error)

    def abort(self) -> None:
        """Break the connection; wakes a thread that reads or sends on it."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.debug("connection was broken before: %s", error)

    def close(self) -> None:
        """Send CLOSE if the stream has not ended yet, and close the socket."""
        if not self.closed:
            self.closed = True
            self.end()
            self.socket.close()


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, int((seconds - whole) * 1e6))


def octets(array: np.ndarray, dtype: Any, order: Any = "C") -> memoryview:
    """Bytes of an array in `dtype` and `order`, without a copy where it has them already."""
    matching = np.asarray(array, dtype, order=order)
    return matching.reshape(-1, order=order).view(np.uint8).data
