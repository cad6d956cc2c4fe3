"""Which store a scan uses."""

from __future__ import annotations

import os
from pathlib import Path

from onebreath.storage.base import Store
from onebreath.storage.folder import FolderStore
from onebreath.storage.server import ServerStore

CHOICE = "ONEBREATH_STORAGE"
GADGETRON = "GADGETRON_STORAGE_ADDRESS"


def open_store() -> Store | None:
    """Return the store of this process; None if storage is switched off.

    ``ONEBREATH_STORAGE`` goes first: ``off``, an http address, or a folder. Else it is the server that Gadgetron names
    in ``GADGETRON_STORAGE_ADDRESS`` (set but empty: off), else a folder of this user.

    Raises
    ------
    StorageError
        If an address is wrong.
    """
    choice = os.environ.get(CHOICE, os.environ.get(GADGETRON))
    if choice is None:
        return FolderStore(_user_folder())
    if choice in ("", "off"):
        return None
    return ServerStore(choice) if "://" in choice else FolderStore(Path(choice))


def _user_folder() -> Path:
    """Folder for data of this user, as the XDG base directories have it."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "onebreath" / "storage"
