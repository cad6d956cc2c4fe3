"""Cancellation of work: long computations check regularly whether to continue.

Python cannot end a thread from outside. What may end a piece of work is known to the context that it runs in, which the
threads of a chain inherit.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_checks: contextvars.ContextVar[tuple[Callable[[], None], ...]] = contextvars.ContextVar("checks", default=())


def checkpoint() -> None:
    """Raise the error that cancels the work of this context, if any; called once per iteration of long computations."""
    for check in _checks.get():
        check()


@contextmanager
def ended_by(check: Callable[[], None]) -> Iterator[None]:
    """Let `checkpoint` also call `check` while the body runs; `check` raises an error to cancel the body."""
    token = _checks.set((*_checks.get(), check))
    try:
        yield
    finally:
        _checks.reset(token)
