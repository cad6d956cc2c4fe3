"""Supervision of running scans: a thread detects disconnected clients and expired deadlines."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from onebreath.cancellation import ended_by
from onebreath.diagnostics.logs import SCAN
from onebreath.diagnostics.reports import Overdue, report
from onebreath.errors import ConnectionLost
from onebreath.host.listener import settle
from onebreath.threads import begin
from onebreath.wire.channel import Channel
from onebreath.worker.spooling.spool import SpooledScan
from onebreath.worker.spooling.stream import SpoolStream
from onebreath.worker.ticket import Ticket

log = logging.getLogger("onebreath.service")

FORGOTTEN = 0.5  # seconds after a scan in which its threads end
SELDOM = 60.0  # seconds after a small scan; without it memory grew by half a MB a minute beside hostile clients
WATCH = 0.25  # seconds between looks at all scans
MOSTLY = 0.9  # of its time that a scan which waits for its client has waited


@dataclass
class Watched:
    """A supervised node.

    Parameters
    ----------
    name
        Its own identifier; that of its scan may be another node's.
    ticket
        Of its scan.
    channel
        Its connection.
    shim
        Connection to the process that handed it over.
    spooled
        Its data on disk.
    looks
        When it was looked at, and how long it had waited for its client until then; of the last seconds.
    teller
        Who tells the other side that its time is over.
    gone
        Whether the other side has gone.
    """

    name: str
    ticket: Ticket
    channel: Channel
    shim: socket.socket | None
    spooled: SpooledScan | None = None
    looks: deque[tuple[float, float]] = field(default_factory=deque)
    teller: threading.Thread | None = None
    gone: bool = False

    @property
    def stream(self) -> SpoolStream:
        """The stream below the channel."""
        stream = self.channel.stream
        assert isinstance(stream, SpoolStream)
        return stream

    def waits(self, window: float) -> bool:
        """Return whether it waited for its client for most of the last seconds."""
        now = time.monotonic()
        self.looks.append((now, self.stream.waited))
        while len(self.looks) > 2 and self.looks[1][0] <= now - window:
            self.looks.popleft()
        (begun, before), (_, waited) = self.looks[0], self.looks[-1]
        return now - begun >= window and waited - before > MOSTLY * (now - begun)

    def join_teller(self) -> None:
        """Wait until the peer was informed; a Gadgetron server listens only when its data are through."""
        if self.teller is not None:
            self.teller.join()

    def already_informed(self) -> ConnectionLost | None:
        """Return the error that ends a scan whose peer was informed already, so that it is not informed twice."""
        if self.teller is None:
            return None
        return ConnectionLost("its time was over, and the other side has been informed")


class Watcher:
    """Supervises all scans in its own thread, until it is closed.

    Parameters
    ----------
    rest
        Called with the ticket of a scan, and whether all its nodes wait for their clients.
    idle
        Seconds for which they must have waited, for the most part; 0: `rest` is never called.
    """

    def __init__(self, rest: Callable[[Ticket, bool], None] = lambda ticket, idle: None, idle: float = 0.0) -> None:
        self._rest, self._idle = rest, idle
        self._watched: dict[str, Watched] = {}
        self._tidy_at = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="onebreath-watch", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._watched)

    @property
    def works(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def tidy(self, large: bool) -> None:
        """Give memory back to the system: soon after a large scan that ended just now, a while after a small one."""
        at = time.monotonic() + (FORGOTTEN if large else SELDOM)
        self._tidy_at = min(at, self._tidy_at or at)

    def close(self, patience: float) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join(patience)

    @contextmanager
    def looked_after(self, watched: Watched) -> Iterator[None]:
        """Supervise a node while the body runs; its cancellation reaches all threads that work on it."""
        SCAN.set(watched.ticket.scan)
        self._watched[watched.name] = watched
        try:
            with ended_by(watched.ticket.check):
                yield
        finally:
            settle(False)  # only the rest of the input is to be read; new scans go before that
            self._watched.pop(watched.name, None)

    def _watch(self) -> None:
        while not self._closing.wait(WATCH):
            if self._tidy_at and time.monotonic() > self._tidy_at:
                self._tidy_at = 0.0
                _give_back()
            for watched in list(self._watched.values()):
                try:
                    _look_after(watched)
                except Exception:
                    log.exception("scan %s cannot be looked after", watched.name)
            if self._idle:
                self._tell_who_rests()

    def _tell_who_rests(self) -> None:
        rests: dict[int, tuple[Ticket, bool]] = {}
        for watched in list(self._watched.values()):
            if not watched.stream.closed and watched.ticket.started is not None:
                _, before = rests.get(id(watched.ticket), (None, True))
                rests[id(watched.ticket)] = (watched.ticket, watched.waits(self._idle) and before)
        for ticket, idle in rests.values():
            try:
                self._rest(ticket, idle)
            except Exception:
                log.exception("scan %s cannot be looked after", ticket.scan)


def _give_back() -> None:
    """Run the garbage collector, and make the C library return free memory, of which it keeps blocks of some MB."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _look_after(watched: Watched) -> None:
    ticket = watched.ticket
    if watched.gone or watched.teller is not None:
        return
    if _gone(watched.channel.stream) or (watched.shim is not None and _hung_up(watched.shim)):
        watched.gone = True
        ticket.cancel(ConnectionLost("the other side has gone"))
        watched.channel.stream.abort()
    elif ticket.cancelled is None and ticket.overdue:
        _end_overdue(watched)


def _end_overdue(watched: Watched) -> None:
    ticket = watched.ticket
    error = Overdue(f"scan {ticket.scan} was not ready within {ticket.limit:g} s")
    if ticket.admitted.is_set():  # else its own thread tells
        text = report(error, ticket.title)
        watched.teller = threading.Thread(
            target=watched.channel.fail, args=(text,), name="onebreath-overdue", daemon=True
        )
        begin(watched.teller)
    ticket.cancel(error)


def _gone(stream: Any) -> bool:
    """Return whether the peer of a stream has closed or reset it; one that only sends no more is still there."""
    return not stream.closed and _hung_up(stream.socket) and not stream.closed


def _hung_up(sock: socket.socket) -> bool:
    if sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


def free_accelerator() -> None:
    """Release what a failed scan left in torch's cache, so that it does not count as used for the next one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
