"""Ending work that is no longer wanted: long computations ask now and then whether to continue.

Python cannot end a thread from outside. What may end a piece of work is known to the context that it runs in, which the
threads of a chain inherit.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_checks: contextvars.ContextVar[tuple[Callable[[], None], ...]] = contextvars.ContextVar("checks", default=())


def checkpoint() -> None:
    """Raise what ends the work of this context, if something does; to be called once per iteration of anything long."""
    for check in _checks.get():
        check()


@contextmanager
def ended_by(check: Callable[[], None]) -> Iterator[None]:
    """Let `checkpoint` call `check`, besides those of the work around, while the body runs; it raises to end it."""
    token = _checks.set((*_checks.get(), check))
    try:
        yield
    finally:
        _checks.reset(token)
