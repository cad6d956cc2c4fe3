"""The gadget's end of Gadgetron's protocol: the `gadgetron` package's connection, with its bugs fixed.

The faults that affect real scans are corrected underneath it, in `channel` and `framing`: a peer that goes away ends
the reading instead of spinning, reading after CLOSE ends again instead of blocking, every message is checked and cast
before its first byte is sent, in one send, and a gadget that fails can say so with ERROR.
"""

from __future__ import annotations

import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from xml.etree.ElementTree import Element, ParseError, tostring

import ismrmrd
from gadgetron import external
from gadgetron.external import constants
from xsdata.exceptions import ConverterWarning

from onebreath.diagnostics import logs
from onebreath.diagnostics.reports import report
from onebreath.errors import ConfigError, ConnectionLost, OnebreathError, ScanError, WireError
from onebreath.mrd.header_values import in_single_precision
from onebreath.mrd.repair import repair
from onebreath.wire.channel import DATA_ENCODERS, IDENTIFIERS, Channel
from onebreath.wire.framing import Stream
from onebreath.wire.messages import CONTROL_READERS, ConfigText, HeaderText, read_acquisition
from onebreath.wire.sending import Octets
from onebreath.wire.xml_guard import fromstring

# What does not fit the header's schema stays a text, and the gadgets judge it. The warning would quote it on standard
# error, past the logs' filter: a patient's birthdate in another form, for one.
warnings.filterwarnings("ignore", category=ConverterWarning)


ROOT = "ismrmrdHeader"


class Connection(external.Connection):
    """The gadget's end: a `gadgetron.external.Connection` over a `Channel`.

    Parameters
    ----------
    source
        A connected socket on which CONFIG and HEADER come next.

    Raises
    ------
    ConnectionLost, WireError
        If they do not arrive. Their XML is parsed when first asked for, so that a gadget can report what is wrong
        with it.
    """

    def __init__(self, source: socket.socket | Channel) -> None:
        channel = source if isinstance(source, Channel) else Channel(source)
        config = _expect(channel, ConfigText)
        self._set_up(channel, config, _expect(channel, HeaderText))

    @classmethod
    def over(cls, channel: Channel, config: bytes, header: bytes) -> Connection:
        """Make a connection on which CONFIG and HEADER have been read before."""
        connection = cls.__new__(cls)
        connection._set_up(channel, config, header)
        return connection

    def _set_up(self, channel: Channel, config: bytes, header: bytes) -> None:
        self.channel = channel
        self.socket = channel.stream
        channel.expect_data()
        channel.readers[constants.GADGET_MESSAGE_ERROR] = _raise_error
        self.readers = channel.readers
        self.writers = [_writer(kind, encoder) for kind, encoder in DATA_ENCODERS]
        self.writers[:0] = [
            (_is(kind), lambda _, item: channel.withhold(item)) for kind, mid in IDENTIFIERS if mid not in channel.gives
        ]
        self.filters: list[Callable[[Any], bool]] = []
        self.raw_bytes = external.Connection.Struct(config=config, header=header)

    @cached_property
    def config(self) -> Element | None:
        """The node's ``<configuration>`` element; see `parse_config`."""
        return parse_config(self.raw_bytes.config)

    @cached_property
    def header(self) -> Any:
        """The ISMRMRD header; see `parse_header`."""
        return parse_header(self.raw_bytes.header)

    def add_writer(
        self, accepts: Callable[[Any], bool], writer: Callable[..., None], *args: Any, **kwargs: Any
    ) -> None:
        """Add a writer; the package's own version stores it in a form that its `send` cannot call."""
        self.writers.insert(0, (accepts, lambda sink, item: writer(sink, item, *args, **kwargs)))

    def _read_item(self) -> tuple[int, Any]:
        return self.channel.read()

    def in_blocks(self) -> Iterator[Any]:
        """Yield the messages; acquisitions that arrived together are a `LineBlock`, see `ready.read_block`."""
        readable = self.readers.get(constants.GADGET_MESSAGE_ISMRMRD_ACQUISITION) is read_acquisition
        for message in self:
            yield message
            if isinstance(message, ismrmrd.Acquisition) and readable and not self.filters:
                while (block := self.channel.read_block(message)) is not None:
                    yield block

    def drain(self) -> None:
        """Read on to CLOSE; see `Channel.drain`."""
        self.channel.drain()

    def fail(self, text: str) -> None:
        """Report an error and close; see `Channel.fail`."""
        self.channel.fail(text)


