"""What a configuration may ask of the embedded host: a client can upload one, so it is not trusted."""

from __future__ import annotations

import ipaddress
import os

from onebreath.config.stream_config import OWN_MODULE, Connect, External
from onebreath.errors import ConfigError

MODULES = "ONEBREATH_MODULES"
ADDRESSES = "ONEBREATH_CONNECT"


def check_permitted(node: External) -> None:
    """Check that a node runs code, or reaches an address, that this host's administrator permits.

    Modules are Onebreath's own and those listed in ``ONEBREATH_MODULES``; addresses are this machine's and those listed
    in ``ONEBREATH_CONNECT`` (both separated by commas).

    Raises
    ------
    ConfigError
        If not.
    """
    if isinstance(node.action, Connect):
        if not is_loopback(node.action.address) and node.action.address not in _listed(ADDRESSES):
            raise ConfigError(
                f"{node}: this host does not connect to other machines; its administrator permits addresses in "
                f"{ADDRESSES}"
            )
    elif node.action.module != OWN_MODULE and node.action.module not in _listed(MODULES):
        raise ConfigError(
            f"{node}: this host does not run the module '{node.action.module}'; its administrator permits modules in "
            f"{MODULES}"
        )


def _listed(variable: str) -> list[str]:
    return [part.strip() for part in os.environ.get(variable, "").split(",") if part.strip()]


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own, which no other can reach; an empty one means all addresses."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
