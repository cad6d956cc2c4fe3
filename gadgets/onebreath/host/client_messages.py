"""Warnings sent to the client with its images, each once."""

from __future__ import annotations

from typing import Any

from onebreath.chain.marks import is_mark
from onebreath.chain.notes import is_note, read_warning
from onebreath.wire.messages import Text

PREFIX = "WRN: "
"""How the text of a warning begins, by which FIRE shows it in yellow; that of an error begins with ``ERROR: ``."""


class ClientMessages:
    """Converts messages for a client: warnings become texts; other notes, and marks, are for nodes and left out."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def __call__(self, message: Any) -> Any:
        """Return the message for the client, or None if there is nothing to send."""
        if is_mark(message):
            return None
        if not is_note(message):
            return message
        text = read_warning(message)
        if text is None or text in self._texts:
            return None
        self._texts.add(text)
        return Text(PREFIX + text)
