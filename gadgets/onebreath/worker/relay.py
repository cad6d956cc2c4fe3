"""Bytes carried between two sockets in both directions by one thread; either may speak TLS."""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress

ROOM = 1 << 18  # bytes that wait for the other side; what comes beyond waits in its socket
POLL = 1.0  # seconds; TLS may have work to do that the socket does not show
LINGER = 5.0  # seconds that a client may stay, and send nothing, once the server has ended

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Flow:
    """One direction."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.waiting = bytearray()
        self.ended = self.passed_on = False

    def step(self) -> bool:
        """Move what can be moved now; whether anything was."""
        moved = False
        if not self.ended and len(self.waiting) < ROOM:
            with suppress(*_NOT_NOW):
                data = self.source.recv(ROOM)
                self.waiting += data
                self.ended, moved = not data, True
        if self.waiting:
            with suppress(*_NOT_NOW):
                del self.waiting[: self.sink.send(self.waiting)]
                moved = True
        if self.ended and not self.waiting and not self.passed_on:
            _end_sending(self.sink)
            self.passed_on = moved = True
        return moved


def relay(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until both sides have ended, or a connection breaks; then close both.

    A client that has ended may wait for its answer as long as it takes; a server that has ended waits for nothing.
    """
    request, answer = flows = (_Flow(client, server), _Flow(server, client))
    # The end of a connection is no error here: whoever reads on the other side sees it.
    with client, server, suppress(OSError):
        for sock in (client, server):
            sock.setblocking(False)
        last = time.monotonic()
        while not (request.passed_on and answer.passed_on):
            moved = [flow.step() for flow in flows]
            if any(moved):
                last = time.monotonic()
                continue
            if answer.passed_on and time.monotonic() - last > LINGER:
                return
            _wait(flows)


def _wait(flows: tuple[_Flow, _Flow]) -> None:
    poll = select.poll()
    for flow in flows:
        events = select.POLLIN if not flow.ended and len(flow.waiting) < ROOM else 0
        other = flows[0] if flow is flows[1] else flows[1]
        events |= select.POLLOUT if other.waiting else 0
        if events:
            poll.register(flow.source, events)
    poll.poll(POLL * 1000)


def _end_sending(sock: socket.socket) -> None:
    """Tell the peer that nothing more comes; it may still send."""
    if isinstance(sock, ssl.SSLSocket):
        with suppress(*_NOT_NOW):  # the notice is out; the peer's own comes when it has ended, too
            sock.unwrap()
    else:
        sock.shutdown(socket.SHUT_WR)
