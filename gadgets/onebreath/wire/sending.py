"""The sending half of a stream: one message in one system call where possible, without joining its parts."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import TypeAlias

from onebreath.errors import ConnectionLost

Octets: TypeAlias = bytes | bytearray | memoryview

SMALL_MESSAGE = 1 << 15  # below this, joining the parts is cheaper than a gathering send
GATHER = 512  # parts in one sendmsg call; Linux takes 1024
LEAST_RATE = 1 << 18  # bytes a second at which a message must come, and be taken, where no peer is waited for for ever


class Sending:
    """Sends messages on a socket; `Stream` adds reading and the end."""

    socket: socket.socket
    _sending: threading.Lock
    _ended: bool
    _silence: float

    def write(self, data: Octets) -> None:
        """Send bytes at once; for writers made for the `gadgetron` package."""
        self.send([data])

    def send(self, parts: Sequence[Octets], *, last: bool = False) -> None:
        """Send one message as a whole.

        Parameters
        ----------
        parts
            Contiguous bytes.
        last
            No further message may follow; `close` then sends no CLOSE.

        Raises
        ------
        ConnectionLost
            If the peer is gone or the last message went out before.
        """
        with self._sending:
            if self._ended:
                raise ConnectionLost("a message was to be sent after the last one")
            self._ended = last
            try:
                small = sum(map(len, parts)) <= SMALL_MESSAGE
                self._gather([b"".join(parts)] if small else parts)
            except OSError as error:
                raise ConnectionLost(f"the other side no longer takes data: {error}") from error

    def _gather(self, parts: Sequence[Octets]) -> None:
        """Send the parts without joining them, a few hundred per system call."""
        rest = [memoryview(part) for part in parts if len(part)]
        begun, total = time.monotonic(), 0
        while rest:
            sent = self._send_some(rest[:GATHER], begun + self._silence + total / LEAST_RATE)
            total += sent
            first = 0
            while first < len(rest) and sent >= len(rest[first]):
                sent -= len(rest[first])
                first += 1
            del rest[:first]
            if sent:
                rest[0] = rest[0][sent:]

    def _send_some(self, parts: list[memoryview], due: float) -> int:
        """Send once, and return how many bytes; where peers are not waited for for ever, before `due`."""
        if not self._silence:
            return self.socket.sendmsg(parts)
        while True:
            try:
                return self.socket.sendmsg(parts, [], socket.MSG_DONTWAIT)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self.socket, select.POLLOUT)
                if not poll.poll(max(0.0, 1000 * (due - time.monotonic()))):
                    raise TimeoutError("it takes them too slowly") from None
