"""Scheduling of scans by memory and priority, with a bounded queue."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from onebreath.config.node_options import Priority
from onebreath.diagnostics.reports import Busy
from onebreath.errors import ConnectionLost, ScanError
from onebreath.wire.limits import half_of_memory
from onebreath.worker.fairness import OWN_USER, Turns, by_address, gives_way
from onebreath.worker.ticket import BASE, Ticket

log = logging.getLogger("onebreath.scheduler")

HELD = 2  # times as much as a scan is known to hold is what it needs: its work takes the rest
GIVEN_UP = 60.0  # seconds in which a scan that was given up must have ended
OLD = 6 * 3600.0  # seconds after which a scan has been there for too long
PATIENT = 10.0  # seconds of waiting after which a scan that was replayed goes before live ones that came after it
GRACE = 10.0  # seconds of rest after which a scan keeps only the memory that it holds, where others need it
OVERTAKEN = 8  # times that a scan which does not fit is overtaken by scans of other addresses
CROWD = 4  # scans of one address whose data do not come, of which one gives way where memory is short
REMEMBERED = 50  # scans that have ended, for the status


class Scheduler:
    """Admits scans: those that wait go by priority, by how many of their sender run already, and in turns of senders.

    The first one waits until it fits. One that was replayed and has waited for `PATIENT` seconds is as urgent as a live
    one. A scan that waits for its client gives its slot to others, not its memory; see `rest`.

    Parameters
    ----------
    slots
        Scans that may run at once; one late scan may run besides, so that it keeps no other waiting.
    memory
        Bytes that they may need together; a scan that needs more than all of it runs alone.
    queue
        Scans that may wait, of live ones and of others; one more is refused, or takes the slot of one whose sender has
        more slots (`fairness.gives_way`).
    """

    def __init__(self, slots: int, memory: int, queue: int) -> None:
        self.slots, self.memory, self.queue = slots, memory, queue
        self.machine = 2 * half_of_memory()
        self._guard = threading.Lock()
        self._waiting: list[Ticket] = []  # in the order of arrival
        self._running: list[Ticket] = []
        self._served = Turns()
        self._ended: deque[Ticket] = deque(maxlen=REMEMBERED)
        self._counts: dict[str, int] = {}
        self._earlier: list[dict[str, Any]] = []

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
            self._waiting.append(ticket)
            self._admit()
            waits = not ticket.admitted.is_set() and (ticket.ready or not self._fits(ticket))
            if waits and ticket.priority != Priority.LATE:
                self._find_place(ticket)

    def _find_place(self, ticket: Ticket) -> None:
        queued = [other for other in self._waiting if other.priority == ticket.priority and other is not ticket]
        if len(queued) < self.queue:
            return
        gone = gives_way(queued, ticket)
        self._waiting.remove(ticket if gone is None else gone)
        if gone is None:
            raise Busy(f"{len(queued)} scans wait already, which is as many as may")
        gone.cancel(Busy(f"{len(queued)} scans wait already, and of this sender more than of others"))

    def ready(self, ticket: Ticket) -> None:
        """Admit a scan that waited for its first data when it fits; others may have overtaken it."""
        with self._guard:
            ticket.ready = True
            self._admit()

    def allows(self, ticket: Ticket, held: int) -> bool:
        """Whether a running scan may hold this many bytes; what it needs above its estimate comes from what is free."""
        ticket.held = held
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
        """Return whether the queue of live scans is full."""
        with self._guard:
            return sum(other.priority == Priority.LIVE for other in self._waiting) >= self.queue

    def rest(self, ticket: Ticket, idle: bool) -> None:
        """Say whether a scan waits for its client, whose data do not come or who does not take its images.

        Where memory is too short for the first of those that wait, scans of other addresses that have rested for a
        while keep no more of it than they hold; of a crowd of one address the one that rested longest is given up.
        """
        with self._guard:
            if not idle:
                ticket.idle_since = None
                return
            ticket.idle_since = ticket.idle_since or time.monotonic()
            self._admit()
            first = self._first()
            if first is not None and first.priority != Priority.LATE:
                self._thin_out(first)

    def _thin_out(self, first: Ticket) -> None:
        """Take memory from scans at rest of other addresses than that of the first which waits for it."""
        spared = (first.sender.address, OWN_USER)
        rests = [t for t in self._running if t.idle_since is not None and t.sender.address not in spared]
        rests = sorted((t for t in rests if t.cancelled is None), key=lambda t: t.idle_since or 0.0)
        for ticket in rests:
            if time.monotonic() - (ticket.idle_since or 0.0) > GRACE:
                ticket.needs = min(ticket.needs, BASE + HELD * ticket.held)
        self._admit()
        address, count = next(iter(Counter(t.sender.address for t in rests).most_common(1)), (None, 0))
        if not first.admitted.is_set() and count > CROWD:
            longest = next(ticket for ticket in rests if ticket.sender.address == address)
            longest.cancel(ConnectionLost("its data did not come, and other scans need its memory"))

    def leave(self, ticket: Ticket, outcome: str) -> None:
        """Remove a scan, whether it ran or still waited."""
        with self._guard:
            self._waiting = [other for other in self._waiting if other is not ticket]
            if ticket in self._running:
                self._running.remove(ticket)
            ticket.ended, ticket.outcome = time.time(), outcome
            self._served.ended(ticket, outcome)
            self._ended.append(ticket)
            self._counts[outcome] = self._counts.get(outcome, 0) + 1
            self._admit()

    def snapshot(self) -> dict[str, Any]:
        """Return the status: memory, counts, and running, waiting and ended scans."""
        with self._guard:
            return {
                "slots": self.slots,
                "queue": self.queue,
                "memory_mb": round(self.memory / 1e6),
                "reserved_mb": round(self._reserved() / 1e6),
                "counts": dict(self._counts),
                "running": [ticket.facts() for ticket in self._running],
                "waiting": [ticket.facts() for ticket in sorted(self._waiting, key=self._turn)],
                "ended": [*self._earlier, *(ticket.facts() for ticket in self._ended)][-REMEMBERED:],
            }

    def protocols(self) -> dict[str, str]:
        """Return the protocols of the scans that run and wait, by scan; the status does not tell them."""
        with self._guard:
            return {ticket.scan: ticket.protocol for ticket in (*self._running, *self._waiting)}

    def remember(self, counts: Mapping[str, int], ended: Sequence[Mapping[str, Any]]) -> None:
        """Continue with the counts and ended scans that this process had before a restart."""
        with self._guard:
            self._earlier = [dict(facts) for facts in ended]
            for outcome, count in counts.items():
                self._counts[outcome] = self._counts.get(outcome, 0) + count

    def stuck(self) -> list[str]:
        """Return which scans keep their slots although they were given up, or for so long that it cannot be right."""
        now = time.monotonic()
        with self._guard:
            running = list(self._running)
        given_up = [t for t in running if t.cancelled is not None and now - t.cancelled_at > GIVEN_UP]
        old = [t for t in running if now - t.clock > OLD and t not in given_up]
        return [f"scan {t.scan} was given up {now - t.cancelled_at:.0f} s ago and still runs" for t in given_up] + [
            f"scan {t.scan} has run and waited for {(now - t.clock) / 3600:.1f} h" for t in old
        ]

    def _reserved(self) -> int:
        return sum(ticket.needs for ticket in self._running)

    def _fits(self, ticket: Ticket) -> bool:
        if not self._running:
            return True
        late = sum(other.priority == Priority.LATE for other in self._running)
        if ticket.priority == Priority.LATE:
            room = not late and len(self._running) < self.slots
        else:
            at_work = sum(other.priority != Priority.LATE and other.idle_since is None for other in self._running)
            room = at_work < self.slots
        return room and self._reserved() + ticket.needs <= self.memory

    def _turn(self, ticket: Ticket) -> tuple[Priority, tuple[int, ...], float]:
        """Return the sort key of a waiting scan."""
        aged = ticket.priority == Priority.REPLAY and time.monotonic() - ticket.clock > PATIENT
        fair = self._served.order(ticket, self._running)
        return Priority.LIVE if aged else ticket.priority, fair, ticket.clock

    def _first(self) -> Ticket | None:
        return next(iter(self._in_turn()), None)

    def _in_turn(self) -> list[Ticket]:
        """Return the waiting scans that may run when they fit, in order."""
        may = [ticket for ticket in self._waiting if ticket.ready and not self._held_back(ticket)]
        return sorted(may, key=self._turn)

    def _held_back(self, ticket: Ticket) -> bool:
        """Return whether a scan must wait for another of its address, because most of those fail."""
        if self.slots == 1 or not self._served.bad(ticket):
            return False
        return any(by_address(other) == by_address(ticket) for other in self._running)

    def _admit(self) -> None:
        """Admit the scans whose turn it is. One that does not fit is overtaken by few others, none of its address."""
        while (ticket := self._next()) is not None:
            self._waiting.remove(ticket)
            ticket.started, ticket.outcome = time.time(), "running"
            self._running.append(ticket)
            self._served.note(ticket)
            log.info("scan %s runs (%s, %s)", ticket.scan, ticket.title, ticket.side)
            ticket.admitted.set()

    def _next(self) -> Ticket | None:
        passed: list[Ticket] = []
        for ticket in self._in_turn():
            if passed and ticket.priority == Priority.LATE:
                break
            if any(by_address(ticket) == by_address(other) for other in passed):
                continue
            if self._fits(ticket):
                for other in passed:
                    other.overtaken += 1
                return ticket
            if ticket.overtaken >= OVERTAKEN:
                break
            passed.append(ticket)
        return None
