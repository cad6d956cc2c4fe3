"""A concurrent TCP service: one thread per connection, for ``<connect>`` nodes and for the host's clients."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from onebreath.errors import OnebreathError

log = logging.getLogger("onebreath.listener")

POLL = 0.2  # seconds between looks at whether the service was closed


class Listener:
    """Accept connections until closed and serve each in a thread of its own.

    Parameters
    ----------
    serve
        Gets each accepted socket, and owns it.
    host
        Address to listen on; empty: all of them, IPv4 and IPv6.
    port
        Port; 0: any free one, see `address`.

    Raises
    ------
    OnebreathError
        If the port cannot be had.
    """

    def __init__(self, serve: Callable[[socket.socket], None], host: str = "127.0.0.1", port: int = 0) -> None:
        self.serve = serve
        try:
            if host or not socket.has_dualstack_ipv6():
                self._socket = socket.create_server((host, port), backlog=64)
            else:
                self._socket = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        except OSError as error:
            raise OnebreathError(f"cannot listen on {host or '*'}:{port}: {error.strerror}") from error
        self._socket.settimeout(POLL)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._live: dict[threading.Thread, socket.socket] = {}
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._accepting = threading.Thread(target=self._accept, name="onebreath-accept", daemon=True)
        self._accepting.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, peer = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if not self._closing.is_set():
                    log.error("no more connections can be accepted: %s", error)
                return
            thread = threading.Thread(target=self._run, args=(sock, peer), name=f"onebreath-{peer}", daemon=True)
            with self._guard:
                self._live[thread] = sock
            thread.start()

    def _run(self, sock: socket.socket, peer: object) -> None:
        log.debug("connection from %s", peer)
        try:
            self.serve(sock)
        except OnebreathError as error:
            log.error("connection from %s: %s", peer, error)
        except Exception:
            log.exception("internal error while serving %s", peer)
        finally:
            sock.close()
            with self._guard:
                self._live.pop(threading.current_thread(), None)

    def wait(self) -> None:
        """Wait until the service is closed, or a signal interrupts."""
        while not self._closing.wait(POLL):
            pass

    def close(self, patience: float = 5.0) -> None:
        """Stop accepting, break the live connections, and wait up to `patience` seconds for their threads."""
        self._closing.set()
        with suppress(OSError):  # wakes the accepting thread at once on Linux; elsewhere it wakes at its next poll
            self._socket.shutdown(socket.SHUT_RDWR)
        self._accepting.join(patience)
        self._socket.close()
        with self._guard:
            live = dict(self._live)
        for sock in live.values():
            with suppress(OSError):  # it may have ended by itself just now
                sock.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + patience
        for thread in live:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log.warning("%s is still at work; it is left behind", thread.name)
