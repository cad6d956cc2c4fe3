"""Sending beside a worker: what the scans make is written down, and a process of its own does the rest.

Nothing here holds a scan up: its thread only appends to a list. A second thread writes the images to the disk, and a
third one looks after the process that makes instances and sends them (`onebreath.dicom.export.process`).
"""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any

from onebreath.diagnostics.events import listening
from onebreath.diagnostics.logs import SCANS, about
from onebreath.dicom.export import collecting
from onebreath.dicom.export.collecting import Collected, Collector
from onebreath.dicom.export.options import ExportOptions
from onebreath.dicom.export.outgoing import keep
from onebreath.dicom.export.process import Task, command
from onebreath.dicom.store import Pacs
from onebreath.errors import ConfigError, OnebreathError
from onebreath.keeping import Space, private_folder
from onebreath.optional import required
from onebreath.threads import begin
from onebreath.worker.ticket import Ticket
from onebreath.worker.worker import Worker

log = logging.getLogger("onebreath.dicom.export")
told = logging.getLogger(f"{SCANS}.pacs")

NEEDED = ("pydicom", "pynetdicom", "highdicom")
PATIENCE = 10.0  # seconds for what waits for the disk, and for the process, when the worker ends
PAUSE = 2.0  # seconds until what failed is tried again: writing, starting the process
SILENT = 600.0  # seconds between warnings about the same problem
UNWELL = 600.0  # seconds of a PACS that takes nothing, after which the worker is not well
NICENESS = 10  # of the process: scans go first
DEATHS = 3  # of the process, one after the other, after which the worker is not well


