"""Folders: where pip put configurations and models, which ones a client may name, and how two change places."""

from __future__ import annotations

import ctypes
import os
import site
import sys
from pathlib import Path

from onebreath.errors import ConfigError
from onebreath.settings import settings, variable

_HERE, _EXCHANGE = -100, 2
"""``AT_FDCWD`` and ``RENAME_EXCHANGE`` of Linux."""


def installed_share() -> Path:
    """Folder ``share/gadgetron`` of the installation that this package belongs to: the user's own, or Python's."""
    personal = site.ENABLE_USER_SITE and Path(__file__).is_relative_to(site.getusersitepackages())
    return Path(site.getuserbase() if personal else sys.prefix) / "share" / "gadgetron"


def expanded(path: str) -> Path:
    """Path with environment variables such as ``$ONEBREATH_SHARED`` and ``~`` expanded.

    Raises
    ------
    ConfigError
        If a variable is not set.
    """
    text = os.path.expandvars(path)
    if "$" in text:
        raise ConfigError(f"path {path}: an environment variable in it is not set")
    return Path(text).expanduser()


def permitted(path: str) -> str:
    """The path, if it is empty or in a folder listed in ``ONEBREATH_FOLDERS`` after links are resolved.

    Raises
    ------
    ValueError
        If it is in no such folder.
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


def exchange(first: Path, second: Path) -> bool:
    """Let two paths of one file system change places, with no moment at which either is missing.

    Returns
    -------
    bool
        Whether they did; False, with nothing changed, where the system or the file system cannot.
    """
    swap = getattr(ctypes.CDLL(None), "renameat2", None)
    return swap is not None and swap(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0
