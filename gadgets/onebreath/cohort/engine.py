"""Engines that reconstruct the scans of a cohort: processes of this computer, or a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from onebreath.cohort.work import Row, Task, keep, work
from onebreath.optional import required

Work = Callable[[Task], Row]


def lost(task: Task, attempts: int, reason: str) -> Row:
    """Row of a scan that killed every worker; it is written, too."""
    row = Row(task.name, task.source, "lost", attempts=attempts, error=reason)
    task.clear()
    keep(task, row)
    return row


def local(tasks: Sequence[Task], jobs: int, retries: int, do: Work = work) -> Iterator[Row]:
    """Yield rows as they are completed by processes of this computer.

    Each of `jobs` slots has its own process, which reconstructs scans in turn, so that models are loaded once. A
    process that dies is replaced, and its scan is retried, at most `retries` times.
    """
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    rows: queue.SimpleQueue[Row | BaseException] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    stop = threading.Event()
    share = max(1, (os.cpu_count() or 1) // jobs)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(share))  # inherited by the processes
    arguments = (waiting, rows, stop, retries, do)
    slots = [threading.Thread(target=_slot, args=arguments, daemon=True) for _ in range(min(jobs, len(tasks)))]
    for slot in slots:
        slot.start()
    try:
        for _ in tasks:
            found = rows.get()
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        stop.set()
        for slot in slots:
            slot.join()


def _slot(
    waiting: queue.SimpleQueue[Task],
    rows: queue.SimpleQueue[Row | BaseException],
    stop: threading.Event,
    retries: int,
    do: Work,
) -> None:
    """Work on tasks until none is left, in a process that is replaced when it dies."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context)
    try:
        while not stop.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            for attempt in range(1, retries + 2):
                try:
                    row = pool.submit(do, task).result()
                    row.attempts = attempt
                    break
                except BrokenProcessPool:
                    pool.shutdown(wait=True)
                    pool = ProcessPoolExecutor(1, context)
                    row = lost(task, attempt, "the worker process died: was it killed, or out of memory?")
            if row.attempts > 1 and row.status != "lost":
                keep(task, row)
            rows.put(row)
    except BaseException as error:  # noqa: BLE001  passed to the thread that waits for rows
        rows.put(error)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def on_ray(tasks: Sequence[Task], jobs: int, retries: int, address: str | None) -> Iterator[Row]:
    """Yield rows as they are completed by a Ray cluster; without an address one is started on this computer.

    A task is retried on another worker if its worker dies. All nodes must see the files under the same paths.

    Raises
    ------
    ConfigError
        If Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at import: no usage statistics leave this computer
    ray = required("ray", "cohort", "--engine ray")
    ray.init(address=address, num_cpus=None if address else jobs, include_dashboard=False, log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=1, max_retries=retries)(work)
        running = {remote.remote(task): task for task in tasks}
        while running:
            ready, _ = ray.wait(list(running), num_returns=1)
            for one in ready:
                task = running.pop(one)
                try:
                    yield ray.get(one)
                except ray.exceptions.RayError as error:
                    yield lost(task, retries + 1, str(error))
    finally:
        ray.shutdown()
