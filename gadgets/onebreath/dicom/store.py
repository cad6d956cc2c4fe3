"""C-STORE of a queue to a PACS, which may be down, die in between, or refuse."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onebreath.dicom.queue import Queue
from onebreath.errors import ConfigError
from onebreath.optional import required

log = logging.getLogger("onebreath.dicom.store")

OUT_OF_RESOURCES = range(0xA700, 0xA800)
"""Status of a PACS that cannot take it now."""
WARNINGS = (0x0001, 0xB000, 0xB006, 0xB007)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


@dataclass(frozen=True)
class Pacs:
    """Where to send.

    Attributes
    ----------
    host, port
        Its address.
    called, calling
        Application entity titles: the PACS's, and ours.
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
        """Read ``HOST:PORT``.

        Raises
        ------
        ConfigError
            If it is no address, or a title is longer than 16 characters.
        """
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"'{text}' is no address of a PACS; say HOST:PORT, as in pacs.example:104.")
        for title in (called, calling):
            if not 0 < len(title.strip()) <= 16 or "\\" in title:
                raise ConfigError(f"'{title}' is no title of an application entity: 1 to 16 characters, no backslash.")
        return cls(host.strip("[]"), int(port), called, calling)


class Unreachable(Exception):
    """The PACS does not answer, has broken the connection off, or cannot take more now."""


def send(queue: Queue, pacs: Pacs, patience: float) -> int:
    """Send all that waits in a queue; return the number of instances that arrived.

    A PACS that does not answer is tried again, at growing intervals, until `patience` seconds have passed without
    an instance that arrived. What is left then stays in the queue.

    Raises
    ------
    ConfigError
        If pynetdicom is not installed, or another process sends from the queue.
    """
    required("pynetdicom", "dicom", "Sending to a PACS")
    pause = FIRST_PAUSE
    with queue.locked():
        begun = len(queue.sent())
        given_up = time.monotonic() + patience
        while queue.left():
            before = len(queue.sent())
            try:
                _send_all(queue, pacs)
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


def _send_all(queue: Queue, pacs: Pacs) -> None:
    """Send over one association until the queue is empty.

    Raises
    ------
    Unreachable
        If it cannot be made, or breaks.
    """
    pynetdicom = required("pynetdicom", "dicom", "Sending to a PACS")
    pydicom = required("pydicom", "dicom", "DICOM")
    entity = pynetdicom.AE(ae_title=pacs.calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = pacs.timeout
    entity.connection_timeout = pacs.timeout
    kinds = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID) for path in queue.left()}
    for kind in sorted(kinds):
        entity.add_requested_context(kind, pydicom.uid.ExplicitVRLittleEndian)
    entity.add_requested_context(STUDY_ROOT_FIND)
    association = entity.associate(pacs.host, pacs.port, ae_title=pacs.called)
    if not association.is_established:
        raise Unreachable("refuses the association" if association.is_rejected else "does not answer")
    try:
        for path in queue.uncertain():
            if _is_there(association, pydicom.dcmread(path, stop_before_pixels=True)):
                log.info("%s had arrived before the connection broke", path.stem)
                queue.done(path)
        for path in queue.left():
            _send_one(association, queue, path)
    finally:
        if association.is_established:
            association.release()


def _send_one(association: Any, queue: Queue, path: Path) -> None:
    path = queue.begin(path)
    try:
        status = association.send_c_store(str(path))
    except (ValueError, AttributeError) as error:  # no context was accepted for it; it is no DICOM
        queue.refuse(path, str(error))
        return
    except RuntimeError as error:
        raise Unreachable(str(error)) from error
    code = int(status.Status) if "Status" in status else None
    if code is None:
        raise Unreachable("has broken the connection off")
    if code == 0 or code in WARNINGS:
        if code:
            log.warning("%s arrived with the warning 0x%04X", path.stem, code)
        queue.done(path)
    elif code in OUT_OF_RESOURCES:
        raise Unreachable(f"is out of resources (0x{code:04X})")
    else:
        queue.refuse(path, f"status 0x{code:04X}: {status.get('ErrorComment', 'no reason given')}")


def _is_there(association: Any, head: Any) -> bool:
    """Ask whether an instance is stored already; False where the PACS answers no such question."""
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
        raise Unreachable("has broken the connection off")
    return any(found is not None and found.get("SOPInstanceUID") == head.SOPInstanceUID for _, found in answers)
