"""Threads: starting them where memory may be short, working side by side, sharing the cores with other programs.

Also what else a process settles before it computes.
"""

from __future__ import annotations

import contextvars
import ctypes
import mmap
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from onebreath.cancellation import ended_by
from onebreath.errors import MethodError

T = TypeVar("T")

ROOM = 32 << 20  # bytes of address space: a thread's stack, and what its first calls take
BEGINS = 10.0  # seconds in which a thread begins, however busy the computer is


def settle_process(narrow: bool = True) -> None:
    """Settle how this process waits, keeps memory and computes; call it before torch is imported and threads begin.

    Parameters
    ----------
    narrow
        Whether `narrow_vectors` applies; training may compute in bfloat16, which it excludes.
    """
    share_cores()
    reuse_memory()
    if narrow:
        narrow_vectors()


def share_cores() -> None:
    """Let OpenMP's threads sleep while they wait for one another; call it before torch is imported.

    By default they wait busily. Where other programs use the cores too, as beside a scanner's, the thread that is
    waited for then does not get its core: a replay by CRUNet-MR (12 frames of 192 x 160) took 190 to 220 s in place of
    66 s on two cores with a load of 9, and four times the processor time. What the environment says already stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


# Of mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1


def reuse_memory() -> None:
    """Let the C library keep freed memory and give it out again; call it before other threads begin.

    By default each array above 32 MB is a mapping of its own, whose pages the kernel makes anew: a quarter of the
    processor time of CRUNet-MR on 12 frames of 192 x 160. The worker returns memory to the system after its scans.
    """
    with suppress(OSError, AttributeError):  # another C library than glibc
        library = ctypes.CDLL(None)
        for name, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_ARENA_MAX, 1)):
            library.mallopt(name, value)


def narrow_vectors(processor: Path = Path("/proc/cpuinfo")) -> None:
    """Let oneDNN compute with 256 bits on AMD's Zen 4; call it before torch computes.

    Its units have 256 bits and take two turns for an instruction of 512, and 24 channels are three vectors of 8 floats
    but two of 16: `crunet_mr.cine` takes 2.3 in place of 2.9 s of processor time. PyTorch then has no bfloat16
    arithmetic; with ``ONEDNN_MAX_CPU_ISA=DEFAULT`` it has. What the environment says already stays.
    """
    try:
        with processor.open() as text:
            lines = [line.split(":", 1) for line in text.read(8192).split("\n\n")[0].splitlines()]
    except OSError:  # another system than Linux
        return
    first = {one[0].strip(): one[1].split() for one in lines if len(one) == 2}
    family = first.get("vendor_id") == ["AuthenticAMD"] and first.get("cpu family") == ["25"]
    if family and "avx512f" in first.get("flags", []):
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


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


def side_by_side(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do all works at the same time and return what they return, in their order.

    A work that cannot have a thread of its own is done by the calling one, as all are on a computer with one core. When
    one fails, the others stop at their next `onebreath.cancellation.checkpoint`, and the error of the first in order
    that did not fail for that reason is raised.
    """
    if len(works) < 2 or (os.cpu_count() or 1) < 2:
        return [work() for work in works]
    failed = threading.Event()
    *others, last = [_Part(work, failed) for work in works]
    threads = [one.thread() for one in others]
    for thread in threads:
        try:
            begin(thread)
        except (MemoryError, RuntimeError):
            thread.run()
    last.run()
    for thread in threads:
        if thread.ident is not None:
            thread.join()
    parts = [*others, last]
    errors = [error for one in parts if (error := one.result.exception()) is not None]
    if errors:
        raise next((error for error in errors if not isinstance(error, _OtherFailed)), errors[0])
    return [one.result.result() for one in parts]


class _OtherFailed(MethodError):
    """A work stopped because another one had failed."""


class _Part(Generic[T]):
    def __init__(self, work: Callable[[], T], failed: threading.Event) -> None:
        self.work, self.failed = work, failed
        self.result: Future[T] = Future()

    def thread(self) -> threading.Thread:
        """Return a thread for it, in the present context."""
        run = contextvars.copy_context().run
        return threading.Thread(target=run, args=(self.run,), name="onebreath-beside", daemon=True)

    def run(self) -> None:
        """Do the work and keep what it returns or raises."""
        try:
            with ended_by(self._check):
                self.result.set_result(self.work())
        except BaseException as error:  # noqa: BLE001 - who waits for all of them gets it
            self.failed.set()
            self.result.set_exception(error)

    def _check(self) -> None:
        if self.failed.is_set():
            raise _OtherFailed("stopped, as a method beside it failed")
