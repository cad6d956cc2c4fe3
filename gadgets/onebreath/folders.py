"""Folders: where pip put configurations and models, and which ones a client may name."""

from __future__ import annotations

import site
import sys
from pathlib import Path

from onebreath.settings import settings, variable


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
    folders = [folder.resolve() for folder in settings().folders]
    target = Path(path).resolve()
    if not any(target.is_relative_to(folder) for folder in folders):
        listed = ", ".join(map(str, folders)) or "none"
        raise ValueError(
            f"configurations may use files in permitted folders only ({listed}); set {variable('folders')} to permit it"
        )
    return path
