"""Limits on what a configuration may do in the embedded host: clients can upload one, so it is not trusted."""

from __future__ import annotations

import ipaddress
import socket

from onebreath.config.stream_config import OWN_MODULE, Connect, External
from onebreath.errors import ConfigError
from onebreath.settings import settings, variable

_own_ports: set[int] = set()


def is_own(port: int, *, listens: bool = True) -> None:
    """Record that a TCP port is, or no longer is, one of this process's own."""
    (_own_ports.add if listens else _own_ports.discard)(port)


def check_permitted(node: External, *, uploaded: bool = True) -> None:
    """Check that a node runs code, or reaches a service, that this host's administrator permits.

    Modules are Onebreath's own and those listed in ``ONEBREATH_MODULES``; services are those listed in
    ``ONEBREATH_CONNECT`` as ``address:port`` (``address`` alone: all its ports), both separated by commas, and for
    configurations of the administrator's any port of this machine. Ports of this process are never reached.

    Raises
    ------
    ConfigError
        If not.
    """
    if isinstance(node.action, Connect):
        _check_address(node, node.action, uploaded)
    elif node.action.module != OWN_MODULE and node.action.module not in settings().modules:
        raise ConfigError(
            f"{node}: this host does not run the module '{node.action.module}'; its administrator permits modules in "
            f"{variable('modules')}"
        )


def _check_address(node: External, action: Connect, uploaded: bool) -> None:
    address = action.address.strip("[]")
    if action.port in _own_ports and (is_loopback(address) or not _elsewhere(address)):
        raise ConfigError(
            f"{node} is this host itself, which does not connect to itself; use a configuration whose node is an "
            "<execute>"
        )
    listed = settings().connect
    if action.address in listed or f"{action.address}:{action.port}" in listed:
        return
    if is_loopback(address) and not uploaded:
        return
    raise ConfigError(
        f"{node}: this host connects only to services that its administrator permits, as address:port in "
        f"{variable('connect')}"
    )


def _elsewhere(address: str) -> bool:
    """Return whether a name or address certainly belongs to another machine: nothing can be bound to it here."""
    try:
        found = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    for family, kind, _, _, where in found:
        with socket.socket(family, kind) as probe:
            try:
                probe.bind(where)
                return False
            except OSError:
                continue
    return True


def is_loopback(address: str) -> bool:
    """Return whether an address is a loopback address; an empty one means all addresses."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
