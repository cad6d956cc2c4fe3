"""Events in the life of a scan, for listeners in this process such as the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

Listener: TypeAlias = Callable[[str, dict[str, Any]], None]

_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` with the name and facts of every event; from any thread, so it must be quick and safe."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def heard() -> bool:
    """Return whether there are listeners, so that measuring is worth its cost."""
    return bool(_listeners)


def tell(event: str, **facts: Any) -> None:
    """Report an event."""
    for listener in list(_listeners):
        listener(event, facts)
