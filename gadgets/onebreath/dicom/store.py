"""C-STORE of a queue to a PACS, which may be down, stop in between, or refuse instances."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onebreath.dicom.queue import Queue
from onebreath.errors import ConfigError
from onebreath.optional import required

log = logging.getLogger("onebreath.dicom.store")

OUT_OF_RESOURCES = range(0xA700, 0xA800)
"""Status of a PACS that has no resources at the moment."""
WARNINGS = (0x0001, 0xB000, 0xB006, 0xB007)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


@dataclass(frozen=True)
class Pacs:
    """Address of a PACS.

    Attributes
    ----------
    host, port
        Network address.
    called, calling
        Application entity titles of the PACS, and of this sender.
    timeout
        Seconds to wait for an answer.
    """

    host: str
    port: int
    called: str = "ANY-SCP"
    calling: str = "ONEBREATH"
    timeout: float = 30.0

    @classmethod
    def parse(cls, text: str, called: str, calling: str) -> Pacs:
        """PACS from ``HOST:PORT`` and titles.

        Raises
        ------
        ConfigError
            If the address or a title is not valid.
        """
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"'{text}' is not the address of a PACS; give HOST:PORT, as in pacs.example:104.")
        for title in (called, calling):
            if not 0 < len(title.strip()) <= 16 or "\\" in title or not (title.isascii() and title.isprintable()):
                raise ConfigError(
                    f"'{title}' is not a valid AE title, which has 1 to 16 characters of ASCII and no backslash."
                )
        return cls(host.strip("[]"), int(port), called, calling)


class Unreachable(Exception):
    """The PACS does not answer, has closed the connection, or has no resources."""


def send(
    queue: Queue, pacs: Pacs, patience: float, after: Callable[[str, bool], None] = lambda uid, arrived: None
) -> int:
    """Send a queue; returns the number of instances that arrived.

    A PACS that does not answer is retried at increasing intervals until no instance has arrived for `patience` seconds.
    The rest then stays in the queue. `after` as in `send_once`.

    Raises
    ------
    ConfigError
        If pynetdicom is not installed, or another process is sending from the queue.
    """
    required("pynetdicom", "dicom", "Sending to a PACS")
    pause = FIRST_PAUSE
    with queue.locked():
        begun = len(queue.sent())
        given_up = time.monotonic() + patience
        while queue.left():
            before = len(queue.sent())
            try:
                send_once(queue, pacs, after)
            except Unreachable as reason:
                log.warning("%s:%d: %s; %d instances wait", pacs.host, pacs.port, reason, len(queue.left()))
            if len(queue.sent()) > before:
                pause, given_up = FIRST_PAUSE, time.monotonic() + patience
            elif time.monotonic() + pause > given_up:
                break
            if queue.left():
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        return len(queue.sent()) - begun


def send_once(
    queue: Queue,
    pacs: Pacs,
    after: Callable[[str, bool], None] = lambda uid, arrived: None,
    ends: Callable[[], bool] = lambda: False,
) -> None:
    """Send a locked queue through one association.

    Parameters
    ----------
    queue, pacs
        What is sent, and where to.
    after
        Called with each instance, and whether it has arrived; else it was refused.
    ends
        Asked before each instance; True ends the sending.

    Raises
    ------
    Unreachable
        If the association cannot be established, or breaks.
    OSError
        If the disk fails.
    """
    pynetdicom = required("pynetdicom", "dicom", "Sending to a PACS")
    pydicom = required("pydicom", "dicom", "DICOM")
    entity = pynetdicom.AE(ae_title=pacs.calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = pacs.timeout
    entity.connection_timeout = pacs.timeout
    waiting = queue.left()
    kinds = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID) for path in waiting}
    for kind in sorted(kinds):
        entity.add_requested_context(kind, pydicom.uid.ExplicitVRLittleEndian)
    entity.add_requested_context(STUDY_ROOT_FIND)
    at_once = [(pynetdicom.evt.EVT_CONN_OPEN, _send_at_once)]
    association = entity.associate(pacs.host, pacs.port, ae_title=pacs.called, evt_handlers=at_once)
    if not association.is_established:
        raise Unreachable("refuses the association" if association.is_rejected else "does not answer")
    try:
        for path in waiting:
            if ends():
                return
            if path.parent == queue.sending and _is_there(association, pydicom.dcmread(path, stop_before_pixels=True)):
                log.info("%s had arrived before the connection broke", path.stem)
                queue.done(path)
                after(path.stem, True)
            else:
                after(path.stem, _send_one(association, queue, path))
    finally:
        if association.is_established:
            association.release()


def _send_at_once(event: Any) -> None:
    """Let small packets go without waiting for the answer to the one before, which takes 40 ms for each instance."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _send_one(association: Any, queue: Queue, path: Path) -> bool:
    """Send an instance; return whether it has arrived, else it was refused."""
    path = queue.begin(path)
    try:
        status = association.send_c_store(str(path))
    except (ValueError, AttributeError) as error:  # no context was accepted for it, or it is not DICOM
        queue.refuse(path, str(error))
        return False
    except RuntimeError as error:
        raise Unreachable(str(error)) from error
    code = int(status.Status) if "Status" in status else None
    if code is None:
        raise Unreachable("has closed the connection")
    if code == 0 or code in WARNINGS:
        if code:
            log.warning("%s arrived with the warning 0x%04X", path.stem, code)
        queue.done(path)
        return True
    if code in OUT_OF_RESOURCES:
        raise Unreachable(f"is out of resources (0x{code:04X})")
    queue.refuse(path, f"status 0x{code:04X}", str(status.get("ErrorComment", "no reason given")))
    return False


def _is_there(association: Any, head: Any) -> bool:
    """Whether the PACS has an instance already; False if it does not support queries."""
    pydicom = required("pydicom", "dicom", "DICOM")
    question = pydicom.Dataset()
    question.QueryRetrieveLevel = "IMAGE"
    question.StudyInstanceUID, question.SeriesInstanceUID = head.StudyInstanceUID, head.SeriesInstanceUID
    question.SOPInstanceUID = head.SOPInstanceUID
    try:
        answers = list(association.send_c_find(question, STUDY_ROOT_FIND))
    except ValueError:  # it has accepted no such context
        return False
    except RuntimeError as error:
        raise Unreachable(str(error)) from error
    if answers and "Status" not in answers[-1][0]:
        raise Unreachable("has closed the connection")
    return any(found is not None and found.get("SOPInstanceUID") == head.SOPInstanceUID for _, found in answers)
