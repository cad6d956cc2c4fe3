"""Folders: where state is kept, where pip put configurations and models, and which ones a client may name."""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path

VARIABLE = "ONEBREATH_FOLDERS"


def state_folder() -> Path:
    """Return the folder of what outlives a process: ``ONEBREATH_STATE``, or one below the user's state folder."""
    chosen = os.environ.get("ONEBREATH_STATE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "onebreath"


def installed_share() -> Path:
    """Folder ``share/gadgetron`` of the installation that this package belongs to: the user's own, or Python's."""
    personal = site.ENABLE_USER_SITE and Path(__file__).is_relative_to(site.getusersitepackages())
    return Path(site.getuserbase() if personal else sys.prefix) / "share" / "gadgetron"


def permitted(path: str) -> str:
    """Return a path that lies in a folder listed in ``ONEBREATH_FOLDERS``, links followed, or is empty.

    Raises
    ------
    ValueError
        If it lies elsewhere.
    """
    if not path:
        return path
    folders = [Path(part).resolve() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    target = Path(path).resolve()
    if not any(target.is_relative_to(folder) for folder in folders):
        listed = ", ".join(map(str, folders)) or "none"
        raise ValueError(
            f"configurations may use files in permitted folders only ({listed}); set {VARIABLE} to permit it"
        )
    return path