class Export:
    """Sends the images of a worker's scans to one PACS while the context is open.

    Parameters
    ----------
    worker
        The worker.
    pacs
        As ``AETITLE@HOST:PORT``.
    options
        How.

    Raises
    ------
    ConfigError
        If the PACS is none, a package is missing, or the folder cannot be used.
    """

    def __init__(self, worker: Worker, pacs: str, options: ExportOptions) -> None:
        title, _, address = pacs.rpartition("@")
        if not title:
            raise ConfigError(f"'{pacs}' is not a PACS; give AETITLE@HOST:PORT, as in PACS@pacs.example:104.")
        Pacs.parse(address, title, options.calling)
        for name in NEEDED:
            required(name, "dicom", "Sending to a PACS")
        self.name = pacs
        named = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in pacs)
        folder = (options.folder or worker.options.state / "pacs") / named
        try:
            self.incoming = private_folder(private_folder(folder) / "incoming")
        except OSError as error:
            raise ConfigError(f"The queue {folder} cannot be used: {error.strerror}.") from error
        self._task = Task(str(folder), address, title, options.calling, options.anonymise, options.enhanced)
        self._worker = worker
        # Half of it: a PACS that is down for days must not take the room of scans.
        self._space = Space(folder, worker.options.quota // 2, worker.options.reserve)
        self.collector = Collector(worker.service.scheduler.protocols)
        self._to_write: queue.Queue[tuple[str, Collected] | None] = queue.Queue()
        self._closing = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._deaths = 0
        self._since = time.monotonic()  # when the PACS last took something, or nothing waited
        self._warned: dict[str, float] = {}
        self._counts = {"sent": 0, "refused": 0, "failed": 0, "lost": 0}
        self._state: dict[str, Any] = {"waiting": 0, "problem": ""}
        self._disk = ""
        self._stack = ExitStack()

    def __enter__(self) -> Export:
        for name, work in (("writes", self._write_all), ("sends", self._look_after)):
            thread = threading.Thread(target=work, name=f"onebreath-pacs-{name}", daemon=True)
            begin(thread)
            self._stack.callback(thread.join, PATIENCE)
        self._stack.callback(self._end)
        self._stack.enter_context(listening(self.collector.hear))
        for entries, own in ((self._worker.service.observers, self.scan_ended), (self._worker.exports, self)):
            entries.append(own)  # type: ignore[arg-type]
            self._stack.callback(entries.remove, own)  # type: ignore[arg-type]
        print(f"pacs: {self.name} (queue in {self._task.folder})", flush=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def scan_ended(self, ticket: Ticket) -> None:
        """Take the images of a scan that is done; called in its own thread."""
        found = self.collector.take(ticket.scan)
        if found is None:
            return
        if found.too_many:
            self._lost(
                ticket.scan,
                f"images of more than {collecting.MOST_BYTES >> 20} MB or {collecting.MOST_SCANS} scans wait",
            )
        elif ticket.outcome == "done" and found.images:
            self._to_write.put((ticket.scan, found))
            return
        elif ticket.outcome == "done" and ticket.images:
            log.warning("the images of scan %s are made after this node; none are sent to %s", ticket.scan, self.name)
        elif found.images:
            told.info("scan %s is %s: its images are not sent to %s", ticket.scan, ticket.outcome, self.name)
        self.collector.let_go(found)

    def _lost(self, scan: str, why: str) -> None:
        self._counts["lost"] += 1
        log.error("the images of scan %s are LOST for %s: %s", scan, self.name, why)

    # In the thread that writes

    def _write_all(self) -> None:
        while (given := self._to_write.get()) is not None:
            scan, found = given
            with about(scan):
                while (why := self._written(scan, found)) and not self._closing.wait(PAUSE):
                    self._warn(f"the images of scans cannot be kept for {self.name}: {why}; they wait in memory")
                if why:
                    self._lost(scan, why)
            self.collector.let_go(found)

    def _written(self, scan: str, found: Collected) -> str:
        """Write the images of a scan; return why that failed, or nothing."""
        try:
            self._space.take(found.held)
            keep(self.incoming, scan, found.header, found.images)
            self._disk = ""
        except (OSError, ConfigError) as error:
            self._disk = (error.strerror if isinstance(error, OSError) else None) or str(error)
            return self._disk
        except (OnebreathError, ValueError) as error:  # what no later attempt mends
            self._lost(scan, str(error))
        self._poke()
        return ""

    # In the thread that looks after the process

    def _look_after(self) -> None:
        while not self._closing.is_set():
            try:
                self._run_process()
            except Exception:
                log.exception("internal error of what looks after sending to %s", self.name)
            if self._closing.is_set():
                return
            self._deaths += 1
            self._warn(f"the process that sends to {self.name} has ended and is started again")
            self._closing.wait(min(60.0, PAUSE * self._deaths))

    def _run_process(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command(self._task), text=True, umask=0o077, **pipes) as process:  # type: ignore[call-overload]
            self._process = process
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
            if self._closing.is_set():
                process.stdin.close()
            for line in process.stdout:
                try:
                    self._told(json.loads(line))
                except (ValueError, KeyError):
                    log.warning("the process that sends to %s says what is not understood", self.name)
        self._process = None

    def _told(self, facts: dict[str, Any]) -> None:
        event, scan = facts["event"], str(facts.get("scan", ""))
        self._deaths = 0
        if event in ("sent", "refused"):
            self._since = time.monotonic()
            self._counts[event] += 1
        elif event == "state":
            self._state = {"waiting": facts["waiting"], "problem": facts["problem"]}
            if facts["problem"]:
                self._warn(f"{self.name}: {facts['problem']}; {facts['waiting']} instances wait")
            elif not facts["waiting"]:
                self._warned.clear()
            if not facts["waiting"]:
                self._since = time.monotonic()
        elif event == "log":
            logging.getLogger(facts["name"]).log(facts["level"], "%s", facts["text"])
        elif event == "failed":
            self._counts["failed"] += 1
            with about(scan):
                log.error("scan %s has no instances: %s; its images are in %s", scan, facts["reason"], facts["file"])
        elif event == "series":
            with about(scan):
                self._tell_series(facts)

    def _tell_series(self, facts: dict[str, Any]) -> None:
        arrived = facts["instances"] - facts["refused"]
        told.log(
            logging.ERROR if facts["refused"] else logging.INFO,
            "series %d of scan %s: %d of %d instances are at %s, %.2f s after its end",
            *(facts["number"], facts["scan"], arrived, facts["instances"], self.name, facts["seconds"]),
        )

    def _warn(self, text: str) -> None:
        """Warn of a problem, the same one not all the time."""
        key = text.partition(";")[0]
        if time.monotonic() - self._warned.get(key, -SILENT) >= SILENT:
            self._warned[key] = time.monotonic()
            log.warning("%s", text)

    def _poke(self) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError, ValueError):
                process.stdin.write("new\n")
                process.stdin.flush()

    def _end(self) -> None:
        """Write what waits, and end the process; what it has not sent is sent by the next worker."""
        self._to_write.put(None)
        until = time.monotonic() + PATIENCE
        while self._to_write.qsize() and time.monotonic() < until:
            time.sleep(0.02)
        self._closing.set()
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError, ValueError):
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()

    # For whoever asks

    def state(self) -> dict[str, Any]:
        """Return the state: instances that wait, were sent and refused, scans without instances, and what is wrong."""
        incoming = self._to_write.qsize() + sum(1 for _ in self.incoming.glob("[!.]*.h5"))
        problem = f"images cannot be kept: {self._disk}" if self._disk else self._state["problem"]
        return {"pacs": self.name, "scans": incoming, "waiting": self._state["waiting"], **self._counts} | {
            "problem": problem
        }

    def troubles(self) -> list[str]:
        """Return what somebody must look after; a PACS that was down for a short time is none."""
        found = [f"images cannot be kept for {self.name}: {self._disk}"] if self._disk else []
        if self._deaths >= DEATHS:
            found.append(f"the process that sends to {self.name} does not live")
        if self._state["problem"] and time.monotonic() - self._since > UNWELL:
            minutes = (time.monotonic() - self._since) / 60
            waiting = self._state["waiting"]
            found.append(f"{waiting} instances wait for {self.name} since {minutes:.0f} min: {self._state['problem']}")
        return found
