"""The embedded host: what a Gadgetron server is to its clients, for configurations made of external nodes.

``gadgetron_ismrmrd_client`` or ``onebreath replay`` talk to it as they would to Gadgetron, and run the same XML.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from gadgetron.external import constants

from onebreath import __version__
from onebreath.config.finding import find
from onebreath.config.properties import CHAIN_TARGET
from onebreath.config.request import apply, read_request
from onebreath.config.stream_config import OWN_MODULE, Connect, External, StreamConfig, parse
from onebreath.diagnostics.events import tell
from onebreath.diagnostics.reports import TooOften, report
from onebreath.errors import ConfigError, ConnectionLost, WireError
from onebreath.host import storage_queries
from onebreath.host.listener import Listener, peer
from onebreath.host.nodes import RunOwn, external_nodes, run_nodes
from onebreath.host.running import run_here
from onebreath.wire.channel import Channel
from onebreath.wire.client_channel import ClientChannel
from onebreath.wire.connection import Connection
from onebreath.wire.framing import Stream
from onebreath.wire.messages import ConfigName, ConfigText, HeaderText

log = logging.getLogger("onebreath.host")

GADGETRON_PORT = 9002
CLIENT_PORT = 9012
"""Port of the embedded host for clients; 9002 is left to a Gadgetron server."""
HANDSHAKE = 60.0  # seconds in which the header must have come, and a refused connection must have ended
REFUSAL = "more connections came within a minute than this worker takes (--rate, --rate-total of onebreath serve)"


class Admission(Protocol):
    """Interface by which a resident worker admits scans, which wait until they may run; see `onebreath.worker`."""

    def run(self, connection: Connection, target: str, side: str) -> None:
        """Run one of our nodes on a connection whose CONFIG and HEADER have been read."""

    def client_scan(
        self, title: str, nodes: Sequence[External], header: HeaderText, client: ClientChannel
    ) -> AbstractContextManager[None]:
        """Wait until a client's scan may run; the nodes run in the body."""


@dataclass(frozen=True)
class HostOptions:
    """Options of the embedded host.

    Parameters
    ----------
    config_paths
        Folders of configurations; None: those of `finding.search_paths`.
    patience
        Seconds to wait for nodes to end after a scan.
    connect_patience
        Seconds during which a ``<connect>`` service is dialled again.
    silence
        Seconds without a byte, or without one being taken, after which a peer is given up; 0: never.
    service
        Where a resident worker receives scans; None: scans run at once.
    make_stream
        Class of the stream over a connection.
    admits
        Says of a peer, as `socket.accept` names it, whether it does not come too often; asked when its header has come.
    """

    config_paths: Sequence[Path] | None = None
    patience: float = 5.0
    connect_patience: float = 18.0
    silence: float = 0.0
    service: Admission | None = None
    make_stream: Callable[[socket.socket], Stream] = Stream
    admits: Callable[[Any], bool] = lambda peer: True


def serve_client(sock: socket.socket, options: HostOptions | None = None) -> None:
    """Serve one client from its first message to the last: queries, or one scan.

    Whatever goes wrong reaches the client as TEXT ``ERROR: ...``, followed by CLOSE.
    """
    options = options or HostOptions()
    client = ClientChannel(open_stream(sock, options), answer)
    with telling(client):
        request = _read_request(client, options)
        if request is not None:
            log.info("scan with %s", request[0].name)
            _run(*request, client, options)


@contextmanager
def telling(client: ClientChannel) -> Iterator[None]:
    """Report whatever goes wrong inside to the client, and close its connection."""
    try:
        yield
    except ConnectionLost as error:
        client.give_up(report(ConnectionLost(f"the scan ended early: {error}"), "the connection"))
    except Exception as error:  # noqa: BLE001 - `report` logs it with its traceback
        client.fail(report(error, "the host"))
    finally:
        client.close()


def open_stream(sock: socket.socket, options: HostOptions) -> Stream:
    """Make a stream over a connection that is given up when its peer falls silent, or is slow; see `begun`."""
    stream = options.make_stream(sock)
    stream.give_up_after(min(options.silence, HANDSHAKE))
    if options.silence:
        stream.due_within(HANDSHAKE)
    return stream


def begun(stream: Stream, silence: float) -> None:
    """Lift the time limit of a peer whose header has come: scans are slow."""
    stream.due_within(None)
    stream.give_up_after(silence)


def check_rate(options: HostOptions) -> None:
    """Raise TooOften if this peer connects too often; it is informed within the time allowed for its header."""
    if not options.admits(peer()):
        tell("refused", told=True)
        raise TooOften(REFUSAL)


