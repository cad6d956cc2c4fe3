"""The server's end of a client's connection."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

from gadgetron.external import constants

from onebreath.errors import ConnectionLost
from onebreath.wire.channel import DATA_READERS, Channel, identifier_of
from onebreath.wire.framing import Stream, message_name
from onebreath.wire.limits import Limits
from onebreath.wire.messages import CONTROL_READERS, Query, Response, Text

log = logging.getLogger("onebreath.wire")

ERROR = "ERROR: "
"""What the text of an error begins with; other texts that a client receives are not errors."""
FAREWELL = 30.0  # seconds that a client which received an error may stay silent before it is cut off


class ClientChannel(Channel):
    """The server's end of a client's connection: queries are answered on the way, errors go out as TEXT.

    Parameters
    ----------
    source, limits
        See `Channel`.
    answer
        Gives the answer to a query's text.
    """

    def __init__(
        self, source: socket.socket | Stream, answer: Callable[[str], str], limits: Limits | None = None
    ) -> None:
        super().__init__(source, limits)
        self.answer = answer
        self._amid_data = False

    def read(self) -> tuple[int, Any]:
        """Read the next message that is no query, and amid the data no text."""
        while True:
            identifier, message = super().read()
            if isinstance(message, Query):
                self.send(Response(self.answer(message.text), message.correlation))
            elif self._amid_data and isinstance(message, Text):
                # What it says is for people, and may name the patient.
                log.warning("a text of %d letters came amid the data of a scan; nothing is done with it", len(message))
            else:
                return identifier, message

    def expect_data(self) -> None:
        """Accept only data, queries, errors, and texts, which tell people something: none is worth the scan."""
        super().expect_data()
        self.readers[constants.GADGET_MESSAGE_TEXT] = CONTROL_READERS[constants.GADGET_MESSAGE_TEXT]
        self._amid_data = True

    def _unreadable(self, identifier: int) -> str:
        return (
            f"{message_name(identifier)} (id {identifier}) came, but the configuration has no reader for it: Gadgetron "
            "stops there with 'map::at'. Name one in <readers>; see: onebreath configs check"
        )

    def send(self, message: Any) -> None:
        """Send a message, if there is a writer for it; see `restrict`."""
        identifier = identifier_of(message)
        if identifier in DATA_READERS and identifier not in self.gives:
            self.withhold(message)
            return
        super().send(message)

    def fail(self, text: str) -> None:
        """Send the client the error at once, then let it finish sending."""
        self._tell(text)
        self.stream.end()
        self.stream.patience(FAREWELL)
        self.drain()
        self.close()

    def give_up(self, text: str) -> None:
        """Send the client the error, as it may still listen although its data ended too early, and close."""
        self._tell(text)
        self.close()

    def _tell(self, text: str) -> None:
        try:
            self.send(Text(ERROR + text))
        except ConnectionLost as error:
            log.info("the error could not be reported: %s", error)
