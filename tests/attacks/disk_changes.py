"""What a worker does to its state on disk, counted by Python's audit events; each comes before the change is made."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path

COUNT = "changes"
READ_ONLY = os.O_RDONLY


def count_changes(state: str, changes: Collection[str], at_each: Callable[[int, str], None]) -> None:
    """Count the changes of these events below the folder `state` of this process, in a file beside it.

    Parameters
    ----------
    at_each
        Called with the number of the change, from 1, and what it is made to.
    """
    seen = 0
    count = os.open(Path(state).with_name(COUNT), os.O_WRONLY | os.O_CREAT)

    def hook(event: str, about: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in changes or not str(about[0]).startswith(f"{state}/"):
            return
        if event == "open" and isinstance(about[2], int) and about[2] & os.O_ACCMODE == READ_ONLY:
            return
        seen += 1
        os.pwrite(count, b"%6d" % seen, 0)
        at_each(seen, str(about[0]))

    sys.addaudithook(hook)


def changes_made(folder: Path) -> int:
    """Return how many changes the worker of a folder has made."""
    return int((folder / COUNT).read_text())
