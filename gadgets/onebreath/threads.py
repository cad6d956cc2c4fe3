"""Starting threads where memory may be short."""

from __future__ import annotations

import mmap
import threading

ROOM = 32 << 20  # bytes of address space: a thread's stack, and what its first calls take
BEGINS = 10.0  # seconds in which a thread begins, however busy the computer is


def begin(thread: threading.Thread) -> None:
    """Start a thread; `Thread.start` would wait for ever if memory is too short for its first call.

    Raises
    ------
    MemoryError, RuntimeError
        If there is no room for one, or it does not begin; if the system allows no more threads.
    """
    _check_room()
    started = _Patient()
    thread._started = started  # type: ignore[attr-defined] # what `start` waits for, in all versions of Python
    thread.start()
    if not started.is_set():
        raise MemoryError(f"the thread {thread.name} did not begin")


def _check_room() -> None:
    """Raise MemoryError if a thread's address space cannot be had; memory is not taken, and none is counted."""
    try:
        mmap.mmap(-1, ROOM, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise MemoryError(f"no {ROOM >> 20} MiB of address space for a thread: {error}") from error


class _Patient(threading.Event):
    """An event whose waiting is limited."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(BEGINS if timeout is None else timeout)
