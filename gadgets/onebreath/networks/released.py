"""What the names and shapes of a state show of the network whose parameters they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from onebreath.errors import ModelError


@contextmanager
def parameters_of(network: str) -> Iterator[None]:
    """Report a parameter that is looked up in vain as a `ModelError`, in a block or in the function it decorates."""
    try:
        yield
    except KeyError as error:
        raise ModelError(f"the weights are not those of {network}: parameter {error} is missing") from error


def count_after(names: Iterable[str], before: str) -> int:
    """Count the different numbers that stand behind the same beginning of names, before a dot."""
    numbered = re.compile(rf"{re.escape(before)}(\d+)\.")
    return len({match[1] for match in map(numbered.match, names) if match})
