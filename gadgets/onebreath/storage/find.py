"""Which store a scan uses."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from onebreath.shim_settings import OFF, storage
from onebreath.storage.base import Store
from onebreath.storage.folder import FolderStore
from onebreath.storage.server import ServerStore


def open_store() -> Store | None:
    """Return the store of this scan; None if storage is switched off.

    That is what `shim_settings.storage` says: ``off``, an http address, or a folder; a folder of this user if it
    says nothing.

    Raises
    ------
    StorageError
        If an address is wrong.
    """
    choice = storage()
    if choice is None:
        return FolderStore(platformdirs.user_data_path("onebreath") / "storage")
    if choice == OFF:
        return None
    return ServerStore(choice) if "://" in choice else FolderStore(Path(choice))
