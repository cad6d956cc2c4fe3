"""Error reports for a failed scan: advice, cause, and reference to the log."""

from __future__ import annotations

import logging
import re
import traceback
import uuid

from onebreath.diagnostics.events import tell
from onebreath.errors import (
    ConfigError,
    ConnectionLost,
    MethodError,
    ModelError,
    NoiseNotKept,
    NotKept,
    OnebreathError,
    ScanError,
    WireError,
)

log = logging.getLogger("onebreath.report")


class Reported(OnebreathError):
    """An error whose text was made by `report` already, at another node of the same scan."""


class WorkerDied(OnebreathError):
    """The process that reconstructed a scan is gone."""


class Busy(OnebreathError):
    """There is no room for another scan now."""


class TooOften(OnebreathError):
    """More connections come than are taken in a minute."""


class Overdue(OnebreathError):
    """A scan was not ready within its time."""


class SpoolError(OnebreathError):
    """Raw data could not be kept on disk."""


ADVICE: list[tuple[type[BaseException], str]] = [
    (Busy, "The reconstruction is busy. Send the scan again in a few minutes."),
    (TooOften, "Too many scans were sent at once. Send the scan again in a minute."),
    (WorkerDied, "The reconstruction broke off. Send the scan again."),
    (Overdue, "The reconstruction took too long. Send the scan again with a faster configuration."),
    (SpoolError, "The disk of the reconstruction computer is full or fails. Call the physicist; send the scan again."),
    (ConfigError, "This configuration cannot be used. Send the scan again with another one."),
    (ModelError, "The network cannot be used. Send the scan again with a configuration that needs none."),
    (MethodError, "This method cannot do this scan. Send the scan again with another configuration."),
    (NotKept, "The images of the earlier scan cannot be given. Ask for them again later, or send that scan again."),
    (NoiseNotKept, "The noise of this scan was not kept for the scans that follow. Call the physicist; send it again."),
    (ScanError, "The data of this scan cannot be used. Check the protocol, and repeat the scan if it is needed."),
    (ConnectionLost, "The connection broke off. Send the scan again."),
    (WireError, "The data were damaged on their way. Send the scan again."),
    (MemoryError, "The computer's memory is too small for this scan. Send it again when no other scan runs."),
]
LONGEST = 2000  # characters of an error that are repeated
OTHERWISE = "The reconstruction failed. Send the scan again with another configuration, and call the physicist."


def report(error: BaseException, who: str) -> str:
    """Return the text for the host, and log the error under the id that the text contains.

    Three lines: for the technologist what to do, for the physicist what is wrong, for the developer a log id.

    Parameters
    ----------
    error
        What went wrong.
    who
        What failed, for unexpected errors.
    """
    if isinstance(error, Reported):
        return str(error)
    identifier = uuid.uuid4().hex[:8]
    tell("error", kind=type(error).__name__, rejected=isinstance(error, ConfigError))
    if isinstance(error, OnebreathError):
        what = _printable(str(error))
        log.error("[%s] %s", identifier, what)
    else:
        what = f"internal error in {who}: {type(error).__name__}: {_printable(str(error))}; see the log"
        log.error("[%s] internal error in %s", identifier, who, exc_info=error)
    _clear_frames(error)
    return f"{advice(error)}\nFor the physicist: {what}\nFor the developer: log id {identifier}, {type(error).__name__}"


def cause_in(text: str) -> str:
    """Return what a text of `report` tells the physicist, and its log id; any other text as it is."""
    found = re.search(r"^For the physicist: (.*)\nFor the developer: (log id \w+)", text, re.DOTALL | re.MULTILINE)
    return f"{found[1]} ({found[2]})" if found else text


def _clear_frames(error: BaseException | None) -> None:
    """Clear the frames of an error's traceback, which would keep the arrays of a failed scan alive."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _printable(text: str) -> str:
    """Return a text, cut and with control characters escaped: an error may quote what a peer sent."""
    plain = "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text[:LONGEST]
    )
    return plain if len(text) <= LONGEST else f"{plain}... ({len(text)} characters)"


def advice(error: BaseException) -> str:
    """Return advice for the technologist; an error without advice gets that of its cause."""
    for found in (error, error.__cause__):
        for kind, text in ADVICE:
            if isinstance(found, kind):
                return text
    return OTHERWISE
