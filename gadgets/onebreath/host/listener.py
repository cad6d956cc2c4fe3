"""A concurrent service: one thread per connection, for ``<connect>`` nodes, clients, and scans handed over."""

from __future__ import annotations

import contextvars
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from onebreath.diagnostics.events import tell
from onebreath.diagnostics.logs import secrets_of_a_scan
from onebreath.errors import OnebreathError
from onebreath.threads import begin

log = logging.getLogger("onebreath.listener")

Serve: TypeAlias = Callable[[socket.socket], None]

POLL = 0.2  # seconds between looks at whether the service was closed
STANDS = 30.0  # seconds after which a thread that accepts nothing, and does not even look, is ill
CROWD = 4  # times as many threads as strangers may be there, until those that were sent away have ended


def open_port(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Listen on a TCP port; an empty `host` means all addresses, IPv4 and IPv6, and port 0 any free one.

    Raises
    ------
    OnebreathError
        If the port cannot be had.
    """
    try:
        if host or not socket.has_dualstack_ipv6():
            return socket.create_server((host, port), backlog=64)
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    except OSError as error:
        raise OnebreathError(f"cannot listen on {host or '*'}:{port}: {error.strerror}") from error


@dataclass(eq=False)
class Guest:
    """An accepted connection.

    Attributes
    ----------
    sock
        Its socket, to be broken off by.
    peer
        As `socket.accept` names it.
    settled
        Whether it has a slot of its own: it is never dropped in favour of others.
    away
        Whether it was dropped for another.
    """

    sock: socket.socket
    peer: Any
    settled: bool = False
    away: bool = False

    def send_away(self) -> None:
        """Break the connection, whatever protocol runs over it; its thread ends as a result."""
        self.away = True
        with suppress(OSError):  # it may have ended by itself just now
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # not the TLS layer's, which another thread is in


_guest: contextvars.ContextVar[Guest | None] = contextvars.ContextVar("guest", default=None)


def settle(settled: bool = True) -> None:
    """Record whether the connection of this thread has a slot of its own; see `Listener`."""
    guest = _guest.get()
    if guest is not None:
        guest.settled = settled


def peer() -> Any:
    """Return the other side of the connection that this thread serves, as `socket.accept` names it; None: unknown."""
    guest = _guest.get()
    return None if guest is None else guest.peer


def speaks_through(sock: socket.socket) -> None:
    """Record that the connection of this thread has a new socket object, as after a TLS handshake."""
    guest = _guest.get()
    if guest is not None:
        guest.sock = sock


class Listener:
    """Accept connections until closed and serve each in a thread of its own.

    Parameters
    ----------
    serve
        Gets each accepted socket, and owns it.
    host, port
        See `open_port`.
    sock
        A socket that listens already, instead of these.
    most
        Connections served at once; more wait, unread, in the kernel's queue.
    yielding
        Connections that have no slot of their own yet (see `settle`) give way instead: above `most` of them, the
        oldest of the address that has most is broken off for the one that comes. Those with a slot are not counted.

    Raises
    ------
    OnebreathError
        If the port cannot be had.
    """

    def __init__(
        self,
        serve: Serve,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        most: int = 256,
        yielding: bool = False,
    ) -> None:
        self.serve, self.most, self.yielding = serve, most, yielding
        self.socket = open_port(host, port) if sock is None else sock
        self.socket.settimeout(POLL)
        self.address: tuple[str, int] = self.socket.getsockname()[:2]
        self._live: dict[threading.Thread, Guest] = {}
        self._guard = threading.Lock()
        self._room = threading.Semaphore(most)
        self._stopping = threading.Event()
        self._round = time.monotonic()
        self._accepting = threading.Thread(target=self._accept, name="onebreath-accept", daemon=True)
        self._accepting.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def accepts(self) -> bool:
        """Return whether connections are still accepted: the thread is alive and its loop advances."""
        return self._accepting.is_alive() and time.monotonic() - self._round < STANDS

    def _accept(self) -> None:
        while not self._stopping.is_set():
            self._round = time.monotonic()
            try:
                self._take_one()
            except Exception as error:  # noqa: BLE001 - no thread or no memory for one: others may have ended soon
                log.error("no connection can be served now: %s", error)
                time.sleep(POLL)

    def _take_one(self) -> None:
        """Accept a connection and begin to serve it, if there is room and one comes."""
        if self.yielding and len(self._live) >= CROWD * self.most:
            time.sleep(POLL)
            return
        if not self.yielding and not self._room.acquire(timeout=POLL):
            return
        sock = None
        try:
            sock, peer = self.socket.accept()
            if self.yielding:
                self._make_room()
            self._begin(sock, peer)
        except Exception as error:
            if sock is not None:
                sock.close()
            if not self.yielding:
                self._room.release()
            if isinstance(error, TimeoutError) or self._stopping.is_set():
                return
            raise  # too many open files, mostly

    def _make_room(self) -> None:
        with self._guard:
            strangers = [guest for guest in self._live.values() if not guest.settled and not guest.away]
        if len(strangers) >= self.most:
            most, _ = Counter(_address(guest) for guest in strangers).most_common(1)[0]
            next(guest for guest in strangers if _address(guest) == most).send_away()
            tell("refused", told=False)

    def _begin(self, sock: socket.socket, peer: object) -> None:
        thread = threading.Thread(target=self._run, args=(sock, peer), name=f"onebreath-{peer}", daemon=True)
        with self._guard:
            self._live[thread] = Guest(sock, peer)
        try:
            begin(thread)
        except BaseException:
            with self._guard:
                self._live.pop(thread, None)
            raise

    def _run(self, sock: socket.socket, peer: object) -> None:
        log.debug("connection from %s", peer)
        try:
            with self._guard:
                _guest.set(self._live[threading.current_thread()])
            with secrets_of_a_scan():
                self.serve(sock)
        except OnebreathError as error:
            log.error("connection from %s: %s", peer, error)
        except Exception:
            log.exception("internal error while serving %s", peer)
        finally:
            sock.close()
            with self._guard:
                self._live.pop(threading.current_thread(), None)
            if not self.yielding:
                self._room.release()

    def wait(self) -> None:
        """Wait until the service is closed, or a signal interrupts."""
        while not self._stopping.wait(POLL):
            pass

    def stop_accepting(self) -> None:
        """Accept no more connections; the socket keeps listening, so new ones wait in the kernel's queue."""
        self._stopping.set()
        self._accepting.join()

    def idle(self, patience: float) -> bool:
        """Wait until no connection is served; False if that takes longer than `patience` seconds."""
        deadline = time.monotonic() + patience
        with self._guard:
            live = list(self._live)
        for thread in live:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in live)

    def break_off(self) -> None:
        """Break the live connections."""
        with self._guard:
            live = list(self._live.values())
        for guest in live:
            guest.send_away()

    def close(self, patience: float = 5.0) -> None:
        """Stop accepting, break the live connections, and wait up to `patience` seconds for their threads."""
        self._stopping.set()
        with suppress(OSError):  # wakes the accepting thread at once on Linux; elsewhere it wakes at its next poll
            self.socket.shutdown(socket.SHUT_RDWR)
        self._accepting.join(patience)
        self.socket.close()
        self.break_off()
        if not self.idle(patience):
            log.warning("connections are still at work; they are left behind")


def _address(guest: Guest) -> object:
    return guest.peer[0] if isinstance(guest.peer, tuple) else guest.peer
