"""Work without a waiting client: series that were promised for later, and scans that a crash left on disk."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from onebreath.config.node_options import Priority
from onebreath.diagnostics.logs import about, secrets_of_a_scan
from onebreath.diagnostics.reports import SpoolError, report
from onebreath.errors import OnebreathError, ScanError
from onebreath.keeping import Space
from onebreath.storage.results import Results, exam_of
from onebreath.wire.connection import parse_header
from onebreath.worker.scheduler import Scheduler
from onebreath.worker.spooling.resume import CUT_SHORT, RunNodes, resume
from onebreath.worker.spooling.spool import Request, SpooledScan, left_behind
from onebreath.worker.ticket import Ticket, needed_bytes, protocol_of

log = logging.getLogger("onebreath.late")

POLL = 0.2  # seconds between looks at whether the work shall end
LOOK = 60.0  # seconds between looks for scans that were left behind
ATTEMPTS = 3  # at a scan whose images the disk does not take, until the next start
PROMISED = 64  # scans that may be waiting to be made later
NOTE = 1 << 16  # bytes that a note takes at most


class LateWork:
    """Reconstructs spooled scans, one at a time, whenever the scheduler has room.

    Parameters
    ----------
    scheduler, state, run_nodes
        See `onebreath.worker.scan_service.ScanService`.
    ended
        Called with the ticket of each scan that has ended.
    space
        What the state folder may take; not given: whatever there is.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        state: Path,
        run_nodes: RunNodes,
        ended: Callable[[Ticket], None],
        space: Space | None = None,
    ) -> None:
        self.scheduler, self.run_nodes, self.ended = scheduler, run_nodes, ended
        self.space = Space(state) if space is None else space
        self.folder = state / "spool"
        self.results = Results(state / "results")
        self._queue: queue.Queue[SpooledScan] = queue.Queue()
        self._failed: dict[str, int] = {}  # attempts that the disk did not let end, by scan
        self._looked: float | None = None  # for scans that were left behind, when last; not before somebody asks
        self._closing = threading.Event()
        self._given_up = False  # whether the running scan was left to the next start
        self._thread = threading.Thread(target=self._work, name="onebreath-late", daemon=True)
        self._thread.start()

    @property
    def works(self) -> bool:
        """Return whether the thread for late scans is alive."""
        return self._thread.is_alive()

    def recover(self) -> int:
        """Queue scans that earlier processes left behind or a full disk held up; return how many."""
        self._looked = time.monotonic()
        count = 0
        for spooled in left_behind(self.folder):
            if not spooled.request.nodes:
                log.warning("data of a part of scan %s were left behind; they make no images", spooled.request.scan)
                spooled.release(remove=True)
                continue
            if self._failed.get(spooled.request.scan, 0) >= ATTEMPTS:
                spooled.release(remove=False)
                continue
            log.warning("scan %s was left behind and is reconstructed", spooled.request.scan)
            count += self.hand_in(spooled)
        return count

    def promise(self, request: Request) -> None:
        """Record that images of a scan will be kept.

        Raises
        ------
        SpoolError, OSError
            If as many are promised as may be; if the disk does not take it.
        """
        if self._queue.qsize() >= PROMISED:
            raise SpoolError(f"{PROMISED} scans are to be made later already, which is as many as may")
        self.space.take(NOTE)
        self._begin(request)

    def _begin(self, request: Request) -> None:
        self.results.begin(request.scan, self._exam(request), request.title)

    def hand_in(self, spooled: SpooledScan) -> bool:
        """Queue a scan; the folder is this object's from here on. False if the disk lets nothing be noted now."""
        try:
            if not self._promised(spooled.request):
                self._begin(spooled.request)
        except OSError as error:
            log.error("scan %s stays on the disk until that takes its images: %s", spooled.request.scan, error)
            spooled.release(remove=False)
            return False
        self._queue.put(spooled)
        return True

    def _promised(self, request: Request) -> bool:
        try:
            return self.results.read(request.scan).state == "pending"
        except ScanError:
            return False

    def close(self, patience: float) -> None:
        """Start no more scans, and wait for the running one; the others stay on disk for the next start.

        So does the running one if it takes longer: whoever was to hear of its end may be gone then.
        """
        if self._given_up:
            return
        self._closing.set()
        self._thread.join(patience)
        if self._thread.is_alive():
            self._given_up = True
            log.warning("a late scan is still at work; it is left behind and begun again at the next start")
            return
        while not self._queue.empty():
            self._queue.get().release(remove=False)

    def _work(self) -> None:
        pruned = time.monotonic()
        self._safely(self.results.prune)
        while not self._closing.is_set():
            now = time.monotonic()
            if now - pruned > 3600:
                pruned = now
                self._safely(self.results.prune)
            if self._looked is not None and now - self._looked > LOOK:
                self._safely(self.recover)
            try:
                spooled = self._queue.get(timeout=POLL)
            except queue.Empty:
                continue
            with secrets_of_a_scan(), about(spooled.request.scan):
                self._safely(lambda: self._reconstruct(spooled))  # noqa: B023 - called at once

    def _safely(self, work: Callable[[], object]) -> None:
        """Do work whose errors must not end this thread."""
        try:
            work()
        except Exception:
            log.exception("internal error in late work")

    def _reconstruct(self, spooled: SpooledScan) -> None:
        request = spooled.request
        ticket = Ticket(request.scan, request.title, "spool", Priority.LATE)
        ticket.needs, ticket.protocol = self._announced(request)
        outcome, remove = "put off", False
        try:
            self.scheduler.enter(ticket)
            if self._admitted(ticket):
                outcome, remove = self._made(spooled, ticket)
        finally:
            try:
                spooled.release(remove=remove)
            finally:
                self.scheduler.leave(ticket, outcome)
                self.ended(ticket)

    def _admitted(self, ticket: Ticket) -> bool:
        while not ticket.admitted.wait(POLL):
            if self._closing.is_set():
                return False
        return True

    def _made(self, spooled: SpooledScan, ticket: Ticket) -> tuple[str, bool]:
        """Make the images; return the scan's outcome, and whether its data can be removed."""
        request = spooled.request
        outcome, text = "done", ""
        try:
            spooled.check()
            ticket.images, whole = resume(spooled, self.results, self.run_nodes, self.space.take)
            if not whole:
                text = CUT_SHORT
        except OSError as error:
            return self._put_off(request, error)
        except Exception as error:  # noqa: BLE001 - `report` logs it, and its text is kept for whoever asks
            outcome, text = "failed", report(error, "late work")
        if self._given_up:
            self._forget(request)
            return "put off", False
        try:
            self._note(request, "done" if outcome == "done" else "failed", text)
        except OSError as error:
            return self._put_off(request, error)
        self._failed.pop(request.scan, None)
        return outcome, True

    def _put_off(self, request: Request, error: OSError) -> tuple[str, bool]:
        """Leave a scan whose images could not be written on the disk; it is tried again a limited number of times."""
        self._failed[request.scan] = tries = self._failed.get(request.scan, 0) + 1
        log.error("the disk does not take the images of scan %s (attempt %d): %s", request.scan, tries, error)
        self._forget(request)
        return "put off", False

    def _forget(self, request: Request) -> None:
        with contextlib.suppress(OSError):
            self.results.path(request.scan).unlink(missing_ok=True)

    def _note(self, request: Request, state: Literal["done", "failed"], text: str) -> None:
        try:
            self.results.update(request.scan, state, text)
        except ScanError:  # somebody removed or damaged the note
            self._begin(request)
            self.results.update(request.scan, state, text)

    def _exam(self, request: Request) -> str:
        try:
            return exam_of(parse_header(request.header.encode("utf-8")))
        except ScanError:
            return ""

    def _announced(self, request: Request) -> tuple[int, str]:
        """Return the bytes that a scan needs, and its protocol; nothing of a header that cannot be read."""
        try:
            header = parse_header(request.header.encode("utf-8"))
        except OnebreathError:
            return 0, ""
        return needed_bytes(header), protocol_of(header)
