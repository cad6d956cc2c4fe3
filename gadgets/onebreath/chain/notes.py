"""Notes: facts of a gadget, as messages that flow with the data.

Every decision about a scan is made once, logged once, and written into the images. The gadgets may run in one process
or in several, so a decision travels as one of Gadgetron's own messages: a waveform whose samples spell a JSON text. It
passes every gadget unchanged until `reconstruct` writes it into the meta of the images. A note holds for all later
messages, until the same gadget sends another.

A warning is a note with a severity: a text for the person at the scanner. Warnings add up, and flow on to the client.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import ismrmrd
import numpy as np

from onebreath.chain.facts import Facts, readable
from onebreath.diagnostics.events import tell
from onebreath.diagnostics.logs import SENT
from onebreath.errors import WireError

NOTE_ID = 0x0B12
"""Waveform id of notes; Siemens' physiological signals use 0 to 4, user-defined ones start at 1024."""


def note(gadget: str, said: Facts | None = None, **more: str | int | float | bool) -> ismrmrd.Waveform:
    """Make a note, and log it.

    Parameters
    ----------
    gadget
        Name of the gadget that decided.
    said, more
        What was decided or measured: the gadget's model, or facts by name. Each becomes
        ``Onebreath_<gadget>_<name>`` in the images' meta.
    """
    facts = {**({} if said is None else said.model_dump(mode="json", exclude_none=True)), **more}
    shown = readable(facts)
    logging.getLogger(f"onebreath.{gadget}").info("%s", ", ".join(f"{key}: {value}" for key, value in shown.items()))
    tell("note", gadget=gadget, facts=shown)
    return note_of({"gadget": gadget, "facts": facts})


def warning(gadget: str, text: str) -> ismrmrd.Waveform:
    """Make a warning, and log it; `text` names the finding, how it was handled, and what to do."""
    logging.getLogger(f"onebreath.{gadget}").warning("%s", text, extra={SENT: True})
    tell("warning", gadget=gadget, text=text)
    return note_of({"gadget": gadget, "severity": "warning", "text": text})


def note_of(content: dict[str, Any]) -> ismrmrd.Waveform:
    """Make the message that holds a note's content."""
    text = json.dumps(content).encode()
    samples = np.frombuffer(text + b" " * (-len(text) % 4), dtype="<u4")
    header = ismrmrd.WaveformHeader()
    header.version, header.waveform_id = 1, NOTE_ID
    header.channels, header.number_of_samples = 1, samples.size
    return ismrmrd.Waveform(header, samples)


def is_note(message: Any) -> bool:
    """Return whether a message has the id of a note."""
    return isinstance(message, ismrmrd.Waveform) and message.waveform_id == NOTE_ID


def note_maker(message: Any) -> str:
    """Return the gadget that a note or a warning names; empty if it cannot be read."""
    try:
        content = content_of(message)
    except WireError:
        return ""
    return "" if content is None else str(content.get("gadget", ""))


def read_note(message: Any) -> tuple[str, dict[str, Any]] | None:
    """Read a note: the gadget's name and its facts (see `onebreath.chain.facts`), or None if the message is no note.

    Raises
    ------
    WireError
        If the message has the id of a note but does not hold one.
    """
    content = content_of(message)
    if content is None or "severity" in content:
        return None
    try:
        return str(content["gadget"]), dict(content["facts"])
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(error) from error


def read_warning(message: Any) -> str | None:
    """Return the text of a warning, or None if the message is not a warning. Raises as `read_note`."""
    content = content_of(message)
    return str(content.get("text", "")) if content is not None and "severity" in content else None


def content_of(message: Any) -> dict[str, Any] | None:
    """Return what a note or a warning holds; None if the message is neither. Raises as `read_note`."""
    if not is_note(message):
        return None
    try:
        return dict(json.loads(message.data.astype("<u4").tobytes()))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> WireError:
    return WireError(f"A waveform with id {NOTE_ID} (a note of Onebreath) cannot be read: {error}")
