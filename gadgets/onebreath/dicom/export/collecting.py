"""What scans tell while they run: their images and headers, held until the scan has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ismrmrd

from onebreath.diagnostics.logs import SCAN

MOST_SCANS = 256  # of which images are collected at once; those of further ones are lost, and said to be
MOST_BYTES = 1 << 30  # of images that wait for the disk; those of scans beyond that are lost, and said to be


@dataclass
class Collected:
    """Images of a scan that has not ended, and its ISMRMRD header."""

    header: bytes = b""
    images: list[ismrmrd.Image] = field(default_factory=list)
    held: int = 0
    too_many: bool = False


class Collector:
    """Collects in the threads of scans; all it does is to append.

    Parameters
    ----------
    admitted
        Gives the scans that run and wait, by identifier; others only fetch images of earlier ones.
    """

    def __init__(self, admitted: Callable[[], Mapping[str, str]]) -> None:
        self._admitted = admitted
        self._guard = threading.Lock()
        self._scans: dict[str, Collected] = {}
        self.held = 0
        """Bytes of images in memory."""

    def hear(self, event: str, facts: dict[str, Any]) -> None:
        """Collect an event of `onebreath.diagnostics.events`."""
        scan = SCAN.get()
        if not scan or event not in ("header", "images"):
            return
        with self._guard:
            found = self._scans.get(scan)
            if found is None:
                if scan not in self._admitted():
                    return
                found = self._scans[scan] = Collected(too_many=len(self._scans) >= MOST_SCANS)
            if event == "header":
                found.header = found.header or bytes(facts["xml"])
            elif isinstance(facts["message"], ismrmrd.Image):
                self._hold(found, facts["message"])

    def _hold(self, found: Collected, image: ismrmrd.Image) -> None:
        size = image.data.nbytes + len(image.attribute_string)
        if found.too_many or self.held + size > MOST_BYTES:
            self.held -= found.held
            found.images, found.held, found.too_many = [], 0, True
            return
        found.images.append(image)
        found.held += size
        self.held += size

    def take(self, scan: str) -> Collected | None:
        """Return what was collected of a scan that has ended, and forget it; its images count until `let_go`."""
        with self._guard:
            return self._scans.pop(scan, None)

    def let_go(self, found: Collected) -> None:
        """Count images no more."""
        with self._guard:
            self.held -= found.held
