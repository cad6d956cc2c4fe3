"""A registered scan of the worker, and its estimated memory."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from onebreath.config.node_options import Priority
from onebreath.diagnostics.logs import clean
from onebreath.errors import OnebreathError, ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.spaces import spaces, with_space
from onebreath.names import shortened
from onebreath.worker.fairness import Sender

COPIES = 4  # of a scan's raw data that a chain holds at its peak: lines, sorted, being solved, and images
BASE = 128 << 20  # bytes that any scan needs
CHANNELS = 32  # where the header does not say
MOST_CHANNELS = 1024
LONGEST = 4 * 3600.0  # seconds that a scan without a deadline may take


def needed_bytes(header: Any) -> int:
    """Estimate the memory that a scan needs, from what its ISMRMRD header announces.

    The image's encoding space is known by the lines only, so the largest one counts. A header that says too little or
    too much gives a poor estimate, never an error: the gadgets judge the header.
    """
    return BASE + max((_bytes_of(with_space(header, number)) for number in range(spaces(header))), default=0)


def _bytes_of(header: Any) -> int:
    """Memory for the k-space of one encoding space; 0 if the header says nothing about it that can be used."""
    try:
        scan = ScanHeader(header)
        images = 1
        for counter in ("slice", "phase", "set", "repetition", "contrast"):
            limits = scan.limits(counter)
            images *= 1 if limits is None else max(1, limits.maximum - limits.minimum + 1)
        channels = min(max(scan.receiver_channels or CHANNELS, 1), MOST_CHANNELS)
        return COPIES * 8 * images * math.prod(scan.encoded_matrix) * channels
    except ScanError:
        return 0


def protocol_of(header: Any) -> str:
    """Return the protocol's name that a scan's ISMRMRD header states, without names of patients; empty if none is."""
    return shortened(clean(str(getattr(getattr(header, "measurementInformation", None), "protocolName", None) or "")))


@dataclass
class Ticket:
    """A scan registered with the scheduler.

    Parameters
    ----------
    scan, title
        See `onebreath.worker.spooling.spool.Request`.
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
    sender
        Who sends it.
    protocol
        Name of its protocol.
    idle_since
        Since when, by a clock that nobody sets, it has waited for its client; None: it works. Its slot is others'.
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
    sender: Sender = field(default_factory=Sender)
    protocol: str = ""
    idle_since: float | None = None
    held: int = 0
    overtaken: int = 0

    @property
    def limit(self) -> float:
        """Time limit of the scan in seconds."""
        return self.deadline or LONGEST

    @property
    def overdue(self) -> bool:
        """Whether its deadline has passed, by a monotonic clock."""
        return time.monotonic() - self.clock > self.limit

    def cancel(self, reason: OnebreathError) -> None:
        """Cancel the scan: it ends at its next message, or stops waiting."""
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
        """Return the ticket's entries in the status."""
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

    def summary(self) -> str:
        """Return the line that the log has about the scan when it has ended."""
        facts = self.facts()
        return (
            f"scan {self.scan} {self.outcome}: {self.title} ({self.side}), {self.images} messages sent back, "
            f"{facts['seconds']:.2f} s in all, {facts['waited_s']:.2f} s of them waited"
        )

    def _until(self, moment: float | None) -> float:
        return moment or self.ended or time.time()
