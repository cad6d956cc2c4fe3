"""Threads that work on one stream of messages in parallel, and the queues between them."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from onebreath.cancellation import checkpoint
from onebreath.errors import OnebreathError
from onebreath.threads import begin

QUEUE_LENGTH = 16
"""Messages that may wait between two threads; a full queue holds the thread before it back."""

POLL = 1.0  # seconds between looks at whether a scan was given up
LEFT_BEHIND = 10.0  # seconds that its threads then have to end

log = logging.getLogger("onebreath.chain")


@dataclass(frozen=True)
class _Last:
    """Last item on a thread's queue: the error that ended it, or None."""

    error: BaseException | None


class BoundedQueue:
    """Messages on their way from one thread to the next.

    Whoever takes gets all that wait: while the taker is busy nothing has to wake it, so that handing over costs little
    where it matters. A single message is handed over at once.
    """

    def __init__(self) -> None:
        self._waiting: list[Any] = []
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Any) -> bool:
        """Put an item when there is room; return False if the queue is closed."""
        with self._changed:
            while len(self._waiting) >= QUEUE_LENGTH and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._waiting.append(item)
            if len(self._waiting) == 1:
                self._changed.notify()
            return True

    def take(self) -> list[Any]:
        """Take all items, at least one; return none if the queue is closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            taken, self._waiting = self._waiting, []
            self._changed.notify()
            return taken

    def close(self) -> None:
        """Close the queue for both sides."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()


class Stage:
    """Runs a stream in its own thread, a few messages ahead of the reader of `output`.

    Parameters
    ----------
    name
        Name of the thread.
    stream
        What is worked on, for as long as somebody takes its messages.
    """

    def __init__(self, name: str, stream: Iterator[Any]) -> None:
        self._queue = BoundedQueue()
        self._stream = stream
        # The thread belongs to the scan that started it, so that its log says which scan it works on.
        work = contextvars.copy_context().run
        self._thread = threading.Thread(target=work, args=(self._work,), name=f"onebreath-{name}", daemon=True)
        begin(self._thread)

    def output(self) -> Iterator[Any]:
        """Yield the messages; raises the error of the thread."""
        while taken := self._queue.take():
            for item in taken:
                if not isinstance(item, _Last):
                    yield item
                elif item.error is not None:
                    raise item.error
                else:
                    return

    def end(self) -> None:
        """Take no more messages, and wait for the thread; with a time limit if its scan was cancelled."""
        self._queue.close()
        given_up: float | None = None
        while self._thread.is_alive() and (given_up is None or time.monotonic() - given_up < LEFT_BEHIND):
            self._thread.join(POLL)
            try:
                checkpoint()
            except OnebreathError:
                given_up = given_up or time.monotonic()
        if self._thread.is_alive():
            log.error("%s of a scan that was given up is still at work; it is left behind", self._thread.name)

    def _work(self) -> None:
        last = _Last(None)
        try:
            for item in self._stream:
                if not self._queue.put(item):
                    return
        except OnebreathError as error:
            last = _Last(error)
        except BaseException as error:
            log.exception("internal error")
            last = _Last(OnebreathError(f"internal error: {type(error).__name__}: {error}; see the log"))
        self._queue.put(last)
