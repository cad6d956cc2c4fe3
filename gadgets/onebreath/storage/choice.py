"""Which store a process was told to use. Needs the standard library only: the shim of ``<execute>`` nodes asks, too."""

from __future__ import annotations

import os
from contextvars import ContextVar

CHOICE = "ONEBREATH_STORAGE"
GADGETRON = "GADGETRON_STORAGE_ADDRESS"

OF_SCAN: ContextVar[str | None] = ContextVar("storage of the scan", default=None)
"""What the process that handed a scan over was told; it goes before what this process was told."""


def stated() -> str | None:
    """Return what stands in for storage: an address, a folder, ``off``, or None if nothing was said.

    That of the scan goes first, then ``ONEBREATH_STORAGE``, then ``GADGETRON_STORAGE_ADDRESS``, which is empty in the
    nodes of a Gadgetron that runs without storage.
    """
    choice = OF_SCAN.get()
    if choice is None:
        choice = os.environ.get(CHOICE, os.environ.get(GADGETRON))
    return choice if choice is None else choice or "off"
