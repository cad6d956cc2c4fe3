"""Helpers to derive a network's arguments from the names and shapes of its parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from onebreath.errors import ModelError


@contextmanager
def parameters_of(network: str) -> Iterator[None]:
    """Turn a KeyError for a missing parameter into a `ModelError`, as a context or a decorator."""
    try:
        yield
    except KeyError as error:
        raise ModelError(f"the weights are not those of {network}: parameter {error} is missing") from error


def count_after(names: Iterable[str], before: str) -> int:
    """Count the different numbers that follow a prefix of names and precede a dot."""
    numbered = re.compile(rf"{re.escape(before)}(\d+)\.")
    return len({match[1] for match in map(numbered.match, names) if match})
