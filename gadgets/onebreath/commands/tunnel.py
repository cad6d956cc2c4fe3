"""The ``onebreath tunnel`` command: a port on this machine that leads to a worker on another one, by TLS and token.

A Gadgetron server, or any client, connects to the port as to a worker of its own.
"""

from __future__ import annotations

import argparse
import socket
import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path

from onebreath.errors import ConfigError
from onebreath.host.listener import Listener
from onebreath.options import port
from onebreath.worker.relay import relay
from onebreath.worker.secure import dial, read_token


def forward(sock: socket.socket, address: tuple[str, int], context: ssl.SSLContext | None, token: bytes | None) -> None:
    """Join a connection with a new one to `address`; see `dial` for what is raised."""
    relay(sock, dial(address, context, token))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath tunnel``."""
    parser.add_argument("--listen", type=port, required=True, metavar="PORT", help="port on this machine")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the worker")
    parser.add_argument("--ca", type=Path, help="PEM file of certificates that are trusted (default: the system's)")
    parser.add_argument("--plain", action="store_true", help="without TLS, for networks that are encrypted already")
    parser.add_argument("--token-file", type=Path, help="file with the token that the worker asks for")


def run(args: argparse.Namespace) -> int:
    """Run ``onebreath tunnel`` until it is interrupted; see `add_arguments`."""
    host, _, port = args.to.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"'{args.to}' is not HOST:PORT")
    try:
        context = None if args.plain else ssl.create_default_context(cafile=args.ca)
    except OSError as error:
        raise ConfigError(f"the certificates in {args.ca} cannot be used: {error}") from error
    token = None if args.token_file is None else read_token(args.token_file)
    serve = partial(forward, address=(host.strip("[]"), int(port)), context=context, token=token)
    with suppress(KeyboardInterrupt), Listener(serve, "127.0.0.1", args.listen) as listener:
        print(f"127.0.0.1:{listener.address[1]} leads to {args.to}", flush=True)
        listener.wait()
    return 0
