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
        self.number = self.server_state.total_requests
        self._deadline = self.loop.call_later(SILENT, self._end_if_silent)
        if len(self.connections) > MOST:
            idle = [one for one in self.connections if one is not self and not _answers(one)]
            oldest: Any = min(idle or [self], key=lambda one: getattr(one, "begun", 0.0))
            oldest.transport.abort()
        self.begun = self.loop.time()

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

    def _end_if_silent(self) -> None:
        if _answers(self):
            self._deadline = self.loop.call_later(SILENT, self._end_if_silent)
        elif not self.transport.is_closing():
            self.transport.abort()


def _answers(connection: Any) -> bool:
    """Return whether a request on a connection is being answered."""
    return connection.cycle is not None and not connection.cycle.response_complete
