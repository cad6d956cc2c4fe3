"""Marks, by which a node informs later nodes that its lines are complete.

When a node of Gadgetron's fails, the nodes after it only see their input end, as it does when all is well; they would
make images of half a scan. So each node that sends lines says when it begins and when it is done, in waveforms that
pass all other gadgets. A node that sees another one begin and not end knows that lines are missing, whether because of
an error, a crash, or a killed process.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import ismrmrd
import numpy as np

from onebreath.errors import OnebreathError, WireError

MARK_ID = 0x0B13
"""Waveform id of marks; see `notes.NOTE_ID`."""


class BrokenOff(OnebreathError):
    """An earlier node did not send all its lines."""


def marked(messages: Iterator[Any], node: str) -> Iterator[Any]:
    """Yield a node's messages between two marks; after an error the last mark is left out."""
    identifier = uuid.uuid4().hex
    yield _mark(node, identifier, "begins")
    yield from messages
    yield _mark(node, identifier, "has ended")


def checked(messages: Iterable[Any], keep: bool) -> Iterator[Any]:
    """Yield the messages for a node, and check at their end that all earlier nodes have completed.

    Parameters
    ----------
    messages
        Messages of the earlier nodes.
    keep
        Whether later nodes get the marks, too.

    Raises
    ------
    BrokenOff
        If an earlier node began and did not end.
    """
    at_work: dict[str, str] = {}
    for message in messages:
        mark = _read(message)
        if mark is None:
            yield message
            continue
        if mark["state"] == "begins":
            at_work[mark["id"]] = mark["node"]
        else:
            at_work.pop(mark["id"], None)
        if keep:
            yield message
    if at_work:
        raise BrokenOff(
            f"the node of {', '.join(at_work.values())} broke off before it had sent all lines, so no images are made "
            "of the others; the message of that node, or the log of the server, says why"
        )


def node_name(gadgets: Sequence[Any]) -> str:
    """Return what marks call a node of these gadgets."""
    return "gadget " + " and ".join(f"'{gadget.name}'" for gadget in gadgets)


def _mark(node: str, identifier: str, state: str) -> ismrmrd.Waveform:
    text = json.dumps({"node": node, "id": identifier, "state": state}).encode()
    samples = np.frombuffer(text + b" " * (-len(text) % 4), dtype="<u4")
    header = ismrmrd.WaveformHeader()
    header.version, header.waveform_id = 1, MARK_ID
    header.channels, header.number_of_samples = 1, samples.size
    return ismrmrd.Waveform(header, samples)


def is_mark(message: Any) -> bool:
    """Return whether a message has the id of a mark."""
    return isinstance(message, ismrmrd.Waveform) and message.waveform_id == MARK_ID


def _read(message: Any) -> dict[str, str] | None:
    if not is_mark(message):
        return None
    try:
        content = json.loads(message.data.astype("<u4").tobytes())
        return {name: str(content[name]) for name in ("node", "id", "state")}
    except (ValueError, KeyError, TypeError) as error:
        raise WireError(f"A waveform with id {MARK_ID} (a mark of Onebreath) cannot be read: {error}") from error
