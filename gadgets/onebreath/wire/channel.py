"""Whole messages over one socket, in both directions, for every side of the protocol."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any
from xml.etree.ElementTree import ParseError

import ismrmrd
from gadgetron.external import constants
from gadgetron.types import AcquisitionBucket, ImageArray, ReconData

from onebreath.errors import ConfigError, ConnectionLost, WireError
from onebreath.mrd.blocks import LineBlock
from onebreath.wire.framing import Stream, message_name
from onebreath.wire.limits import Limits
from onebreath.wire.messages import (
    CONTROL_READERS,
    ErrorText,
    encode_acquisition,
    encode_control,
    encode_image,
    encode_waveform,
    read_acquisition,
    read_image,
    read_waveform,
)
from onebreath.wire.ready import read_block
from onebreath.wire.sending import Octets
from onebreath.wire.structures import (
    encode_image_array,
    encode_recon_data,
    read_bucket,
    read_image_array,
    read_recon_data,
)

log = logging.getLogger("onebreath.wire")

QUIET = 1.0  # seconds without a byte after which a broken stream is taken to have ended
SETTLE = 0.1  # seconds that let the server finish its side before ERROR; without, one report in 80 is lost
CLOSE = constants.uint16.pack(constants.GADGET_MESSAGE_CLOSE)

DATA_READERS: dict[int, Callable[[Stream], Any]] = {
    constants.GADGET_MESSAGE_ISMRMRD_ACQUISITION: read_acquisition,
    constants.GADGET_MESSAGE_ISMRMRD_WAVEFORM: read_waveform,
    constants.GADGET_MESSAGE_ISMRMRD_IMAGE: read_image,
    constants.GADGET_MESSAGE_IMAGE_ARRAY: read_image_array,
    constants.GADGET_MESSAGE_RECON_DATA: read_recon_data,
    constants.GADGET_MESSAGE_BUCKET: read_bucket,
}
DATA_ENCODERS: list[tuple[type, Callable[[Any], list[Octets]]]] = [
    (ismrmrd.Acquisition, encode_acquisition),
    (ismrmrd.Waveform, encode_waveform),
    (ismrmrd.Image, encode_image),
    (ImageArray, encode_image_array),
    (ReconData, encode_recon_data),
]
ALONGSIDE_DATA = (constants.GADGET_MESSAGE_QUERY, constants.GADGET_MESSAGE_ERROR)
IDENTIFIERS: list[tuple[type, int]] = [
    (ismrmrd.Acquisition, constants.GADGET_MESSAGE_ISMRMRD_ACQUISITION),
    (ismrmrd.Waveform, constants.GADGET_MESSAGE_ISMRMRD_WAVEFORM),
    (ismrmrd.Image, constants.GADGET_MESSAGE_ISMRMRD_IMAGE),
    (ImageArray, constants.GADGET_MESSAGE_IMAGE_ARRAY),
    (ReconData, constants.GADGET_MESSAGE_RECON_DATA),
    (AcquisitionBucket, constants.GADGET_MESSAGE_BUCKET),
]
UNREADABLE = (ValueError, TypeError, OverflowError, AssertionError, MemoryError, AttributeError, ParseError)
"""What the underlying libraries raise on malformed data; it becomes a WireError."""


def encode(message: Any) -> list[Octets]:
    """Encode any message of the protocol.

    Raises
    ------
    WireError
        If the message cannot be sent: its type is unknown, or its arrays do not fit its header.
    """
    for kind, encoder in DATA_ENCODERS:
        if isinstance(message, kind):
            return encoder(message)
    control = encode_control(message)
    if control is None:
        raise WireError(f"a message of type {type(message).__name__} cannot be sent")
    return control


def identifier_of(message: Any) -> int:
    """Return the id that a data message has on the wire; 0 for anything else."""
    return next((identifier for kind, identifier in IDENTIFIERS if isinstance(message, kind)), 0)


class Channel:
    """Whole messages over one socket, in both directions; one thread reads, any may send.

    Parameters
    ----------
    source
        A connected socket, or a `Stream` over one.
    limits
        What sizes are believed; only for a socket.
    """

    def __init__(self, source: socket.socket | Stream, limits: Limits | None = None) -> None:
        self.stream = source if isinstance(source, Stream) else Stream(source, limits)
        self.readers: dict[int, Callable[[Stream], Any]] = {**DATA_READERS, **CONTROL_READERS}
        self.finished = False
        """Nothing more will be read: CLOSE came, or the rest was thrown away."""
        self.complete = False
        """CLOSE came: the peer has sent all it had."""
        self.takes: Collection[int] = DATA_READERS
        """Ids of the data that may be read, and `Channel.gives` of those that may be sent; see `restrict`."""
        self.gives: Collection[int] = DATA_READERS
        self._withheld = False
        self._reading = threading.Lock()

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                _, message = self.read()
            except StopIteration:
                return
            yield message

    def read(self) -> tuple[int, Any]:
        """Read the next message: its id and its content.

        Raises
        ------
        StopIteration
            After CLOSE, every time.
        ConnectionLost
            If the peer goes away before CLOSE.
        WireError
            If the bytes are no message.
        """
        with self._reading:
            if self.finished:
                raise StopIteration
            identifier = self.stream.read_identifier()
            if identifier == constants.GADGET_MESSAGE_CLOSE:
                self.finished = self.complete = True
                raise StopIteration
            return identifier, self._content(identifier)

    def read_block(self, like: ismrmrd.Acquisition) -> LineBlock | None:
        """Read the acquisitions that have come after `like`, the last message read; see `ready.read_block`."""
        with self._reading:
            return None if self.finished else read_block(self.stream, like)

    def _content(self, identifier: int) -> Any:
        reader = self.readers.get(identifier)
        if reader is None:
            if identifier in DATA_READERS and identifier not in self.takes:
                raise ConfigError(self._unreadable(identifier))
            if identifier in DATA_READERS or identifier in CONTROL_READERS:
                raise WireError(f"{message_name(identifier)} (id {identifier}) does not belong at this place of a scan")
            raise WireError(f"{identifier} is not the id of any message: the stream is broken or not Gadgetron's")
        try:
            return reader(self.stream)
        except UNREADABLE as error:
            raise WireError(f"{message_name(identifier)} cannot be read: {error}") from error

    def _unreadable(self, identifier: int) -> str:
        """Return the error text for data without a reader, which ends a node."""
        return (
            f"{message_name(identifier)} (id {identifier}) came from a node whose own <readers> have none for it: "
            f"Gadgetron stops with 'Received illegal message id from external peer: {identifier}'"
        )

    def send(self, message: Any) -> None:
        """Send a message; see `encode` and `Stream.send` for what it raises.

        An ERROR is the last one, with CLOSE behind it: Gadgetron reads on until it meets CLOSE, and takes a socket that
        is closed instead for an illegal message, whose report replaces the error's text.
        """
        last = isinstance(message, ErrorText)
        self.stream.send([*encode(message), CLOSE] if last else encode(message), last=last)

    def expect_data(self) -> None:
        """Accept only data, queries and errors from now on; a second configuration or header is an error."""
        data = {mid: reader for mid, reader in DATA_READERS.items() if mid in self.takes}
        self.readers = {**data, **{mid: CONTROL_READERS[mid] for mid in ALONGSIDE_DATA}}

    def restrict(self, takes: Collection[int], gives: Collection[int]) -> None:
        """Accept and send only data with these ids, for which the configuration has readers and writers."""
        self.takes, self.gives = takes, gives

    def withhold(self, message: Any) -> None:
        """Handle a message without a writer, which Gadgetron drops silently.

        Waveforms are dropped here, too, as clients have no use for them; the log says so once.

        Raises
        ------
        ConfigError
            If it is anything else, as what was made would be lost.
        """
        identifier = identifier_of(message)
        if identifier != constants.GADGET_MESSAGE_ISMRMRD_WAVEFORM:
            raise ConfigError(
                f"{message_name(identifier)} (id {identifier}) was made, but the configuration has no writer for it: "
                "Gadgetron would drop it without a word. Name one in <writers>; see: onebreath configs check"
            )
        if not self._withheld:
            log.info("waveforms are not sent back: the configuration has no writer for them")
            self._withheld = True

    def drain(self) -> None:
        """Read on to CLOSE and throw everything away, so that the peer never meets a closed socket while it sends."""
        if self.stream.closed:
            return
        try:
            while True:
                self.read()
        except StopIteration:
            return
        except ConnectionLost as error:
            log.warning("%s", error)
            self.finished = True
        except WireError as error:
            log.warning("input thrown away: %s", error)
            with self._reading:  # two threads may want to be rid of the rest: one after the other
                if not self.finished:
                    self.stream.discard(QUIET)
                    self.finished = True

    def fail(self, text: str) -> None:
        """Send the server the error of this gadget, and close.

        The server drops the text if data still flow, so the input is drained first.
        """
        self.drain()
        time.sleep(SETTLE)
        try:
            self.send(ErrorText(text))
        except ConnectionLost as error:
            log.warning("the error could not be reported: %s", error)
        self.close()

    def give_up(self, text: str) -> None:
        """Break the connection: the peer disconnected during a scan."""
        log.debug("connection broken: %s", text)
        self.stream.abort()

    def close(self) -> None:
        """Send CLOSE, unless the stream has ended, and close the socket."""
        self.stream.close()
