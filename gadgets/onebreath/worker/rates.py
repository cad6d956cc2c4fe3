"""Rate limits of connections per minute, for each address and for all together."""

from __future__ import annotations

import argparse
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from onebreath.options import at_least

WINDOW = 60_000_000_000  # nanoseconds of a minute
SOURCES = 4096  # addresses that are remembered; beyond that the one that was quiet for longest is forgotten
SITE = 64  # bits of an IPv6 address that tell one network from another; the rest a computer may choose as it likes


class Pace:
    """Limit of events per minute from each source, which may come all at once after a quiet time.

    One number is kept per source: when its events so far would have ended, had they come evenly (the generic cell rate
    algorithm, ITU-T I.371, annex A).

    Parameters
    ----------
    per_minute
        How many; 0: any number.
    clock
        Nanoseconds that never run backwards.
    """

    def __init__(self, per_minute: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.per_minute, self.clock = per_minute, clock
        self._ends: OrderedDict[Hashable, int] = OrderedDict()

    def admits(self, source: Hashable) -> bool:
        """Return whether an event of a source comes in time; only such events are counted."""
        if self.per_minute == 0:
            return True
        now = self.clock()
        end = max(now, self._ends.get(source, now)) + WINDOW // self.per_minute
        if end > now + WINDOW:
            return False
        self._ends[source] = end
        self._ends.move_to_end(source)
        if len(self._ends) > SOURCES:
            self._ends.popitem(last=False)
        return True


@dataclass(frozen=True)
class Rates:
    """Limits of new connections per minute.

    Parameters
    ----------
    address
        From one IPv4 address, or one IPv6 network (/64); 0: any number.
    total
        From all together; 0: any number.
    """

    address: int = 600
    total: int = 1200


class RateLimiter:
    """Counts connections, of several ports if they share it.

    Parameters
    ----------
    rates
        How many are served.
    clock
        See `Pace`.
    """

    def __init__(self, rates: Rates, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._address, self._total = Pace(rates.address, clock), Pace(rates.total, clock)
        self._guard = threading.Lock()

    def admits(self, peer: object) -> bool:
        """Whether a connection from a peer, as `socket.accept` names it, is served now; on a unix socket always."""
        if not isinstance(peer, tuple):
            return True
        with self._guard:  # one address alone first: what it sends too much is not taken from the others
            return self._address.admits(source(peer[0])) and self._total.admits("all")


def source(address: str) -> str:
    """Return what counts as one address: an IPv4 address, however it is written, or the network of an IPv6 one."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found), SITE), strict=False))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments for how often others may connect."""
    usual = Rates()
    parser.add_argument(
        "--rate",
        type=at_least(0),
        default=usual.address,
        help="TCP connections served per minute from one address; 0: any number (default: %(default)s)",
    )
    parser.add_argument(
        "--rate-total",
        type=at_least(0),
        default=usual.total,
        help="TCP connections served per minute from all addresses; 0: any number (default: %(default)s)",
    )


def rates_of(args: argparse.Namespace) -> Rates:
    """Return the rates that the arguments ask for."""
    return Rates(args.rate, args.rate_total)
