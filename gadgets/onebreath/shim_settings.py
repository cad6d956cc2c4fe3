"""Settings of the process that Gadgetron starts for a node: folder of state, workers' sockets, and storage.

`onebreath.settings.Settings` documents them with all the others. They are read here without pydantic, which takes
longer to import than a worker takes to accept a scan.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path

import platformdirs

STATE, WORKER = "ONEBREATH_STATE", "ONEBREATH_WORKER"
STORAGE, GADGETRON_STORAGE = "ONEBREATH_STORAGE", "GADGETRON_STORAGE_ADDRESS"
OFF = "off"

STORAGE_OF_SCAN: ContextVar[str | None] = ContextVar("storage of the scan", default=None)
"""Storage of the process that handed a scan over; it takes precedence over this process's own."""


def state_folder() -> Path:
    """Return the folder of data that outlive a process: ``ONEBREATH_STATE``, or one below the user's state folder."""
    return Path(os.environ.get(STATE) or platformdirs.user_state_path("onebreath"))


def worker_sockets() -> list[Path]:
    """Return where workers listen: the paths in ``ONEBREATH_WORKER``, or ``worker.sock`` in the state folder.

    ``ONEBREATH_WORKER=off`` means that there is none.
    """
    chosen = os.environ.get(WORKER, "")
    if chosen == OFF:
        return []
    return [Path(part) for part in chosen.split(os.pathsep) if part] or [state_folder() / "worker.sock"]


def storage() -> str | None:
    """Return the storage setting: an address, a folder, ``off``, or None if nothing was set.

    That of the scan goes first, then ``ONEBREATH_STORAGE``, then ``GADGETRON_STORAGE_ADDRESS``, which is empty in the
    nodes of a Gadgetron that runs without storage.
    """
    choice = STORAGE_OF_SCAN.get()
    if choice is None:
        choice = os.environ.get(STORAGE, os.environ.get(GADGETRON_STORAGE))
    return choice if choice is None else choice or OFF


def line_to_complete() -> str | None:
    """Return the command line that a shell asks to complete; None if it runs one."""
    return os.environ.get("COMP_LINE", "") if "_ARGCOMPLETE" in os.environ else None


def terminal_is_dumb() -> bool:
    """Return whether the terminal shows no colours and moves no cursor."""
    return os.environ.get("TERM", "") == "dumb"
