"""The embedded host: what a Gadgetron server is to its clients, for configurations made of external nodes.

``gadgetron_ismrmrd_client`` or ``onebreath replay`` talk to it as they would to Gadgetron, and run the same XML.
"""

from __future__ import annotations

import argparse
import logging
import platform
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from onebreath import __version__
from onebreath.errors import ConfigError, ConnectionLost, OnebreathError, WireError
from onebreath.host import storage_queries
from onebreath.host.channel import ClientChannel
from onebreath.host.entry import chain
from onebreath.host.listener import Listener
from onebreath.host.messages import ConfigName, ConfigText, HeaderText
from onebreath.host.nodes import run_nodes
from onebreath.host.stream_config import StreamConfig, find, parse
from onebreath.host.wire import Connection

log = logging.getLogger("onebreath.host")

GADGETRON_PORT = 9002


@dataclass(frozen=True)
class HostOptions:
    """How the embedded host works.

    Parameters
    ----------
    config_paths
        Folders of configurations; None: those of `stream_config.search_paths`.
    patience
        Seconds to wait for nodes to end after a scan.
    connect_patience
        Seconds during which a ``<connect>`` service is dialled again.
    """

    config_paths: Sequence[Path] | None = None
    patience: float = 5.0
    connect_patience: float = 18.0


def serve_client(sock: socket.socket, options: HostOptions | None = None) -> None:
    """Serve one client from its first message to the last: queries, or one scan.

    Whatever goes wrong reaches the client as TEXT ``ERROR: ...``, followed by CLOSE.
    """
    options = options or HostOptions()
    client = ClientChannel(sock, answer)
    try:
        request = _read_request(client, options)
        if request is not None:
            config, header = request
            log.info("scan with %s", config.name)
            run_nodes(config, client, header, options.patience, options.connect_patience)
    except ConnectionLost as error:
        client.give_up(f"the scan ended early: {error}")
    except OnebreathError as error:
        client.fail(str(error))
    except Exception as error:
        log.exception("internal error in the host")
        client.fail(f"internal error in the host: {type(error).__name__}: {error}; see the log")
    finally:
        client.close()


def _read_request(client: ClientChannel, options: HostOptions) -> tuple[StreamConfig, HeaderText] | None:
    """Read configuration and header; None if the client only asked questions."""
    config = None
    for message in client:
        match message:
            case ConfigName():
                config = parse(find(message, options.config_paths).read_bytes(), message)
            case ConfigText():
                config = parse(message)
            case HeaderText():
                if config is None:
                    raise ConfigError("the client sent a header, but no configuration before it")
                return config, message
            case _:
                raise WireError(f"{type(message).__name__} came before the header")
    return None


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


def serve_gadget(sock: socket.socket) -> None:
    """Serve one ``<connect>`` node of a Gadgetron server: run the chain in its configuration."""
    connection = Connection(sock)
    chain(connection)
    connection.socket.close()


def start_host(host: str = "127.0.0.1", port: int = 0, options: HostOptions | None = None) -> Listener:
    """Start the embedded host in the background; port 0 takes a free one."""
    return Listener(partial(serve_client, options=options), host, port)


def start_gadget_service(host: str = "127.0.0.1", port: int = 0) -> Listener:
    """Start the service for ``<connect>`` nodes in the background."""
    return Listener(serve_gadget, host, port)


def serve(host: str, port: int, gadget_port: int | None = None, options: HostOptions | None = None) -> None:
    """Run the embedded host, and a service for ``<connect>`` nodes if it gets a port, until interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as services:
        listener = services.enter_context(start_host(host, port, options))
        print(f"embedded host on {listener.address[0]}:{listener.address[1]}", flush=True)
        if gadget_port is not None:
            gadgets = services.enter_context(start_gadget_service(host, gadget_port))
            print(f"<connect> service on {gadgets.address[0]}:{gadgets.address[1]}", flush=True)
        listener.wait()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath serve``."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; '' for all (default: %(default)s)")
    parser.add_argument(
        "-p", "--port", type=int, default=GADGETRON_PORT, help="port for clients (default: %(default)s)"
    )
    parser.add_argument("--gadget-port", type=int, help="also serve <connect> nodes of Gadgetron servers on this port")


def run(args: argparse.Namespace) -> int:
    """Run ``onebreath serve``; see `add_arguments`."""
    serve(args.host, args.port, args.gadget_port)
    return 0
