"""Work that nobody waits for: series that were promised for later, and scans that a crash left on disk."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from onebreath.config.node_options import Priority
from onebreath.diagnostics.reports import report
from onebreath.errors import OnebreathError, ScanError
from onebreath.storage.results import Result, Results, exam_of
from onebreath.wire.connection import parse_header
from onebreath.worker.resume import RunNodes, resume
from onebreath.worker.scheduler import Scheduler, Ticket, needed_bytes
from onebreath.worker.spool import Request, SpooledScan, left_behind

log = logging.getLogger("onebreath.late")

POLL = 0.2  # seconds between looks at whether the work shall end


class LateWork:
    """Reconstructs spooled scans, one at a time, whenever the scheduler has room.

    Parameters
    ----------
    scheduler, state, run_nodes
        See `onebreath.worker.scan_service.ScanService`.
    ended
        Called with the ticket of each scan that has ended.
    """

    def __init__(self, scheduler: Scheduler, state: Path, run_nodes: RunNodes, ended: Callable[[Ticket], None]) -> None:
        self.scheduler, self.run_nodes, self.ended = scheduler, run_nodes, ended
        self.folder = state / "spool"
        self.results = Results(state / "results")
        self._queue: queue.Queue[SpooledScan] = queue.Queue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="onebreath-late", daemon=True)
        self._thread.start()

    def recover(self) -> int:
        """Take up what earlier processes left behind; return how many scans that are."""
        found = list(left_behind(self.folder))
        for useless in [spooled for spooled in found if not spooled.request.nodes]:
            log.warning("data of a part of scan %s were left behind; they make no images", useless.request.scan)
            useless.release(remove=True)
            found.remove(useless)
        for spooled in found:
            log.warning("scan %s was left behind and is reconstructed", spooled.request.scan)
            self.hand_in(spooled)
        return len(found)

    def promise(self, request: Request) -> None:
        """Write down that images of a scan will be kept.

        Raises
        ------
        OSError
            If the disk does not take it.
        """
        self.results.write(Result(request.scan, self._exam(request), request.title, time.time()))

    def hand_in(self, spooled: SpooledScan) -> None:
        """Queue a scan; the folder is this object's from here on."""
        self.promise(spooled.request)
        self._queue.put(spooled)

    def close(self, patience: float) -> None:
        """Begin nothing new, and wait for the scan at work; what is left stays on disk for the next start."""
        self._closing.set()
        self._thread.join(patience)
        if self._thread.is_alive():
            log.warning("a late scan is still at work; it is left behind and begun again at the next start")
            return
        while not self._queue.empty():
            self._queue.get().release(remove=False)

    def _work(self) -> None:
        pruned = 0.0
        while not self._closing.is_set():
            if time.monotonic() - pruned > 3600 or not pruned:
                self.results.prune()
                pruned = time.monotonic()
            try:
                spooled = self._queue.get(timeout=POLL)
            except queue.Empty:
                continue
            self._reconstruct(spooled)

    def _reconstruct(self, spooled: SpooledScan) -> None:
        request = spooled.request
        ticket = Ticket(request.scan, request.title, "spool", Priority.LATE, self._needs(request))
        self.scheduler.enter(ticket)
        while not ticket.admitted.wait(POLL):
            if self._closing.is_set():
                self.scheduler.leave(ticket, "put off")
                spooled.release(remove=False)
                return
        outcome, text = "done", "" if spooled.complete else "the data ended before the scan did"
        try:
            ticket.images = resume(spooled, self.results, self.run_nodes)
        except Exception as error:  # noqa: BLE001 - `report` logs it, and its text is kept for whoever asks
            outcome, text = "failed", report(error, "late work")
        self.results.update(request.scan, "done" if outcome == "done" else "failed", text)
        spooled.release(remove=True)
        self.scheduler.leave(ticket, outcome)
        self.ended(ticket)

    def _exam(self, request: Request) -> str:
        try:
            return exam_of(parse_header(request.header.encode("utf-8")))
        except ScanError:
            return ""

    def _needs(self, request: Request) -> int:
        try:
            return needed_bytes(parse_header(request.header.encode("utf-8")))
        except OnebreathError:
            return 0
