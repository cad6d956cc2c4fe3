"""Connections to the page: few, and none that says nothing for long."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 64
"""Connections at once; beyond that the one that has been silent for longest gives way."""
SILENT = 10.0  # seconds in which a request must have come
SLOW = 30.0  # seconds in which an answer's bytes must have been taken


class BoundedConnection(H11Protocol):
    """A connection that is closed if its request does not come in time, or its answer is not taken."""

    _deadline: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; if there are too many, close the oldest one that nothing is asked on."""
        super().connection_made(transport)
        self._wait_for_request()
        self.begun = self.loop.time()
        others: list[Any] = [one for one in self.connections if not one.transport.is_closing()]
        if len(others) > MOST:
            idle = [one for one in others if one is not self and not _answers(one)]
            min(idle or [self], key=lambda one: one.begun).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        for timer in (self._deadline, self._stuck):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the other side to take what was sent, not for ever."""
        super().pause_writing()
        self._stuck = self.loop.call_later(SLOW, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        if self._stuck is not None:
            self._stuck.cancel()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._wait_for_request()

    def _wait_for_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(SILENT, self._end_if_silent)

    def _end_if_silent(self) -> None:
        if not _answers(self):
            self.transport.abort()


def _answers(connection: Any) -> bool:
    """Return whether a request has come whole on a connection, and is being answered."""
    cycle = connection.cycle
    return cycle is not None and not cycle.more_body and not cycle.response_complete
