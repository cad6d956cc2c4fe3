"""What the worker tells of its scans, collected until they end, and handed to the history."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import ismrmrd
from gadgetron.types import ImageArray

from onebreath.diagnostics.logs import SCAN, SCANS, clean, hider
from onebreath.web.history.entries import EndedScan, LogLine, Said, write_log, write_scan
from onebreath.web.history.writer import History
from onebreath.web.pictures import Pictures
from onebreath.worker.ticket import Ticket

log = logging.getLogger("onebreath.web")

MOST_SCANS = 256  # of which something is collected at once
MOST_IMAGES = 4096  # of a scan whose meta is looked at
MOST_META = 64 << 20  # bytes of meta of a scan
MOST_BYTES = 256 << 20  # of images that are held for pictures, of all scans together
MOST_LINES = 1000  # of the log of one scan
LONGEST = 2000  # characters of a line


@dataclass
class Collected:
    """What is known of a scan that has not ended.

    Parameters
    ----------
    hide
        Takes the names and ids of the patient out of a text.
    said
        Facts, warnings, and the images' meta.
    images
        The images, for pictures; empty if none are kept.
    held
        Bytes of them.
    metas
        Bytes of the images' meta.
    without_pictures
        Why there are none; empty if there are.
    lines
        Lines of its log.
    """

    hide: Callable[[str], str]
    said: Said = field(default_factory=Said)
    images: list[ismrmrd.Image] = field(default_factory=list)
    held: int = 0
    metas: int = 0
    without_pictures: str = ""
    lines: int = 0


class Recorder:
    """Listens to events, ends of scans and the log, from any thread; all it does is to append.

    Parameters
    ----------
    history
        Where scans go when they have ended.
    pictures
        Where their images go; None: they are not kept.
    """

    def __init__(self, history: History, pictures: Pictures | None) -> None:
        self.history, self.pictures = history, pictures
        self._guard = threading.Lock()
        self._scans: OrderedDict[str, Collected] = OrderedDict()
        self._held = 0
        self._idle: set[str] = set()

    def hear(self, event: str, facts: dict[str, Any]) -> None:
        """Collect an event of `onebreath.diagnostics.events`."""
        scan = SCAN.get()
        if not scan:
            return
        with self._guard:
            found = self._of(scan)
            if event == "note":
                found.said.notes[facts["gadget"]] = dict(facts["facts"])
            elif event == "warning" and len(found.said.warnings) < MOST_LINES:
                found.said.warnings.append(facts["text"])
            elif event == "gadget":
                found.said.seconds[facts["gadget"]] = facts["seconds"]
            elif event == "images":
                self._image(found, facts["message"])

    def _image(self, found: Collected, message: Any) -> None:
        if isinstance(message, ImageArray) and not found.images:
            texts = [meta if isinstance(meta, str) else meta.serialize() for meta in message.meta[:MOST_IMAGES]]
        elif isinstance(message, ismrmrd.Image):
            texts = [message.attribute_string]
            self._hold(found, message)
        else:
            return
        found.metas += sum(map(len, texts))
        room = MOST_IMAGES - len(found.said.metas) if found.metas <= MOST_META else 0
        found.said.metas += texts[: max(room, 0)]
        found.said.unseen += max(0, len(texts) - max(room, 0))

    def _hold(self, found: Collected, image: ismrmrd.Image) -> None:
        if self.pictures is None or found.without_pictures:
            return
        size = image.data.nbytes
        if self._held + size > MOST_BYTES:
            found.without_pictures = f"images of more than {MOST_BYTES >> 20} MB wait to be written"
            self._let_go(found)
            return
        found.images.append(image)
        found.held += size
        self._held += size

    def _let_go(self, found: Collected) -> None:
        self._held -= found.held
        found.held = 0
        found.images = []

    def _of(self, scan: str) -> Collected:
        if scan not in self._scans:
            if len(self._scans) >= MOST_SCANS:
                self._let_go(self._scans.popitem(last=False)[1])
            self._scans[scan] = Collected(hider())
        return self._scans[scan]

    def scan_ended(self, ticket: Ticket) -> None:
        """Hand a scan to the history; called in its own thread."""
        with self._guard:
            found = self._scans.pop(ticket.scan, None) or Collected(hider())
            self._idle.discard(ticket.scan)
        ended = EndedScan.of(ticket, found.said, found.hide, self._what_of_pictures(found))
        if found.images and self.pictures is not None:
            pictures = self.pictures
            # Before the scan's entry: whoever sees the scan finds its pictures.
            self.history.put(lambda connection: self._keep(pictures, ticket.scan, found))
        self.history.put(lambda connection: write_scan(connection, ended))

    def _keep(self, pictures: Pictures, scan: str, found: Collected) -> None:
        """Write the pictures, once: where the transaction is repeated they are there already."""
        if not found.images:
            return
        try:
            pictures.keep(scan, found.images, found.hide)
        finally:
            with self._guard:
                self._let_go(found)

    def _what_of_pictures(self, found: Collected) -> str:
        if self.pictures is None:
            return "pictures are not kept (--web-pictures 0)"
        return found.without_pictures or ("" if found.images else "no images came")

    def tidy(self, active: Collection[str]) -> None:
        """Forget what was collected of scans that are in no books, and were not when this was called before."""
        with self._guard:
            idle = {scan for scan in self._scans if scan not in active}
            for scan in idle & self._idle:
                self._let_go(self._scans.pop(scan))
            self._idle = idle

    def line(self, record: logging.LogRecord) -> None:
        """Write a line of the log down, without names of patients."""
        scan = SCAN.get()
        if scan:
            with self._guard:
                found = self._of(scan)
                found.lines += 1
                if found.lines > MOST_LINES:
                    return
                last = found.lines == MOST_LINES
        text = clean(record.getMessage())[:LONGEST]
        if record.exc_info and record.exc_info[1] is not None:
            text += f" [{type(record.exc_info[1]).__name__}: {clean(str(record.exc_info[1]))[:LONGEST]}]"
        if scan and last:
            text = f"{text} (further lines of this scan are in the worker's log only)"
        line = LogLine(scan, record.created, record.levelno, record.name, text)
        self.history.put(lambda connection: write_log(connection, line))


class LogToHistory(logging.Handler):
    """Hands the lines of Onebreath's loggers to a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(logging.INFO)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line down; an error in it ends nothing."""
        try:
            self._recorder.line(record)
        except Exception:  # noqa: BLE001 - the log must not fail
            self.handleError(record)


class decisions_logged:  # noqa: N801 - used as a context manager
    """Log decisions (INFO) to a handler of the history, while other handlers show what they showed before."""

    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler
        self._logger = logging.getLogger("onebreath")
        self._others: list[logging.Handler] = []
        self._level = self._logger.level

    def __enter__(self) -> None:
        self._least = self._logger.getEffectiveLevel()
        self._scans = logging.getLogger(SCANS).getEffectiveLevel()
        self._others = [*self._logger.handlers, *logging.getLogger().handlers]
        for other in self._others:
            other.addFilter(self._as_before)
        self._logger.addHandler(self._handler)
        self._logger.setLevel(min(self._least, logging.INFO))

    def _as_before(self, record: logging.LogRecord) -> bool:
        if record.name.startswith(SCANS):
            return record.levelno >= self._scans
        return not record.name.startswith("onebreath") or record.levelno >= self._least

    def __exit__(self, *exception: object) -> None:
        self._logger.setLevel(self._level)
        self._logger.removeHandler(self._handler)
        for other in self._others:
            other.removeFilter(self._as_before)
