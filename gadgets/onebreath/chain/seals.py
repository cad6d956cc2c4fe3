"""Seals: signatures that prove that a note comes from a node of this user, not from the sender of the data.

Notes travel with the data, through a server that passes on what its client sends. A node that makes one puts an
HMAC-SHA256 under it, with a key from the user's state folder; a note belongs to one scan, identified by its header.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from pathlib import Path
from typing import Any

from onebreath.chain.notes import content_of, note_of
from onebreath.errors import WireError
from onebreath.keeping import secret
from onebreath.shim_settings import state_folder
from onebreath.wire.xml_guard import as_text

log = logging.getLogger("onebreath.seals")

FILE = "notes.key"
SEAL = "seal"


class Seals:
    """Seals of one scan.

    Parameters
    ----------
    header
        Text of its ISMRMRD header, as all its nodes get it.
    folder
        Where the key lies; not given: the state folder. Where there can be none, no note is sealed, and none believed.
    """

    def __init__(self, header: bytes, folder: Path | None = None) -> None:
        self._scan = hashlib.sha256(as_text(header).encode()).digest()  # as a spool keeps it, too
        try:
            self._key = secret((state_folder() if folder is None else folder) / FILE, make=True)
        except OSError as error:
            log.warning("notes are not sealed: %s", error)
            self._key = None

    def seal(self, message: Any) -> Any:
        """Return a note with its seal; anything else as it is."""
        content = content_of(message)
        if content is None or self._key is None or SEAL in content:
            return message
        return note_of({**content, SEAL: self.under(content)})

    def holds(self, message: Any) -> bool:
        """Return whether a note was sealed by this user, for this scan."""
        try:
            content = content_of(message)
        except WireError:
            return False
        return content is not None and self.is_under(content, str(content.pop(SEAL, "")))

    def is_under(self, content: dict[str, Any], seal: str) -> bool:
        """Return whether a seal is that of some content."""
        made = self.under(content)
        return made != "" and hmac.compare_digest(seal.encode(), made.encode())

    def under(self, content: dict[str, Any]) -> str:
        """Return the seal of some content; empty where there is no key."""
        if self._key is None:
            return ""
        text = json.dumps(content, sort_keys=True).encode()
        return hmac.new(self._key, self._scan + text, hashlib.sha256).hexdigest()
