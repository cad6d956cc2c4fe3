"""The resident worker: torch, models and configurations stay loaded, and scans of all sides are served at once.

It takes scans from clients (as a Gadgetron server does), from ``<connect>`` nodes, and from the processes that
Gadgetron starts for ``<execute>`` nodes, which hand their sockets over.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from onebreath import __version__
from onebreath.config.policy import is_own
from onebreath.config.properties import CHAIN_TARGET
from onebreath.errors import OnebreathError, WireError
from onebreath.host.handover import as_bytes, receive, receive_socket, send
from onebreath.host.listener import Listener, open_port
from onebreath.host.server import (
    CLIENT_PORT,
    HostOptions,
    begun,
    run_spooled,
    serve_client,
    serve_gadget,
)
from onebreath.keeping import Space
from onebreath.registry import GADGETS
from onebreath.shim_settings import STORAGE_OF_SCAN, state_folder
from onebreath.wire.channel import Channel
from onebreath.wire.connection import Connection
from onebreath.worker.joint import scan_key
from onebreath.worker.opening import open_path
from onebreath.worker.rates import RateLimiter, Rates
from onebreath.worker.raw_data import SpoolMode
from onebreath.worker.scan_service import ScanService
from onebreath.worker.scheduler import Scheduler
from onebreath.worker.secure import Security
from onebreath.worker.spooling.spool import scan_id
from onebreath.worker.spooling.stream import SpoolStream

log = logging.getLogger("onebreath.worker")

MEMORY_SHARE = 0.6  # of the free memory, for scans; the rest is for what the estimates leave out
STRANGERS = 128  # connections of a port that have not shown a token, or a header that found room, yet
OFFER_TIME = 10.0  # seconds in which a process that offers a scan must hand its socket over


@dataclass(frozen=True)
class WorkerOptions:
    """Options of the worker.

    Parameters
    ----------
    host
        Address to listen on; empty: all.
    port, gadget_port
        For clients, and for ``<connect>`` nodes; None: not served, 0: any free one.
    path
        Of the socket on which scans are handed over; None: not served.
    slots, memory, queue
        See `Scheduler`.
    spool
        See `ScanService`.
    state
        Folder for raw data and results.
    silence
        See `HostOptions`.
    config_paths
        See `HostOptions`.
    security
        What TCP connections must show.
    quota, reserve
        See `Space`; of the state folder.
    idle
        See `ScanService`.
    rates
        How many of them are served a minute; scans that processes of this user hand over are not counted.
    """

    host: str = "127.0.0.1"
    port: int | None = CLIENT_PORT
    gadget_port: int | None = None
    path: Path | None = None
    slots: int = 2
    memory: int = 4 << 30
    queue: int = 16
    spool: SpoolMode = "auto"
    state: Path = field(default_factory=state_folder)
    silence: float = 600.0
    config_paths: Sequence[Path] | None = None
    security: Security = field(default_factory=Security)
    quota: int = 0
    reserve: int = 0
    rates: Rates = field(default_factory=Rates)
    idle: float = 5.0


class Sends(Protocol):
    """Whoever sends images on beside the worker."""

    def state(self) -> dict[str, Any]:
        """Return its part of the status."""

    def troubles(self) -> list[str]:
        """Return what somebody must look after."""


class Worker:
    """Has its ports once it is made, serves from `start` on until it is closed.

    Between the two, whoever is to hear of each scan is added to it: a client that comes early waits in the kernel's
    queue, and no scan can end unheard.

    Parameters
    ----------
    options
        How.
    sockets
        Sockets that listen already, by name (``client``, ``gadget``, ``worker``).

    Raises
    ------
    OnebreathError
        If a port or path cannot be had.
    """

    def __init__(self, options: WorkerOptions, sockets: Mapping[str, socket.socket] | None = None) -> None:
        self.options = options
        self.begun = time.monotonic()
        self.stopping = False
        self.exports: list[Sends] = []
        host = HostOptions(options.config_paths, silence=options.silence)
        scheduler = Scheduler(options.slots, options.memory, options.queue)
        space = Space(options.state, options.quota, options.reserve)
        run = partial(run_spooled, options=host)
        self.service = ScanService(scheduler, options.state, options.spool, run, space, options.idle)
        self.listeners: dict[str, Listener] = {}
        self._sockets: dict[str, socket.socket] = {}
        try:
            self._open(sockets or {})
        except OnebreathError:
            self.close(1.0)
            raise

    def _open(self, sockets: Mapping[str, socket.socket]) -> None:
        options = self.options
        for name, port in (("gadget", options.gadget_port), ("client", options.port)):
            if port is not None:
                self._sockets[name] = sockets.get(name) or open_port(options.host, port)
                is_own(self._sockets[name].getsockname()[1])
        if options.path is not None:
            self._sockets["worker"] = sockets.get("worker") or open_path(options.path)

    def start(self) -> None:
        """Accept connections, and begin with the scans that an earlier worker left behind."""
        options = self.options
        host = HostOptions(options.config_paths, silence=options.silence, service=self.service, make_stream=SpoolStream)
        for name, serve in (("gadget", serve_gadget), ("client", serve_client)):
            if name in self._sockets:
                limited = replace(host, admits=RateLimiter(options.rates).admits)  # each port has its own
                gated = options.security.gate(partial(serve, options=limited))
                self.listeners[name] = Listener(gated, sock=self._sockets[name], most=STRANGERS, yielding=True)
        if "worker" in self._sockets:  # last: who gets an answer here finds all sides open
            self.listeners["worker"] = Listener(self.serve_offer, sock=self._sockets["worker"])
        self.service.late.recover()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def serve_offer(self, sock: socket.socket) -> None:
        """Serve one connection on the worker's own socket: a question, or a scan that is handed over."""
        sock.settimeout(OFFER_TIME)
        try:
            offer = receive(sock)
            if offer.get("ask") == "status":
                send(sock, self.status())
            elif offer.get("ask") == "serve":
                self._take_over(sock, offer)
            else:
                raise WireError(f"the question {offer.get('ask')!r} is unknown")
        except OSError as error:
            log.info("a process that offered a scan, or asked, went away: %s", error)

    def _take_over(self, sock: socket.socket, offer: Mapping[str, Any]) -> None:
        target, config, header, storage = (offer.get(name) for name in ("target", "config", "header", "storage"))
        if not isinstance(config, str) or not isinstance(header, str) or target not in (CHAIN_TARGET, *GADGETS):
            raise WireError("an offered scan lacks its target, configuration or header")
        STORAGE_OF_SCAN.set(storage if isinstance(storage, str) else None)
        origin, octets = str(offer.get("origin")), as_bytes(header)
        known = self.service.joint.knows(scan_key("execute", origin, octets))
        if self.stopping or (self.service.scheduler.full() and not known):
            send(sock, {"state": "refused", "why": "it is stopping" if self.stopping else "too many scans wait"})
            return
        scan = scan_id()
        spooled = self.service.raw.keeps(str(target), as_bytes(config))
        send(sock, {"state": "accepted", "worker": os.getpid(), "scan": scan, "spooled": spooled})
        _, handed = receive_socket(sock)
        stream = SpoolStream(handed)
        begun(stream, self.options.silence)
        connection = Connection.over(Channel(stream), as_bytes(config), octets)
        self.service.run(connection, str(target), "execute", scan, shim=sock, origin=origin)
        stream.close()
        send(sock, {"state": "done"})

    def status(self) -> dict[str, Any]:
        """Return the content of ``onebreath status``."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self.begun, 1),
            "stopping": self.stopping,
            "troubles": self.troubles(),
            "warnings": self.options.security.warnings(),
            "listens": {name: listening_at(listener.socket) for name, listener in self.listeners.items()},
            "threads": threading.active_count(),
            "accelerator_mb": _accelerator_mb(),
            "spool": self.service.raw.mode,
            **self.service.scheduler.snapshot(),
            "exports": self.export_states(),
            "results": [result.state for result in self.service.late.results.all()],
        }

    def troubles(self) -> list[str]:
        """Return descriptions of the worker's faults; empty if it can serve."""
        found = [
            f"the {name} side accepts no connections"
            for name, listener in self.listeners.items()
            if not listener.accepts and not self.stopping
        ]
        if not self.service.late.works:
            found.append("the thread of late scans has ended")
        if not self.service.watcher.works:
            found.append("the thread that looks after scans has ended")
        found += self.service.raw.troubles()
        for export in list(self.exports):
            found += export.troubles()
        return found + self.service.scheduler.stuck() + self.options.security.faults()

    def export_states(self) -> list[dict[str, Any]]:
        """Return the states of those who send images on."""
        return [export.state() for export in list(self.exports)]

    def pause(self, grace: float) -> bool:
        """Accept no more scans, and wait for those that were accepted; False if some are not done in `grace` seconds.

        New connections wait in the kernel's queue as long as the sockets are open.
        """
        self.stopping = True
        for listener in self.listeners.values():
            listener.stop_accepting()
        log.warning("no more scans are accepted; those that were end first")
        deadline = time.monotonic() + grace
        return all(listener.idle(max(0.0, deadline - time.monotonic())) for listener in self.listeners.values())

    def break_off(self) -> None:
        """Break the connections of scans that run or wait."""
        for listener in self.listeners.values():
            listener.break_off()

    def close(self, patience: float = 5.0) -> None:
        """Break off running scans, and end all threads."""
        self.stopping = True
        if self.options.path is not None and "worker" in self._sockets:
            self.options.path.unlink(missing_ok=True)
        for name, sock in self._sockets.items():
            if name != "worker" and sock.fileno() >= 0:
                is_own(sock.getsockname()[1], listens=False)
            if name in self.listeners:
                self.listeners[name].close(patience)
            sock.close()
        self.service.close(patience)


def listening_at(sock: socket.socket) -> str:
    """Return where a socket listens: ``HOST:PORT``, with brackets around IPv6, or a path."""
    address = sock.getsockname()
    if isinstance(address, str):
        return address
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"


def _accelerator_mb() -> int:
    torch = sys.modules.get("torch")
    return round(torch.cuda.memory_reserved() / 1e6) if torch is not None and torch.cuda.is_initialized() else 0
