"""Warnings sent to the client with its images, each once."""

from __future__ import annotations

from typing import Any

from onebreath.chain.notes import NOTE_ID, read_warning
from onebreath.wire.messages import Text

PREFIX = "WARNING: "
"""How the text of a warning begins; that of an error begins with ``ERROR: ``."""


class ClientMessages:
    """Converts messages for a client: warnings become texts, all other notes are left out."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def __call__(self, message: Any) -> Any:
        """Return the message for the client, or None if there is nothing to send."""
        if getattr(message, "waveform_id", None) != NOTE_ID:
            return message
        text = read_warning(message)
        if text is None or text in self._texts:
            return None
        self._texts.add(text)
        return Text(PREFIX + text)
