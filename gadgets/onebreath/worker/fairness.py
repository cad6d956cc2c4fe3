"""Fair scheduling: a sender of many scans does not displace others."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from onebreath.host.listener import peer
from onebreath.storage.results import exam_of
from onebreath.worker.rates import source

REMEMBERED = 4096  # addresses and exams
BAD = 8  # scans of an address in a row that came to nothing
OWN_USER = "this user"
"""Address of the worker's own socket: its senders are processes of its user, none of which is dropped for others."""


@dataclass(frozen=True)
class Sender:
    """Sender of a scan, as far as it is known.

    Parameters
    ----------
    address
        See `onebreath.worker.rates.source`; `OWN_USER` for processes of this user.
    exam
        Hash of patient, study and scanner; a claim of the sender, by which scans of one address are distinguished.
    """

    address: Hashable = OWN_USER
    exam: str = ""


class Sent(Protocol):
    """Anything that has a sender, such as a waiting scan."""

    sender: Sender


Item = TypeVar("Item", bound=Sent)


def by_address(item: Sent) -> Hashable:
    """Return what all scans of one address have in common."""
    return item.sender.address


def by_exam(item: Sent) -> Hashable:
    """Return what all scans of one exam and address have in common."""
    return item.sender


def held(item: Sent, running: Iterable[Sent]) -> tuple[int, int]:
    """Return how many running scans are of its address, and of its exam: those with fewest go first."""
    others = list(running)
    addresses = sum(by_address(other) == by_address(item) for other in others)
    return addresses, sum(by_exam(other) == by_exam(item) for other in others)


class Turns:
    """History of senders: their last turn, and whether their scans ended well.

    An address many of whose scans in a row were given up or failed floods the worker, or has a fault: its scans go
    after those of others, one at a time.
    """

    def __init__(self) -> None:
        self._count = 0
        self._last: OrderedDict[Hashable, int] = OrderedDict()
        self._bad: OrderedDict[Hashable, int] = OrderedDict()

    def note(self, item: Sent) -> None:
        """Count a turn."""
        self._count += 1
        for key in (by_address(item), by_exam(item)):
            _remember(self._last, key, self._count)

    def ended(self, item: Sent, outcome: str) -> None:
        """Note how a scan ended."""
        key = by_address(item)
        if outcome == "done":
            _remember(self._bad, key, self._bad.get(key, 0) // 2)
        elif key != OWN_USER:
            _remember(self._bad, key, min(self._bad.get(key, 0) + 1, 4 * BAD))

    def bad(self, item: Sent) -> bool:
        """Return whether most scans of its address failed or were given up."""
        return self._bad.get(by_address(item), 0) >= BAD

    def order(self, item: Sent, running: Iterable[Sent]) -> tuple[int, ...]:
        """Return the sort key of waiting scans: bad ones last, then by running scans and last turn of the sender."""
        last = (self._last.get(by_address(item), 0), self._last.get(by_exam(item), 0))
        return (int(self.bad(item)), *held(item, running), *last)


def _remember(memory: OrderedDict[Hashable, int], key: Hashable, number: int) -> None:
    memory[key] = number
    memory.move_to_end(key)
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)


def gives_way(waiting: Sequence[Item], newcomer: Sent) -> Item | None:
    """Choose who gives its slot to a newcomer where all slots are taken: of who has most, the one that came last.

    Parameters
    ----------
    waiting
        Who has a slot, in the order of arrival.
    newcomer
        Who has none.

    Returns
    -------
    who
        None if nobody has so many more than the newcomer's address, or its exam, that the exchange makes it fairer.
    """
    movable = [item for item in waiting if item.sender.address != OWN_USER]
    same = [item for item in movable if by_address(item) == by_address(newcomer)]
    for key, among in ((by_address, movable), (by_exam, same)):
        counts = Counter(key(item) for item in among)
        most = max(counts.values(), default=0)
        if most > counts[key(newcomer)] + 1:
            return next(item for item in reversed(among) if counts[key(item)] == most)
    return None


def sender_of(side: str, header: Any) -> Sender:
    """Return who sends the scan of this thread's connection; see `fairness`."""
    other = peer()
    if side == "execute" or not isinstance(other, tuple):
        return Sender(exam=exam_of(header))
    return Sender(source(other[0]), exam_of(header))