def adopt(connection: external.Connection) -> Connection:
    """Upgrade the connection that ``python -m gadgetron`` hands to its target.

    Readers, writers and filters added to it stay in force, and closing the given one closes the new one.
    """
    if isinstance(connection, Connection):
        return connection
    adopted = Connection.__new__(Connection)
    stream = Stream(connection.socket.socket)
    adopted._set_up(Channel(stream), connection.raw_bytes.config, connection.raw_bytes.header)
    adopted.header = in_single_precision(connection.header)
    logs.keep_private(connection.header)
    logs.guard_handlers()
    stock_readers = external.Connection._default_readers()
    adopted.readers.update(
        {mid: reader for mid, reader in connection.readers.items() if reader is not stock_readers.get(mid)}
    )
    added = len(connection.writers) - len(external.Connection._default_writers())
    adopted.writers[:0] = connection.writers[:added]
    adopted.filters += connection.filters
    connection.socket = stream
    return adopted


@contextmanager
def reporting(connection: Connection, who: str) -> Iterator[None]:
    """Report any error in the body as ERROR, and always read the input to its end.

    Parameters
    ----------
    connection
        Where the gadget inside reads and sends.
    who
        What an unexpected error calls it.
    """
    try:
        yield
        connection.drain()
    except ConnectionLost as error:
        connection.channel.give_up(report(ConnectionLost(f"the scan ended early: {error}"), "the connection"))
    except Exception as error:  # noqa: BLE001 - `report` logs it with its traceback
        connection.fail(report(error, who))


def parse_config(text: bytes) -> Element | None:
    """Parse a gadget's ``<configuration>``; None if the node has none.

    Raises
    ------
    ConfigError
        If it is not XML.
    """
    if not text.strip(b"\0 \r\n\t"):
        return None
    try:
        return fromstring(text)
    except (ParseError, ValueError) as error:
        raise ConfigError(f"the <configuration> of this node cannot be parsed: {error}") from error


def parse_header(text: bytes) -> Any:
    """Parse an ISMRMRD header; its numbers are rounded as `in_single_precision` says.

    Raises
    ------
    ScanError
        If it is not ISMRMRD XML.
    """
    try:
        # The schema classes' own parser knows nothing of entity bombs, and takes any root element for a header. It only
        # sees what the guarded one made of the text.
        root = fromstring(text)
        repairs = repair(root) if root.tag.rpartition("}")[2] == ROOT else []
        header = in_single_precision(ismrmrd.xsd.CreateFromDocument(tostring(root)))
        header.repairs = repairs
    except Exception as error:  # noqa: BLE001 - the schema library raises its own types, which change with its version
        # The first line says what is wrong; the others may quote the header, and with it the patient.
        raise ScanError(f"the header is not an ISMRMRD header: {str(error).partition(chr(10))[0]}") from None
    if root.tag.rpartition("}")[2] != ROOT:
        raise ScanError(f"the header is not an ISMRMRD header: its root is <{root.tag}>")
    logs.keep_private(header)
    return header


def _expect(channel: Channel, kind: type) -> Any:
    """Read a message that must be of this kind."""
    try:
        _, message = channel.read()
    except StopIteration:
        raise ConnectionLost("the connection was closed before the scan began") from None
    if not isinstance(message, kind):
        raise WireError(f"{kind.__name__} was expected, but {type(message).__name__} came")
    return message


def _raise_error(source: Stream) -> Any:
    text = CONTROL_READERS[constants.GADGET_MESSAGE_ERROR](source)
    raise OnebreathError(f"the server reports: {text}")


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda item: isinstance(item, kind)


def _writer(kind: type, encoder: Callable[[Any], list[Octets]]) -> tuple[Callable[..., bool], Callable[..., None]]:
    """Return what the `gadgetron` package calls a writer: does it accept an item, and how is the item written."""
    return lambda item: isinstance(item, kind), lambda stream, item: stream.send(encoder(item))
