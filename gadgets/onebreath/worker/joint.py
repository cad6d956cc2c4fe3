"""One admission for all nodes of a scan, which come to the worker one by one.

A configuration may give each gadget a node of its own, so that several connections belong to one scan. Were each
admitted by itself, a later node could hold the slot that the one before it waits for, and both would wait for ever. So
they share one ticket: admitted with the first of them that has data, gone with the last.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Hashable
from dataclasses import dataclass, field

from onebreath.chain.gadget import gadget_class
from onebreath.config.node_options import Steps
from onebreath.config.stream_config import OWN_MODULE, Connect, External
from onebreath.diagnostics.reports import Busy
from onebreath.errors import ScanError
from onebreath.registry import GADGETS
from onebreath.worker.scheduler import Scheduler
from onebreath.worker.ticket import Ticket

OUTCOMES = ("done", "lost", "overdue", "failed")
"""Possible outcomes of a node; that of the scan is the last of these that any node had."""


def scan_key(side: str, origin: Hashable, header: bytes) -> Hashable:
    """Distinguish the nodes of one scan from those of others.

    Parameters
    ----------
    side
        How they came.
    origin
        Who started them. Gadgetron has a process for each scan, which starts its ``<execute>`` nodes. Its ``<connect>``
        nodes only tell the computer: there, scans of the same header at the same time share what nodes they differ in.
    header
        Text of the ISMRMRD header.
    """
    return side, origin, hashlib.sha256(header).digest()


def is_whole(steps: Steps) -> bool:
    """Return whether the gadgets of a node do all the work on a scan, from its lines to its images."""
    first, last = gadget_class(steps[0][0]), gadget_class(steps[-1][0])
    return first.alone or ("Acquisition" in first.consumes and "Image" in last.emits)


def is_light(node: External) -> bool:
    """Return whether a node computes next to nothing, so that it needs no admission."""
    action = node.action
    if isinstance(action, Connect) or action.module != OWN_MODULE or action.target not in GADGETS:
        return False
    return gadget_class(action.target).light


class JointScans:
    """The tickets of scans with several nodes.

    Parameters
    ----------
    scheduler
        Where the tickets are.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._guard = threading.Lock()
        self._scans: dict[Hashable, list[_Scan]] = {}

    def knows(self, key: Hashable) -> bool:
        """Return whether a node of this scan is already registered."""
        with self._guard:
            return key in self._scans

    def join(self, key: Hashable | None, ticket: Ticket) -> Ticket:
        """Register a node; return the ticket of its scan, which is that of its first node.

        A node that is there already, by its title, belongs to another scan of the same header. A scan that is
        refused is in the books as failed.

        Parameters
        ----------
        key
            See `scan_key`; None for a node that is a whole scan.
        ticket
            The node's own.

        Raises
        ------
        Busy
            If too many scans wait.
        ScanError
            If the scan is too large for this computer.
        """
        if key is None:
            self._enter(ticket)
            return ticket
        with self._guard:
            scan = next((one for one in self._scans.get(key, ()) if ticket.title not in one.titles), None)
            if scan is None:
                ticket.ready = False
                self._enter(ticket)
                scan = _Scan(ticket)
                self._scans.setdefault(key, []).append(scan)
            else:
                scan.take(ticket)
            scan.titles.add(ticket.title)
            scan.members += 1
            return scan.ticket

    def _enter(self, ticket: Ticket) -> None:
        try:
            self.scheduler.enter(ticket)
        except (Busy, ScanError):
            self.scheduler.leave(ticket, "failed")
            raise

    def leave(self, key: Hashable | None, ticket: Ticket, outcome: str) -> bool:
        """Remove a node by the ticket that `join` gave; return whether its scan has ended with it."""
        if key is None:
            self.scheduler.leave(ticket, outcome)
            return True
        with self._guard:
            ticket.worst = max(ticket.worst, outcome, key=OUTCOMES.index)
            scans = self._scans[key]
            scan = next(one for one in scans if one.ticket is ticket)
            scan.members -= 1
            if scan.members:
                return False
            scans.remove(scan)
            if not scans:
                del self._scans[key]
        self.scheduler.leave(ticket, ticket.worst)
        return True


@dataclass(eq=False)
class _Scan:
    """Present and former nodes of one scan."""

    ticket: Ticket
    titles: set[str] = field(default_factory=set)
    members: int = 0

    def take(self, node: Ticket) -> None:
        """Let another node share the ticket."""
        scan = self.ticket
        scan.title += f" + {node.title}"
        scan.deadline = min(scan.deadline or math.inf, node.deadline) if node.deadline else scan.deadline
