"""Whether the images in a file are all that their scan makes, as its writer has noted."""

from __future__ import annotations

import sys
from pathlib import Path

from onebreath.images import reading
from onebreath.wire.image_file import INCOMPLETE


def why_incomplete(path: Path, group: str | None = None) -> str:
    """Return why images of a reconstruction are missing; empty if the scan ended well, as far as the file tells.

    Parameters
    ----------
    path, group
        File and reconstruction, as in `read_series`.

    Raises
    ------
    ScanError
        If the file cannot be read or holds no images.
    """
    with reading._open(path) as file:
        return str(reading._group_of(file, path, group).attrs.get(INCOMPLETE, ""))


def warn_if_incomplete(path: Path, group: str | None = None) -> None:
    """Say on standard error that images of a reconstruction are missing, and why; raises ScanError."""
    if why := why_incomplete(path, group):
        print(f"{path}: {told(why)}", file=sys.stderr)


def told(why: str) -> str:
    """Return the words of a warning for a reason."""
    return f"the images are incomplete, as their scan failed: {why}"
