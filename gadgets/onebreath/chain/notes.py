"""Notes: what a gadget decided, as a message that flows with the data.

Every decision about a scan is made once, logged once, and written into the images. The gadgets may run in one process
or in several, so a decision travels as one of Gadgetron's own messages: a waveform whose samples spell a JSON text. It
passes every gadget unchanged until `reconstruct` writes it into the meta of the images. A note holds for all later
messages, until the same gadget sends another.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import ismrmrd
import numpy as np

from onebreath.diagnostics.events import tell
from onebreath.errors import WireError

NOTE_ID = 0x0B12
"""Waveform id of notes; Siemens' physiological signals use 0 to 4, user-defined ones start at 1024."""


def note(gadget: str, **facts: str | int | float | bool) -> ismrmrd.Waveform:
    """Make a note, and log it.

    Parameters
    ----------
    gadget
        Name of the gadget that decided.
    facts
        What was decided or measured, by name. Each becomes ``Onebreath_<gadget>_<name>`` in the images' meta.
    """
    logging.getLogger(f"onebreath.{gadget}").info("%s", ", ".join(f"{key}: {value}" for key, value in facts.items()))
    tell("note", gadget=gadget, facts=facts)
    text = json.dumps({"gadget": gadget, "facts": facts}).encode()
    samples = np.frombuffer(text + b" " * (-len(text) % 4), dtype="<u4")
    header = ismrmrd.WaveformHeader()
    header.version, header.waveform_id = 1, NOTE_ID
    header.channels, header.number_of_samples = 1, samples.size
    return ismrmrd.Waveform(header, samples)


def read_note(message: Any) -> tuple[str, dict[str, Any]] | None:
    """Read a note: the gadget's name and its facts, or None if the message is no note.

    Raises
    ------
    WireError
        If the message has the id of a note but does not hold one.
    """
    if not isinstance(message, ismrmrd.Waveform) or message.waveform_id != NOTE_ID:
        return None
    try:
        content = json.loads(message.data.astype("<u4").tobytes())
        return str(content["gadget"]), dict(content["facts"])
    except (ValueError, KeyError, TypeError) as error:
        raise WireError(f"A waveform with id {NOTE_ID} (a note of Onebreath) cannot be read: {error}") from error
