"""Work with a time limit.

Work that is late is left behind: it stops by itself at the next `onebreath.cancellation.checkpoint`, and if it hangs
somewhere else, nothing waits for it but the next piece of work, which is refused while it is there.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from onebreath.cancellation import ended_by
from onebreath.errors import DeadlineMissed
from onebreath.threads import begin

T = TypeVar("T")

_left_behind: set[threading.Thread] = set()
_lock = threading.Lock()


class Begun(Generic[T]):
    """Work that has begun in a thread of its own.

    Parameters
    ----------
    work
        What to do.

    Raises
    ------
    DeadlineMissed
        If earlier work that was late is still there: memory and processors are not free then.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        with _lock:
            _left_behind.difference_update([thread for thread in _left_behind if not thread.is_alive()])
            if _left_behind:
                raise DeadlineMissed("earlier work that missed its deadline has not ended yet")
        self._result: Future[T] = Future()
        self._stopped = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run, work), name="onebreath-method", daemon=True
        )
        self.begun = time.perf_counter()
        begin(self._thread)

    def _run(self, work: Callable[[], T]) -> None:
        try:
            with ended_by(self._check):
                self._result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            self._result.set_exception(error)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise DeadlineMissed("stopped: its time is over")

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self.begun

    def ended(self, seconds: float) -> bool:
        """Wait up to `seconds`; return whether the work has ended, with or without an error."""
        return bool(wait([self._result], seconds).done)

    def result(self, seconds: float) -> T:
        """Return the work's result, or raise its error, within `seconds` from now; abandon it after that.

        Raises
        ------
        DeadlineMissed
            If it takes longer.
        """
        if self.ended(max(seconds, 0.0)):
            return self._result.result()
        self._stopped.set()
        with _lock:
            _left_behind.add(self._thread)
        raise DeadlineMissed(f"it took longer than {self.seconds:.2f} s")


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do work in a thread of its own and return what it returns, or raise what it raises.

    Parameters
    ----------
    seconds
        How long it may take.
    work
        What to do.

    Raises
    ------
    DeadlineMissed
        If it takes longer, or cannot begin; see `Begun`.
    """
    if seconds <= 0:
        raise DeadlineMissed("no time is left for it")
    return Begun(work).result(seconds)
