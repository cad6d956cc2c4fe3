"""Which scans run and which wait: by memory and by priority, with a bounded queue."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from onebreath.config.node_options import Priority
from onebreath.diagnostics.reports import Busy
from onebreath.errors import OnebreathError, ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.wire.limits import half_of_memory

log = logging.getLogger("onebreath.scheduler")

COPIES = 4  # of a scan's raw data that a chain holds at its peak: lines, sorted, being solved, and images
BASE = 128 << 20  # bytes that any scan needs
CHANNELS = 32  # where the header does not say
MOST_CHANNELS = 1024
HELD = 2  # times as much as a scan is known to hold is what it needs: its work takes the rest
GIVEN_UP = 60.0  # seconds in which a scan that was given up must have ended
OLD = 6 * 3600.0  # seconds after which a scan has been there for too long
REMEMBERED = 50  # scans that have ended, for the status


def needed_bytes(header: Any) -> int:
    """Estimate the memory that a scan needs, from what its ISMRMRD header announces.

    A header that says too little or too much gives a poor estimate, never an error: the gadgets judge the header.
    """
    try:
        scan = ScanHeader(header)
    except ScanError:
        return BASE
    images = 1
    try:
        for counter in ("slice", "phase", "set", "repetition", "contrast"):
            limits = scan.limits(counter)
            images *= 1 if limits is None else max(1, limits.maximum - limits.minimum + 1)
        channels = min(max(scan.receiver_channels or CHANNELS, 1), MOST_CHANNELS)
    except ScanError:
        return BASE
    return BASE + COPIES * 8 * images * math.prod(scan.encoded_matrix) * channels


@dataclass
class Ticket:
    """A scan in the scheduler's books.

    Parameters
    ----------
    scan, title
        See `onebreath.worker.spool.Request`.
    side
        Where it came from: ``client``, ``connect``, ``execute`` or ``spool``.
    priority
        How urgent it is.
    needs
        Bytes of memory that it is thought to need.
    deadline
        Seconds from its arrival after which nobody wants its images; 0: none.
    ready
        Whether it has data to work on; see `Scheduler.ready`.
    """

    scan: str
    title: str
    side: str
    priority: Priority = Priority.REPLAY
    needs: int = BASE
    deadline: float = 0.0
    arrived: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    images: int = 0
    outcome: str = "waiting"
    ready: bool = True
    worst: str = "done"
    admitted: threading.Event = field(default_factory=threading.Event)
    clock: float = field(default_factory=time.monotonic)
    cancelled: OnebreathError | None = None
    cancelled_at: float = 0.0

    @property
    def overdue(self) -> bool:
        """Whether its deadline has passed; by a clock that nobody sets."""
        return bool(self.deadline) and time.monotonic() - self.clock > self.deadline

    def cancel(self, reason: OnebreathError) -> None:
        """End the scan at its next message, or its waiting."""
        if self.cancelled is None:
            self.cancelled_at = time.monotonic()
            self.cancelled = reason

    def count(self, images: int) -> None:
        """Add images that a node of the scan has made."""
        self.images += images

    def check(self) -> None:
        """Raise the reason if the scan was cancelled."""
        if self.cancelled is not None:
            raise self.cancelled

    def facts(self) -> dict[str, Any]:
        """What the status says about it."""
        return {
            "scan": self.scan,
            "title": self.title,
            "side": self.side,
            "priority": self.priority.name.lower(),
            "needs_mb": round(self.needs / 1e6),
            "arrived": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.arrived)),
            "waited_s": round(self._until(self.started) - self.arrived, 3),
            "seconds": round(self._until(self.ended) - self.arrived, 3),
            "images": self.images,
            "outcome": self.outcome,
        }

    def _until(self, moment: float | None) -> float:
        return moment or self.ended or time.time()


class Scheduler:
    """Admits scans: those that wait go by priority, then by arrival; the first one waits until it fits.

    Parameters
    ----------
    slots
        Scans that may run at once; one late scan may run besides, so that it keeps no other waiting.
    memory
        Bytes that they may need together; a scan that needs more than all of it runs alone.
    queue
        Scans that may wait; one more is refused.
    """

    def __init__(self, slots: int, memory: int, queue: int) -> None:
        self.slots, self.memory, self.queue = slots, memory, queue
        self.machine = 2 * half_of_memory()
        self._guard = threading.Lock()
        self._order = itertools.count()
        self._waiting: list[tuple[Priority, int, Ticket]] = []
        self._running: list[Ticket] = []
        self._ended: deque[Ticket] = deque(maxlen=REMEMBERED)
        self._counts: dict[str, int] = {}

    def enter(self, ticket: Ticket) -> None:
        """Queue a scan; its `admitted` is set when it may run.

        Raises
        ------
        ScanError
            If it announces more than this computer has.
        Busy
            If too many wait already. Late ones always find room: they wait on disk.
        """
        if ticket.needs > self.machine:
            raise ScanError(
                f"the header announces a scan of {ticket.needs / 1e9:.0f} GB by matrix, counters and channels; this "
                f"computer has {self.machine / 1e9:.0f} GB"
            )
        with self._guard:
            queued = self._queued()
            if ticket.priority != Priority.LATE and queued >= self.queue and not self._fits(ticket):
                raise Busy(f"{queued} scans wait already, which is as many as may")
            self._waiting.append((ticket.priority, next(self._order), ticket))
            self._waiting.sort(key=lambda entry: entry[:2])
            self._admit()

    def ready(self, ticket: Ticket) -> None:
        """Let a scan that waited for its first data run when it fits; others may have overtaken it."""
        with self._guard:
            ticket.ready = True
            self._admit()

    def allows(self, ticket: Ticket, held: int) -> bool:
        """Whether a running scan may hold so many bytes; what it needs above its estimate comes from what is free."""
        needs = BASE + HELD * held
        if needs <= ticket.needs:
            return True
        with self._guard:
            others = sum(other.needs for other in self._running if other is not ticket)
            if needs > self.memory - others:
                return False
            ticket.needs = needs
            return True

    def full(self) -> bool:
        """Whether as many scans wait as may."""
        with self._guard:
            return self._queued() >= self.queue

    def leave(self, ticket: Ticket, outcome: str) -> None:
        """Take a scan out of the books, whether it ran or still waited."""
        with self._guard:
            self._waiting = [entry for entry in self._waiting if entry[2] is not ticket]
            if ticket in self._running:
                self._running.remove(ticket)
            ticket.ended, ticket.outcome = time.time(), outcome
            self._ended.append(ticket)
            self._counts[outcome] = self._counts.get(outcome, 0) + 1
            self._admit()

    def snapshot(self) -> dict[str, Any]:
        """What the status says: memory, counts, and the scans that run, wait and have ended."""
        with self._guard:
            return {
                "slots": self.slots,
                "queue": self.queue,
                "memory_mb": round(self.memory / 1e6),
                "reserved_mb": round(self._reserved() / 1e6),
                "counts": dict(self._counts),
                "running": [ticket.facts() for ticket in self._running],
                "waiting": [ticket.facts() for _, _, ticket in self._waiting],
                "ended": [ticket.facts() for ticket in self._ended],
            }

    def stuck(self) -> list[str]:
        """Return which scans keep their places although they were given up, or for so long that it cannot be right."""
        now = time.monotonic()
        with self._guard:
            running = list(self._running)
        given_up = [t for t in running if t.cancelled is not None and now - t.cancelled_at > GIVEN_UP]
        old = [t for t in running if now - t.clock > OLD and t not in given_up]
        return [f"scan {t.scan} was given up {now - t.cancelled_at:.0f} s ago and still runs" for t in given_up] + [
            f"scan {t.scan} has run and waited for {(now - t.clock) / 3600:.1f} h" for t in old
        ]

    def _queued(self) -> int:
        return sum(priority != Priority.LATE for priority, _, _ in self._waiting)

    def _reserved(self) -> int:
        return sum(ticket.needs for ticket in self._running)

    def _fits(self, ticket: Ticket) -> bool:
        if not self._running:
            return True
        late = sum(other.priority == Priority.LATE for other in self._running)
        if ticket.priority == Priority.LATE:
            room = not late and len(self._running) < self.slots
        else:
            room = len(self._running) - late < self.slots
        return room and self._reserved() + ticket.needs <= self.memory

    def _admit(self) -> None:
        """Let in from the front of the queue; a scan that does not fit is not overtaken, or it might wait for ever."""
        while (entry := next((one for one in self._waiting if one[2].ready), None)) and self._fits(entry[2]):
            self._waiting.remove(entry)
            ticket = entry[2]
            ticket.started, ticket.outcome = time.time(), "running"
            self._running.append(ticket)
            log.info("scan %s runs (%s, %s)", ticket.scan, ticket.title, ticket.side)
            ticket.admitted.set()
