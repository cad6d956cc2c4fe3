"""Files that a configuration names: a client can upload one, so it reaches only folders that were permitted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

VARIABLE = "ONEBREATH_FOLDERS"


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


PermittedPath = Annotated[str, AfterValidator(permitted)]
"""Type of a property that names a file or a folder."""
