"""Resident workers for the tests, and what they must have left behind afterwards: nothing."""

import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from onebreath.worker.worker import Worker, WorkerOptions

repeated = pytest.mark.usefixtures("run")
"""A fault that is made anew each time, as often as `conftest.RUNS` says; those without it repeat it by themselves."""


def wait_for(condition, seconds=60.0):
    """Wait until something is so; long enough for a computer that has much else to do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so; threads: {threading.enumerate()}"
        time.sleep(0.01)


def open_files() -> int:
    """Number of open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def worker(folder: Path, **options):
    """A worker in this process on free ports; when it ends, its threads and descriptors must be gone."""
    threads, files = set(threading.enumerate()), open_files()
    chosen = {
        "port": 0,
        "gadget_port": 0,
        "path": folder / "worker.sock",
        "state": folder / "state",
        "idle": 0.0,
        **options,
    }
    with Worker(WorkerOptions(**chosen)) as running:
        running.start()
        yield running
    wait_for(lambda: not {t for t in threading.enumerate() if t.name.startswith("onebreath")} - threads)
    wait_for(lambda: open_files() <= files)


def books(running: Worker, *parts: str) -> list[str]:
    """Outcomes of the scans in parts of the books (``running``, ``waiting``, ``ended``)."""
    snapshot = running.service.scheduler.snapshot()
    return [scan["outcome"] for part in parts for scan in snapshot[part]]


def at_rest(running: Worker) -> bool:
    """Whether no scan runs or waits."""
    return not books(running, "running", "waiting")


def spooled_bytes(state: Path) -> list[int]:
    """Bytes of raw data of each scan on the disk; folders of hidden names are about to appear or to go."""
    with suppress(FileNotFoundError):  # gone meanwhile: whoever waits looks again
        return [path.stat().st_size for path in (state / "spool").glob("[!.]*/data.bin")]
    return []
