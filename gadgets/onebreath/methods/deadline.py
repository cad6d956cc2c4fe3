"""Work that may take only so long, and stops when nobody waits for it any more.

Python cannot end a thread from outside. Work that is late is left behind: it stops by itself at the next `checkpoint`,
and if it hangs somewhere else, nothing waits for it but the next piece of work, which is refused while it is there.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from typing import TypeVar

from onebreath.errors import DeadlineMissed

T = TypeVar("T")

_stopped: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("stopped", default=None)
_left_behind: set[threading.Thread] = set()
_lock = threading.Lock()


def checkpoint() -> None:
    """End work that is late; to be called now and then by work that takes long.

    Raises
    ------
    DeadlineMissed
        If its time is over.
    """
    stopped = _stopped.get()
    if stopped is not None and stopped.is_set():
        raise DeadlineMissed("stopped: its time is over")


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
        If it takes longer, or earlier work that was late is still there: memory and processors are not free then.
    """
    if seconds <= 0:
        raise DeadlineMissed("no time is left for it")
    with _lock:
        _left_behind.difference_update([thread for thread in _left_behind if not thread.is_alive()])
        if _left_behind:
            raise DeadlineMissed("earlier work that missed its deadline has not ended yet")
    result: Future[T] = Future()
    stopped = threading.Event()

    def run() -> None:
        _stopped.set(stopped)
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            result.set_exception(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="onebreath-method", daemon=True)
    begun = time.perf_counter()
    thread.start()
    try:
        return result.result(seconds)
    except LateError as error:
        if result.done():  # its own error, of the same kind
            raise
        stopped.set()
        with _lock:
            _left_behind.add(thread)
        raise DeadlineMissed(f"it took longer than {time.perf_counter() - begun:.2f} s") from error
