"""Scans without admission: they compute little and mostly wait, for images or for their client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from onebreath.diagnostics.reports import Busy
from onebreath.worker.fairness import gives_way
from onebreath.worker.ticket import Ticket


class LightScans:
    """A limited number of them at once; the sender with most slots gives one to a sender with fewer.

    Parameters
    ----------
    most
        Number of slots.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._guard = threading.Lock()
        self._there: list[Ticket] = []

    @contextmanager
    def slot(self, ticket: Ticket) -> Iterator[None]:
        """Keep a slot while the body runs.

        Raises
        ------
        Busy
            If there is none.
        """
        with self._guard:
            if len(self._there) >= self.most:
                gone = gives_way(self._there, ticket)
                if gone is None:
                    raise Busy("as many light scans run already as may")
                self._there.remove(gone)  # its thread ends by itself
                gone.cancel(Busy("as many light scans run already as may, and of this sender more than of others"))
            self._there.append(ticket)
        try:
            yield
        finally:
            with self._guard:
                self._there = [other for other in self._there if other is not ticket]
