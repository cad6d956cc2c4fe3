"""Choice of the store for a scan."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path

import platformdirs

from onebreath.shim_settings import OFF, storage
from onebreath.storage.base import TIME_TO_LIVE, StorageError, Store, Tags
from onebreath.storage.folder import FolderStore
from onebreath.storage.server import ServerStore

COMPLETE: ContextVar[bool] = ContextVar("all data of the scan came", default=True)
"""No: only what a crash left of a scan is reconstructed; nothing of it may be kept for other scans."""


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
    if choice == OFF:
        return None
    if choice is None:
        store: Store = FolderStore(platformdirs.user_data_path("onebreath") / "storage")
    else:
        store = ServerStore(choice) if "://" in choice else FolderStore(Path(choice))
    return store if COMPLETE.get() else _OnlyRead(store)


class _OnlyRead:
    """A read-only view of a store, for a scan whose data ended early: others must not use what it measured."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.where, self.kind, self.latest, self.check = store.where, store.kind, store.latest, store.check

    def put(self, tags: Tags, content: bytes, seconds: int = TIME_TO_LIVE) -> None:
        """Refuse; see `Store`."""
        raise StorageError("the data of this scan ended early; nothing of it is kept for other scans")
