"""Starting threads where memory may be short, and sharing the cores with other programs."""

from __future__ import annotations

import mmap
import os
import threading

ROOM = 32 << 20  # bytes of address space: a thread's stack, and what its first calls take
BEGINS = 10.0  # seconds in which a thread begins, however busy the computer is


def share_cores() -> None:
    """Let OpenMP's threads sleep while they wait for one another; call it before torch is imported.

    By default they wait busily. Where other programs use the cores too, as beside a scanner's, the thread that is
    waited for then does not get its core: a replay by CRUNet-MR (12 frames of 192 x 160) took 190 to 220 s in place of
    66 s on two cores with a load of 9, and four times the processor time. What the environment says already stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
