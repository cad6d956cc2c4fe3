"""Memory of a scan, counted as it is allocated: the size announced by the header is only an estimate.

The large arrays of a scan are entered here, by the context that its threads inherit, before they are made; they leave
when Python lets go of them.
"""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from onebreath.errors import ScanError

MOST_UNKNOWNS = 5120
"""Of equations that a scan of a worker may solve: above 128 channels x 36 samples, within a minute or so."""
HEADER = "Check the matrix and the counters of its lines."
CHANNELS = "Keep fewer channels."
KERNEL = "Compress the channels, or choose a smaller kernel."


class Budget:
    """Memory that one scan holds.

    Parameters
    ----------
    allows
        Says whether a scan may hold this many bytes, and makes room for them.
    """

    def __init__(self, allows: Callable[[int], bool]) -> None:
        self.allows = allows
        self.held = self.peak = 0
        self._guard = threading.RLock()  # a finaliser may run in the middle of anything

    def enter(self, count: int, what: str, advice: str = HEADER) -> None:
        """Count bytes; raises ScanError, with advice, if they may not be held."""
        with self._guard:
            if not self.allows(self.held + count):
                raise ScanError(
                    f"{what} would take {count / 1e6:.0f} MB beside the {self.held / 1e6:.0f} MB that this scan holds "
                    f"already: more memory than its header announces, or than is free here. {advice}"
                )
            self.held += count
            self.peak = max(self.peak, self.held)

    def leave(self, count: int) -> None:
        """Release bytes."""
        with self._guard:
            self.held -= count


_budget: contextvars.ContextVar[Budget | None] = contextvars.ContextVar("budget", default=None)


@contextmanager
def counted(budget: Budget) -> Iterator[None]:
    """Count what the body, and the threads that it starts, hold."""
    token = _budget.set(budget)
    try:
        yield
    finally:
        _budget.reset(token)


def claim(count: int, what: str, owner: object | None = None, advice: str = HEADER) -> None:
    """Count bytes about to be allocated, for the life of `owner`; without one, only check that they may be.

    Raises
    ------
    ScanError
        If the scan may not hold them.
    """
    budget = _budget.get()
    if budget is None:
        return
    budget.enter(int(count), what, advice)
    if owner is None:
        budget.leave(int(count))
    else:
        weakref.finalize(owner, budget.leave, int(count)).atexit = False


def claim_equations(rows: int, unknowns: int, what: str, size: int = 16) -> None:
    """Check that a scan may set up this many equations, and solve them in the form of a square matrix.

    Parameters
    ----------
    rows, unknowns
        Shape of the matrix.
    what
        In the plural, for the error.
    size
        Bytes of an element.

    Raises
    ------
    ScanError
        If they take more memory than the scan may hold, or too long.
    """
    if _budget.get() is None:
        return
    if unknowns > MOST_UNKNOWNS:
        raise ScanError(f"{what} have {unknowns} unknowns; at most {MOST_UNKNOWNS} can be solved for. {KERNEL}")
    claim((rows + unknowns) * unknowns * size, what, advice=KERNEL)
