"""News for pages that are open: server-sent events, to a few of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

STREAMS = 16  # pages that are kept up to date at once
LOOK = 1.0  # seconds between looks for news
BEAT = 15.0  # seconds after which a page hears something even without news


class News:
    """Tells pages that there may be something new; they then ask for it.

    Parameters
    ----------
    state
        Returns what is different when there may be something new.
    """

    def __init__(self, state: Callable[[], Any]) -> None:
        self._state = state
        self._ending = False
        self.streams = 0
        """Pages that listen now."""

    def stream(self) -> StreamingResponse:
        """Return the answer to a page that listens.

        Raises
        ------
        HTTPException
            If as many listen as may.
        """
        if self.streams >= STREAMS:
            raise HTTPException(503, f"{STREAMS} pages are kept up to date already, which is as many as can be.")
        return _Counted(self)

    def end(self) -> None:
        """End all streams; they take a second to see it."""
        self._ending = True

    async def told(self) -> AsyncIterator[str]:
        """Yield an event whenever there may be something new, and now and then one even if there is not."""
        before: Any = None
        silent = 0.0
        while not self._ending:
            found = self._state()
            if found != before or silent >= BEAT:
                yield f"event: {'news' if found != before else 'beat'}\ndata: \n\n"
                before, silent = found, 0.0
            await asyncio.sleep(LOOK)
            silent += LOOK


class _Counted(StreamingResponse):
    """A stream that counts from the moment at which it was promised."""

    def __init__(self, news: News) -> None:
        super().__init__(news.told(), media_type="text/event-stream")
        self._news = news
        news.streams += 1

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._news.streams -= 1
