"""Logs that say which scan they are about and no patient's name; as text, or as one JSON object per line."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Literal

SCAN: contextvars.ContextVar[str] = contextvars.ContextVar("scan", default="")
"""Identifier of the scan that the running thread works on."""

HIDDEN = "[hidden]"
REMEMBERED = 64  # scans whose names are kept out of the log; those of older ones no longer come up
SHORTEST = 2  # characters of a text worth hiding: hiding every "1" would make logs useless, and tells nobody's name

OF_SUBJECT = ("patientName", "patientID", "patientBirthdate")
OF_STUDY = ("studyID", "accessionNumber", "referringPhysicianName", "studyInstanceUID")
OF_MEASUREMENT = ("seriesInstanceUIDRoot", "frameOfReferenceUID")
NAMES = ("patientName", "referringPhysicianName")

Format = Literal["text", "json"]


class _Secrets:
    """Texts that must not stand in a log."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._of_scans: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self._pattern: re.Pattern[str] | None = None

    def add(self, texts: tuple[str, ...]) -> None:
        if not texts:
            return
        with self._guard:
            self._of_scans[texts] = None
            self._of_scans.move_to_end(texts)
            while len(self._of_scans) > REMEMBERED:
                self._of_scans.popitem(last=False)
            found = {text for scan in self._of_scans for text in scan}
            parts = "|".join(re.escape(text) for text in sorted(found, key=len, reverse=True))
            self._pattern = re.compile(f"(?<![A-Za-z0-9])(?:{parts})(?![A-Za-z0-9])", re.IGNORECASE)

    def hide(self, text: str) -> str:
        pattern = self._pattern
        return text if pattern is None else pattern.sub(HIDDEN, text)


_SECRETS = _Secrets()


def keep_private(header: Any) -> None:
    """Keep the names and ids of a scan's ISMRMRD header out of the log from here on."""
    _SECRETS.add(tuple(sorted({text for text in _private(header) if len(text) >= SHORTEST})))


def _private(header: Any) -> Iterator[str]:
    """Give what tells who was scanned: names, ids, birthdate, and the measurement's id, which is made of them."""
    subject, study, measurement = header.subjectInformation, header.studyInformation, header.measurementInformation
    for section, names in ((subject, OF_SUBJECT), (study, OF_STUDY), (measurement, OF_MEASUREMENT)):
        for name in names:
            value = str(getattr(section, name, None) or "")
            yield value
            if name in NAMES:  # "Miller^Anna" is also known by its parts
                yield from re.split(r"[\^ ,]+", value)
    stated = [dependency.measurementID for dependency in getattr(measurement, "measurementDependency", None) or []]
    for identifier in (getattr(measurement, "measurementID", None) or "", *stated):
        yield str(identifier)
        parts = str(identifier).split("_")
        if len(parts) == 4:  # Siemens: device, patient, study, number
            yield from parts[1:3]


class _Plain(logging.Formatter):
    """Text for people."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        text = _SECRETS.hide(super().format(record))
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
            "text": _SECRETS.hide(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = _SECRETS.hide(self.formatException(record.exc_info))
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


def guard_handlers() -> None:
    """Keep names out of a log that somebody else has set up: ``python -m gadgetron`` does for its nodes."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, (_Plain, _Json, _Guarded)):
            handler.setFormatter(_Guarded(handler.formatter or logging.Formatter()))


class _Guarded(logging.Formatter):
    """Another formatter's text, without names."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return _SECRETS.hide(self.inner.format(record))
