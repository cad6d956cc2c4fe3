"""Which store a scan uses."""

from __future__ import annotations

import os
from pathlib import Path

from onebreath.storage.base import Store
from onebreath.storage.choice import stated
from onebreath.storage.folder import FolderStore
from onebreath.storage.server import ServerStore


def open_store() -> Store | None:
    """Return the store of this scan; None if storage is switched off.

    That is what `choice.stated` says: ``off``, an http address, or a folder; if nothing is said a folder of this user.

    Raises
    ------
    StorageError
        If an address is wrong.
    """
    choice = stated()
    if choice is None:
        return FolderStore(_user_folder())
    if choice == "off":
        return None
    return ServerStore(choice) if "://" in choice else FolderStore(Path(choice))


def _user_folder() -> Path:
    """Folder for data of this user, as the XDG base directories have it."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "onebreath" / "storage"
