"""A concurrent service: one thread per connection, for ``<connect>`` nodes, clients, and scans handed over."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from onebreath.diagnostics.events import tell
from onebreath.errors import OnebreathError

log = logging.getLogger("onebreath.listener")

Serve: TypeAlias = Callable[[socket.socket], None]

POLL = 0.2  # seconds between looks at whether the service was closed
TOLD = 4  # connections at once that are told why they are refused; more are closed without a word


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


@dataclass(frozen=True)
class Door:
    """Who is served.

    Parameters
    ----------
    admits
        Says of a peer, as `socket.accept` names it, whether its connection is served; quick, as all others wait.
    refuse
        Gets the socket of one that is not, and says why; in a thread of its own.
    """

    admits: Callable[[object], bool]
    refuse: Serve


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
    door
        Who is served; None: everybody.

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
        door: Door | None = None,
    ) -> None:
        self.serve, self.door = serve, door
        self.socket = open_port(host, port) if sock is None else sock
        self.socket.settimeout(POLL)
        self.address: tuple[str, int] = self.socket.getsockname()[:2]
        self._live: dict[threading.Thread, socket.socket] = {}
        self._guard = threading.Lock()
        self._room, self._told = threading.Semaphore(most), threading.Semaphore(TOLD)
        self._stopping = threading.Event()
        self._accepting = threading.Thread(target=self._accept, name="onebreath-accept", daemon=True)
        self._accepting.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            if self._room.acquire(timeout=POLL) and not self._take_one():
                self._room.release()

    def _take_one(self) -> bool:
        """Accept a connection and begin to serve it; False if none came, or it is not served."""
        try:
            sock, peer = self.socket.accept()
        except TimeoutError:
            return False
        except OSError as error:
            if not self._stopping.is_set():
                log.error("no connection can be accepted now: %s", error)
                time.sleep(POLL)  # too many open files, mostly: it passes when scans end
            return False
        if self.door is None or self.door.admits(peer):
            self._begin(self.serve, sock, peer, self._room)
            return True
        told = self._told.acquire(blocking=False)
        tell("refused", told=told)
        if told:
            self._begin(self.door.refuse, sock, peer, self._told)
        else:
            sock.close()
        return False

    def _begin(self, serve: Serve, sock: socket.socket, peer: object, room: threading.Semaphore) -> None:
        thread = threading.Thread(target=self._run, args=(serve, sock, peer, room), name=f"onebreath-{peer}")
        thread.daemon = True
        with self._guard:
            self._live[thread] = sock
        thread.start()

    def _run(self, serve: Serve, sock: socket.socket, peer: object, room: threading.Semaphore) -> None:
        log.debug("connection from %s", peer)
        try:
            serve(sock)
        except OnebreathError as error:
            log.error("connection from %s: %s", peer, error)
        except Exception:
            log.exception("internal error while serving %s", peer)
        finally:
            sock.close()
            with self._guard:
                self._live.pop(threading.current_thread(), None)
            room.release()

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
        for sock in live:
            with suppress(OSError):  # it may have ended by itself just now
                sock.shutdown(socket.SHUT_RDWR)

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
