"""The nodes of one scan in the embedded host, connected as Gadgetron connects them."""

from __future__ import annotations

import contextvars
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from gadgetron.__main__ import load_target

from onebreath.config.policy import check_permitted
from onebreath.config.properties import CHAIN_TARGET
from onebreath.config.stream_config import OWN_MODULE, Connect, Execute, External, Native, StreamConfig
from onebreath.diagnostics.reports import Reported
from onebreath.errors import ConfigError, ConnectionLost, OnebreathError
from onebreath.host.client_messages import ClientMessages
from onebreath.registry import GADGETS
from onebreath.threads import begin
from onebreath.wire.channel import Channel, identifier_of
from onebreath.wire.client_channel import ClientChannel
from onebreath.wire.connection import Connection, reporting
from onebreath.wire.messages import ConfigText, ErrorText, HeaderText

log = logging.getLogger("onebreath.host")

RETRY = 0.5  # seconds between attempts to reach a <connect> service

Target = Callable[[Connection], None]
RunOwn = Callable[[Connection, str], None]
"""Runs one of this package's targets, by name."""


def external_nodes(config: StreamConfig) -> list[External]:
    """Return the nodes of a configuration, all of which must be external.

    Raises
    ------
    ConfigError
        Naming the native nodes, or a node that this host may not run; see `policy`.
    """
    native = [node.name for node in config.nodes if isinstance(node, Native)]
    if native:
        raise ConfigError(
            f"{config.name} needs a Gadgetron server: the embedded host cannot run its native nodes "
            f"({', '.join(native)}). Choose a configuration of external nodes only, or send the scan to Gadgetron."
        )
    if config.foreign:
        raise ConfigError(
            f"{config.name} needs a Gadgetron server with libraries of others: the embedded host cannot load "
            f"{', '.join(config.foreign)}"
        )
    external = [node for node in config.nodes if isinstance(node, External)]
    for node in external:
        check_permitted(node, uploaded=config.uploaded)
    return external


def target_of(node: External, run_own: RunOwn) -> Target | None:
    """Find what an ``<execute>`` node runs, importing what is not ours; None for a ``<connect>`` node.

    Raises
    ------
    ConfigError
        If it cannot be imported, or is not Python.
    """
    if not isinstance(node.action, Execute):
        return None
    if node.action.kind != "python":
        raise ConfigError(f'{node}: type "{node.action.kind}" cannot run in this host, only python can (map::at)')
    if node.action.module == OWN_MODULE and node.action.target in (CHAIN_TARGET, *GADGETS):
        name = node.action.target
        return lambda connection: run_own(connection, name)
    try:
        target: Target = load_target({"module": node.action.module, "target": node.action.target})
    except Exception as error:
        log.exception("%s cannot be loaded", node)
        raise ConfigError(f"{node} cannot be loaded: {type(error).__name__}: {error}") from error
    return target


def run_nodes(
    nodes: Sequence[External],
    client: ClientChannel,
    header: HeaderText,
    run_own: RunOwn,
    patience: float,
    connect_patience: float,
) -> None:
    """Run a scan through external nodes, from the client and back to it.

    A single ``<execute>`` node reads and answers the client's socket itself; more nodes get sockets of their own.

    Parameters
    ----------
    nodes
        First to last; see `external_nodes`.
    client
        Connection on which the header was the last message read.
    header
        The ISMRMRD header, handed on to every node.
    run_own
        Runs those nodes that are ours.
    patience
        Seconds to wait for nodes to end after the scan.
    connect_patience
        Seconds during which a ``<connect>`` service is dialled again.

    Raises
    ------
    OnebreathError
        If a node fails or cannot be started; ConnectionLost if the client went away.
    """
    targets = [target_of(node, run_own) for node in nodes]
    client.expect_data()
    if len(nodes) == 1 and targets[0] is not None and not nodes[0].is_particular:
        _run_target(nodes[0], targets[0], Connection.over(client, nodes[0].configuration, header))
        return
    pipeline = Pipeline(nodes, client, connect_patience)
    try:
        pipeline.start(targets, header)
        pipeline.deliver()
    finally:
        pipeline.stop(patience)


def _run_target(node: External, target: Target, connection: Connection) -> None:
    with reporting(connection, str(node)):
        target(connection)
    connection.socket.close()


