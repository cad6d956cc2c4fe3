"""Starting threads where memory may be short."""

from __future__ import annotations

import threading

ROOM = 32 << 20  # bytes of address space: a thread's stack, and what its first calls take
BEGINS = 10.0  # seconds in which a thread begins, however busy the computer is


def begin(thread: threading.Thread) -> None:
    """Start a thread. `Thread.start` would wait for ever for one that finds no memory for its first call.

    Raises
    ------
    MemoryError, RuntimeError
        If there is no room for one, or it does not begin; if the system allows no more threads.
    """
    bytearray(ROOM)
    started = _Patient()
    thread._started = started  # type: ignore[attr-defined] # what `start` waits for, in all versions of Python
    thread.start()
    if not started.is_set():
        raise MemoryError(f"the thread {thread.name} did not begin")


class _Patient(threading.Event):
    """An event that nobody waits for without end."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(BEGINS if timeout is None else timeout)