def _read_request(client: ClientChannel, options: HostOptions) -> tuple[StreamConfig, HeaderText] | None:
    """Read configuration and header; None if the client only asked questions."""
    config: StreamConfig | ConfigError | None = None
    for message in _until_gone(client):
        match message:
            case ConfigName():
                config = _named(message, options)
            case ConfigText():
                config = parse(message)
            case HeaderText():
                check_rate(options)
                begun(client.stream, options.silence)
                if config is None:
                    raise ConfigError("the client sent a header, but no configuration before it")
                if isinstance(config, StreamConfig):
                    external_nodes(config)  # what cannot run is said at once
                return _as_requested(config, client, options), message
            case _:
                raise WireError(f"{type(message).__name__} came before the header")
    return None


def _named(name: str, options: HostOptions) -> StreamConfig | ConfigError:
    """Find a configuration; an error is for later, as FIRE's JSON goes before the name that its host sends."""
    try:
        config = parse(find(name, options.config_paths).read_bytes(), name)
        external_nodes(config)
    except ConfigError as error:
        return error
    return config


def _as_requested(config: StreamConfig | ConfigError, client: ClientChannel, options: HostOptions) -> StreamConfig:
    """Return the configuration, or the one that FIRE's JSON asks for, if that comes next; waits for what comes."""
    request = None
    if client.stream.next_identifier() == constants.GADGET_MESSAGE_TEXT:
        _, text = client.read()
        request = read_request(text)
        log.info("the user interface asks for %s", request)
        if request.config:
            config = parse(find(request.config, options.config_paths).read_bytes(), request.config)
    if isinstance(config, ConfigError):
        raise config
    return config if request is None else apply(config, request)


def _until_gone(client: ClientChannel) -> Iterator[Any]:
    """Yield the messages of a client; one that leaves before its scan begins has asked for nothing."""
    try:
        yield from client
    except ConnectionLost as error:
        log.info("a client went away before its scan began: %s", error)


def _run(config: StreamConfig, header: HeaderText, client: ClientChannel, options: HostOptions) -> None:
    """Run a scan, through the service if there is one and it should know of the scan."""
    nodes, service = external_nodes(config), options.service
    client.restrict(config.takes, config.gives)
    if service is None:
        _run_nodes(nodes, client, header, partial(run_here, served_by="embedded host"), options)
    elif is_own_chain(nodes):
        _run_nodes(nodes, client, header, partial(service.run, side="client"), options)
    else:
        run_own = partial(run_here, served_by=f"worker {os.getpid()}")
        with service.client_scan(config.name, nodes, header, client):
            _run_nodes(nodes, client, header, run_own, options)


def is_own_chain(nodes: Sequence[External]) -> bool:
    """Return whether a configuration is one node that runs our chain."""
    action = nodes[0].action
    return (
        len(nodes) == 1
        and not nodes[0].is_particular
        and not isinstance(action, Connect)
        and (action.module, action.target) == (OWN_MODULE, CHAIN_TARGET)
    )


def _run_nodes(
    nodes: Sequence[External], client: ClientChannel, header: HeaderText, run_own: RunOwn, options: HostOptions
) -> None:
    run_nodes(nodes, client, header, run_own, options.patience, options.connect_patience)


def run_spooled(client: ClientChannel, nodes: str, header: HeaderText, options: HostOptions) -> None:
    """Run a configuration (XML) on spooled data; the callback that `onebreath.worker.spooling.resume` takes."""
    served_by = f"worker {os.getpid()}, from the disk"
    with telling(client):
        run_own = partial(run_here, served_by=served_by, deliver="later; this is the later series")
        _run_nodes(external_nodes(parse(nodes.encode("utf-8"))), client, header, run_own, options)


def answer(query: str) -> str:
    """Answer a client's query."""
    if query == "gadgetron::info":
        lines = {
            "Version": f"{__version__} (Onebreath, embedded host)",
            "gadgetron": version("gadgetron"),
            "ismrmrd": version("ismrmrd"),
            "Python": platform.python_version(),
        }
        return "Gadgetron Version Info\n" + "".join(f"  -- {key:10}: {text}\n" for key, text in lines.items())
    return storage_queries.answer(query) or f"unknown query: {query}"


def serve_gadget(sock: socket.socket, options: HostOptions | None = None) -> None:
    """Serve one ``<connect>`` node of a Gadgetron server: run the chain in its configuration."""
    options = options or HostOptions()
    connection = Connection(Channel(open_stream(sock, options)))
    try:
        check_rate(options)
    except TooOften as error:
        connection.fail(report(error, "the worker"))
        return
    begun(connection.socket, options.silence)
    if options.service is None:
        run_here(connection, CHAIN_TARGET, "embedded host")
    else:
        options.service.run(connection, CHAIN_TARGET, "connect")
    connection.socket.close()


def start_host(host: str = "127.0.0.1", port: int = 0, options: HostOptions | None = None) -> Listener:
    """Start the embedded host in the background; port 0 takes a free one."""
    return Listener(partial(serve_client, options=options), host, port)


def start_gadget_service(host: str = "127.0.0.1", port: int = 0, options: HostOptions | None = None) -> Listener:
    """Start the service for ``<connect>`` nodes in the background."""
    return Listener(partial(serve_gadget, options=options), host, port)