class Pipeline:
    """Several nodes, each with a socket of its own, and relays that carry messages from one to the next.

    Parameters
    ----------
    nodes
        First to last.
    client
        Where the messages come from and go to.
    connect_patience
        Seconds during which a ``<connect>`` service is dialled again.
    """

    def __init__(self, nodes: Sequence[External], client: ClientChannel, connect_patience: float) -> None:
        self.nodes = list(nodes)
        self.client = client
        self.connect_patience = connect_patience
        self.channels: list[Channel] = []
        self.workers: list[threading.Thread] = []
        self._failure: OnebreathError | None = None
        self._for_client = ClientMessages()
        self._guard = threading.Lock()

    def start(self, targets: Sequence[Target | None], header: HeaderText) -> None:
        """Start or dial every node, send it its configuration and the header, and start the relays.

        Raises
        ------
        OnebreathError
            If a service cannot be reached.
        """
        for node, target in zip(self.nodes, targets, strict=True):
            channel = Channel(self._dial(node) if target is None else self._spawn(node, target))
            self.channels.append(channel)
            channel.send(ConfigText(node.configuration))
            channel.send(header)
            channel.restrict(node.gives, node.takes)
            channel.expect_data()
        for number, sink in enumerate(self.channels):
            self._begin(f"onebreath-relay-{number}", self._relay, number, sink)

    def deliver(self) -> None:
        """Carry what the last node makes to the client, until the scan ends, even if a node before it fails.

        Raises
        ------
        OnebreathError
            The first failure of any node; ConnectionLost if the client went away.
        """
        self._relay(len(self.channels), self.client)
        if self._failure is not None:
            raise self._failure
        self.client.drain()

    def stop(self, patience: float) -> None:
        """Break all connections to nodes and wait for those that run here."""
        for channel in self.channels:
            channel.stream.abort()
            channel.close()
        deadline = time.monotonic() + patience
        for worker in self.workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                log.warning("%s is still at work; it is left behind", worker.name)

    def _spawn(self, node: External, target: Target) -> socket.socket:
        """Run a target in a thread, over a socket pair."""
        ours, theirs = socket.socketpair()

        def work() -> None:
            try:
                _run_target(node, target, Connection(theirs))
            except OnebreathError as error:
                log.error("%s did not start: %s", node, error)
            finally:
                theirs.close()

        self.workers.append(self._begin(f"onebreath-{node}", work))
        return ours

    @staticmethod
    def _begin(name: str, work: Callable[..., None], *args: Any) -> threading.Thread:
        """Begin work in a thread that belongs to the scan: its log says so, and it ends when the scan is given up."""
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work, *args), name=name, daemon=True)
        begin(thread)
        return thread

    def _dial(self, node: External) -> socket.socket:
        """Connect to a service that runs already."""
        assert isinstance(node.action, Connect)
        deadline = time.monotonic() + self.connect_patience
        while True:
            try:
                return socket.create_connection((node.action.address, node.action.port), self.connect_patience)
            except OSError as error:
                if time.monotonic() + RETRY > deadline:
                    raise OnebreathError(f"{node} cannot be reached: {error}") from error
                time.sleep(RETRY)

    def _relay(self, number: int, sink: Channel) -> None:
        """Carry messages to `sink` from the client (number 0) or from the node before it.

        After a failure the later nodes see their input end, as in Gadgetron, so that what was made before goes through
        them; the first node sees broken data of the client break off, as it would by itself.
        """
        source = self.client if number == 0 else self.channels[number - 1]
        try:
            while (message := self._take(number, source)) is not None:
                self._give(*self._taker(number, sink, message), message)
            if sink is not self.client:
                sink.stream.end()
        except ConnectionLost as error:  # the client's; those of nodes have another type here
            self._abort(error)
        except OnebreathError as error:
            self._keep(error)
            if sink is not self.client:
                (sink.stream.end if number else sink.stream.break_off)()
            source.drain()  # so that the nodes before, and the client, get rid of what they send
        except Exception as error:
            log.exception("internal error between nodes")
            self._abort(OnebreathError(f"internal error in the host: {type(error).__name__}: {error}; see the log"))

    def _take(self, number: int, source: Channel) -> Any:
        """Read a message; None at the end. Errors of a node get its name."""
        try:
            _, message = source.read()
        except StopIteration:
            return None
        except OnebreathError as error:
            if number == 0:
                raise
            raise OnebreathError(f"{self.nodes[number - 1]} failed: {error}") from error
        if isinstance(message, ErrorText):
            raise Reported(message)
        return message

    def _taker(self, number: int, sink: Channel, message: Any) -> tuple[int, Channel]:
        """Find the receiver of a message: nodes that do not accept it are skipped, as in Gadgetron."""
        while sink is not self.client and identifier_of(message) not in self.nodes[number].takes:
            number += 1
            sink = self.channels[number] if number < len(self.channels) else self.client
        return number, sink

    def _give(self, number: int, sink: Channel, message: Any) -> None:
        if sink is self.client:
            message = self._for_client(message)
            if message is None:
                return
        try:
            sink.send(message)
        except ConnectionLost as error:
            if sink is self.client:
                raise
            raise OnebreathError(f"{self.nodes[number]} failed: {error}") from error

    def _keep(self, error: OnebreathError) -> None:
        """Keep the first failure, which is reported at the end."""
        with self._guard:
            self._failure = self._failure or error

    def _abort(self, error: OnebreathError) -> None:
        """Keep the failure, and wake all threads."""
        self._keep(error)
        for channel in self.channels:
            channel.stream.abort()
