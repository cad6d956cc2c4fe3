"""Bytes carried between two sockets in both directions by one thread; either may speak TLS."""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress
from typing import TypeAlias

from onebreath.wire.framing import SHORTEST

ROOM = 1 << 18  # bytes that wait for the other side; what comes beyond waits in its socket
POLL = 1.0  # seconds; TLS may have work to do that the socket does not show
RECORD = 1 << 14  # bytes; the most that TLS gives at once
LINGER = 5.0  # seconds that a client may stay, and send nothing, once the server has ended


class TlsSocket:
    """A socket that speaks TLS, and whose sending side can end long before its receiving one.

    That of the standard library cannot: to tell its peer that nothing more comes, it reads, too, and what the peer
    still sends is then an error. Here TLS reads from memory, where nothing of that is.

    Parameters
    ----------
    sock
        A connected socket, which is taken over.
    context
        Of the server's or the client's side.
    server_name
        Name in the certificate of the server that this is the client of; None: this is the server.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str | None = None) -> None:
        patience = sock.gettimeout()
        self.socket = socket.socket(fileno=sock.detach())
        self.socket.settimeout(patience)
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._coming, self._going, server_name is None, server_name)
        self._read_before_end: list[bytes] = []
        self._leaving = bytearray()  # what the network has not taken yet
        self._encrypted = 0  # bytes of the user's that are in there
        self._said_the_end = False

    def __enter__(self) -> TlsSocket:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self.socket.fileno()

    def settimeout(self, seconds: float | None) -> None:
        """As of a socket."""
        self.socket.settimeout(seconds)

    def setblocking(self, flag: bool) -> None:
        """As of a socket."""
        self.socket.setblocking(flag)

    def handshake(self, patience: float) -> None:
        """Agree with the peer on keys; raises OSError if that fails, or takes longer than `patience` seconds."""
        ends = time.monotonic() + patience
        while True:
            self.socket.settimeout(max(ends - time.monotonic(), SHORTEST))
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._fetch()
            except ssl.SSLError:
                with suppress(OSError):
                    self._flush()  # so that the peer learns why
                raise

    def recv(self, size: int) -> bytes:
        """Receive up to `size` bytes; none at the end of what the peer sends."""
        if self._read_before_end:
            return self._read_before_end.pop(0)
        while True:
            try:
                return self._tls.read(min(size, RECORD))
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLWantReadError:
                self._fetch()

    def send(self, data: bytes | bytearray) -> int:
        """Send the first bytes of `data`; after BlockingIOError, offer the same bytes again."""
        if not self._encrypted:
            with memoryview(data) as all_of_it, all_of_it[:ROOM] as part:
                self._encrypted = self._tls.write(part)
        self._flush()
        sent, self._encrypted = self._encrypted, 0
        return sent

    def sendall(self, data: bytes) -> None:
        """Send all of `data`, on a socket that blocks."""
        while data:
            data = data[self.send(data) :]

    def end_sending(self) -> None:
        """Tell the peer that nothing more comes; it may still send. After BlockingIOError, call it again."""
        if not self._said_the_end:
            with suppress(ssl.SSLWantReadError, ssl.SSLEOFError):
                while data := self._tls.read(RECORD):
                    self._read_before_end.append(data)
            # The notice is made; the peer's own comes when it has ended, too, or never.
            with suppress(ssl.SSLWantReadError, ssl.SSLEOFError):
                self._tls.unwrap()
            self._said_the_end = True
        self._flush()

    def _fetch(self) -> None:
        """Take what the network has brought."""
        if came := self.socket.recv(ROOM):
            self._coming.write(came)
        else:
            self._coming.write_eof()

    def _flush(self) -> None:
        """Give the network what TLS has made."""
        self._leaving += self._going.read()
        while self._leaving:
            del self._leaving[: self.socket.send(self._leaving)]


AnySocket: TypeAlias = socket.socket | TlsSocket


class _Flow:
    """One direction.

    Attributes
    ----------
    waiting
        Bytes that came and were not passed on yet.
    ended
        Whether no more come.
    passed_on
        Whether the sink has everything, and the end of it; or takes nothing any more.
    broken
        Whether the source broke off: its end is no proper one, and is not passed on as one.
    refused
        Whether the sink takes nothing any more.
    """

    def __init__(self, source: AnySocket, sink: AnySocket) -> None:
        self.source, self.sink = source, sink
        self.waiting = bytearray()
        self.ended = self.passed_on = self.broken = self.refused = False

    def step(self) -> bool:
        """Move what can be moved now; whether anything was."""
        moved = self._receive() if not self.ended and len(self.waiting) < ROOM else False
        try:
            if self.waiting:
                del self.waiting[: self.sink.send(self.waiting)]
                moved = True
            if self.ended and not self.waiting and not self.passed_on:
                if not self.broken:
                    _end_sending(self.sink)
                self.passed_on = moved = True
        except BlockingIOError:
            pass
        except OSError:
            self.waiting.clear()
            self.ended = self.passed_on = self.refused = moved = True
        return moved

    def _receive(self) -> bool:
        try:
            data = self.source.recv(ROOM)
        except BlockingIOError:
            return False
        except OSError:  # what came before is passed on all the same
            data, self.broken = b"", True
        self.waiting += data
        self.ended = not data
        return True


def relay(client: AnySocket, server: AnySocket) -> None:
    """Carry bytes both ways until both sides have ended, or a connection breaks; then close both.

    A client that has ended may wait for its answer as long as it takes; a server that has ended waits for nothing. Of
    a connection that breaks, what it sent before goes on to the other side, which then sees that side end.
    """
    request, answer = flows = (_Flow(client, server), _Flow(server, client))
    with client, server:
        for sock in (client, server):
            sock.setblocking(False)
        last = time.monotonic()
        while not (request.passed_on and answer.passed_on):
            moved = [flow.step() for flow in flows]
            for flow in flows:
                if flow.broken and flow.passed_on:
                    _hang_up(flow.sink)
                    return
            if any(moved):
                last = time.monotonic()
                continue
            if answer.passed_on and not answer.refused and time.monotonic() - last > LINGER:
                return
            _wait(flows)


def _hang_up(sock: AnySocket) -> None:
    """End a connection without the notice of TLS, and let the peer take what was sent: unread bytes would reset it."""
    inner = sock.socket if isinstance(sock, TlsSocket) else sock
    ends = time.monotonic() + LINGER
    with suppress(OSError):
        inner.shutdown(socket.SHUT_WR)
        while (left := ends - time.monotonic()) > 0:
            inner.settimeout(left)
            if not inner.recv(ROOM):
                return


def _wait(flows: tuple[_Flow, _Flow]) -> None:
    poll = select.poll()
    for flow in flows:
        events = select.POLLIN if not flow.ended and len(flow.waiting) < ROOM else 0
        other = flows[0] if flow is flows[1] else flows[1]
        events |= select.POLLOUT if other.waiting or (other.ended and not other.passed_on) else 0
        if events:
            poll.register(flow.source, events)
    poll.poll(POLL * 1000)


def _end_sending(sock: AnySocket) -> None:
    if isinstance(sock, TlsSocket):
        sock.end_sending()
    else:
        sock.shutdown(socket.SHUT_WR)
