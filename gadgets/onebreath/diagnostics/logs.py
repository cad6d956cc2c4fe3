"""Logs that say which scan they are about and no patient's name; as text, or as one JSON object per line."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from onebreath.errors import ScanError
from onebreath.names import harmless

SCAN: contextvars.ContextVar[str] = contextvars.ContextVar("scan", default="")
"""Identifier of the scan that the running thread works on."""

HIDDEN = "[hidden]"
SCANS = "onebreath.scans"
"""Logger of the line that each scan ends with; shown at the default level, though nothing is wrong."""
MOST = 500  # names and identifiers of one scan that are kept out of the log; headers have some dozen
LONGEST, MARGIN = 8000, 300  # characters of a text that is logged; a name at the cut is hidden before that is made
SHORTEST = 2  # characters of a text worth hiding: hiding every "1" would make logs useless, and tells nobody's name

OF_SUBJECT = ("patientName", "patientID", "patientBirthdate")
OF_STUDY = ("studyID", "accessionNumber", "referringPhysicianName", "studyInstanceUID")
OF_MEASUREMENT = ("seriesInstanceUIDRoot", "frameOfReferenceUID")
NAMES = ("patientName", "referringPhysicianName")

SENT = "sent_on"
"""Attribute of a record whose text goes to the scan's client, too."""

Format = Literal["text", "json"]


class _Secrets:
    """Texts that must not appear in the log of one scan."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._texts: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, texts: set[str]) -> None:
        with self._guard:
            if texts <= self._texts:
                return
            if len(self._texts | texts) > MOST:
                raise ScanError(
                    f"the header holds {len(texts)} names and identifiers that must not stand in the log; at most "
                    f"{MOST} can be kept out of it"
                )
            self._texts |= texts
            parts = "|".join(re.escape(text) for text in sorted(self._texts, key=len, reverse=True))
            self._pattern = re.compile(f"(?<![A-Za-z0-9])(?:{parts})(?![A-Za-z0-9])", re.IGNORECASE)

    def hide(self, text: str) -> str:
        pattern = self._pattern
        return text if pattern is None else pattern.sub(HIDDEN, text)


_OF_PROCESS = _Secrets()
"""Of a process that serves one scan, as Gadgetron starts it for a node."""
_secrets: contextvars.ContextVar[_Secrets] = contextvars.ContextVar("secrets", default=_OF_PROCESS)
_live: set[_Secrets] = set()


@contextmanager
def secrets_of_a_scan() -> Iterator[None]:
    """Redact the texts given to `keep_private` in the body from the scan's log; forget them at the end.

    The threads that the body starts with its context belong to the scan. What no scan logs is looked at for the names
    of all scans that run.
    """
    own = _Secrets()
    token = _secrets.set(own)
    _live.add(own)
    try:
        yield
    finally:
        _live.discard(own)
        _secrets.reset(token)


@contextmanager
def about(scan: str) -> Iterator[None]:
    """Mark what the body logs, and the threads that it starts with its context, as about a scan."""
    token = SCAN.set(scan)
    try:
        yield
    finally:
        SCAN.reset(token)


def _hide(text: str) -> str:
    own = _secrets.get()
    text = own.hide(text)
    if own is _OF_PROCESS:
        for other in list(_live):
            text = other.hide(text)
    return text


def keep_private(header: Any) -> None:
    """Keep the names and ids of a scan's ISMRMRD header out of the log from here on.

    Raises
    ------
    ScanError
        If there are more than a header has.
    """
    texts = {text for text in _private(header) if len(text) >= SHORTEST}
    quoted = {text.encode("unicode_escape").decode("ascii") for text in texts}  # as errors may have them
    _secrets.get().add(texts | quoted)


def _private(header: Any) -> Iterator[str]:
    """Yield what identifies the patient: names, ids, birthdate, and the measurement's id, which is made of them."""
    subject, study, measurement = header.subjectInformation, header.studyInformation, header.measurementInformation
    for section, names in ((subject, OF_SUBJECT), (study, OF_STUDY), (measurement, OF_MEASUREMENT)):
        for name in names:
            value = str(getattr(section, name, None) or "")
            yield value
            if name in NAMES:  # "Miller^Anna" is also known by its parts
                yield from re.split(r"[\^\s,]+", value)
    stated = [dependency.measurementID for dependency in getattr(measurement, "measurementDependency", None) or []]
    for identifier in (getattr(measurement, "measurementID", None) or "", *stated):
        yield str(identifier)
        parts = str(identifier).split("_")
        if len(parts) == 4:  # Siemens: device, patient, study, number
            yield from parts[1:3]


def hider() -> Callable[[str], str]:
    """Return a function that hides the names of the scan that this thread works on now, in other threads as well."""
    return _secrets.get().hide


def clean(text: str) -> str:
    """Return a text without names, not long, and with nothing in it that a terminal or a reader of lines obeys."""
    whole = len(text)
    text = _hide(text[: LONGEST + MARGIN])
    if whole > LONGEST:
        text = f"{text[:LONGEST]}... ({whole} characters)"
    return harmless(text)


class _Plain(logging.Formatter):
    """Text for people; what follows on further lines is indented, so that no text can look like a line of its own."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        text = f"{record.levelname} {record.name}: {clean(record.getMessage())}"
        if record.exc_info:
            text += "\n" + clean(self.formatException(record.exc_info))
        text = text.replace("\n", "\n    | ")
        scan = SCAN.get()
        return f"[{scan}] {text}" if scan else text


class _Json(logging.Formatter):
    """One JSON object per line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "scan": SCAN.get(),
            "thread": record.threadName,
            "text": clean(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = clean(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def configure(level: str | int, form: Format = "text") -> None:
    """Log to standard error.

    Parameters
    ----------
    level
        Least level that is logged.
    form
        ``text`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Plain())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    least = logging.getLevelName(level) if isinstance(level, str) else level
    logging.getLogger(SCANS).setLevel(min(least, logging.INFO) if least <= logging.WARNING else least)


class HeldBack:
    """Warnings that were not logged yet, as whoever gets the images may print them."""

    def __init__(self) -> None:
        self._records: list[tuple[logging.Handler, logging.LogRecord]] = []
        self._told: set[str] = set()

    def told(self, texts: Iterable[str]) -> None:
        """Leave out of the log what the user is told otherwise."""
        self._told.update(texts)

    def _keep(self, handler: logging.Handler, record: logging.LogRecord) -> bool:
        if not getattr(record, SENT, False):
            return True
        self._records.append((handler, record))
        return False

    def _log(self) -> None:
        for handler, record in self._records:
            if record.getMessage() not in self._told:
                handler.handle(record)


@contextmanager
def holding_back() -> Iterator[HeldBack]:
    """Log warnings that go to a client, too, at the end of the body, but for those that the client has told of.

    That is for a client in the process of its server, and for the log that people read: machines get all of it.
    """
    held = HeldBack()
    filters = [
        (handler, partial(held._keep, handler))
        for handler in logging.getLogger().handlers
        if isinstance(handler.formatter, _Plain)
    ]
    for handler, kept in filters:
        handler.addFilter(kept)
    try:
        yield held
    finally:
        for handler, kept in filters:
            handler.removeFilter(kept)
        held._log()


def guard_handlers() -> None:
    """Redact names in a log that other code has configured, as ``python -m gadgetron`` does for its nodes."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, (_Plain, _Json, _Guarded)):
            handler.setFormatter(_Guarded(handler.formatter or logging.Formatter()))


class _Guarded(logging.Formatter):
    """Another formatter's text, without names."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return clean(self.inner.format(record))
