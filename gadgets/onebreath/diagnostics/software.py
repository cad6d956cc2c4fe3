"""Identity of the software: version, commit, and a hash of the running code, with uncommitted changes."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
UNKNOWN = "unknown"
BUILT_FROM = "built_from.txt"
"""File of the package that setup.py writes when it builds a wheel: the commit."""


@functools.cache
def commit() -> str:
    """Commit of the checkout that this package lies in, or that it was installed from; ``unknown`` otherwise."""
    repository, built = _PACKAGE.parents[1] / ".git", _PACKAGE / BUILT_FROM
    try:
        if repository.is_dir():
            return _head(repository)
        if built.is_file():
            return built.read_text(encoding="ascii").strip()
        installed = importlib.metadata.distribution("onebreath").read_text("direct_url.json")
        return str(json.loads(installed or "{}")["vcs_info"]["commit_id"])
    except (OSError, LookupError, ValueError, StopIteration, importlib.metadata.PackageNotFoundError):
        return UNKNOWN


def _head(repository: Path) -> str:
    head = (repository / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    if (repository / name).is_file():
        return (repository / name).read_text().strip()
    packed = (line.split() for line in (repository / "packed-refs").read_text().splitlines())
    return next(parts[0] for parts in packed if parts[1:] == [name])


@functools.cache
def code_sha256() -> str:
    """First 16 digits of the SHA-256 of the source files of this package, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(path for kind in ("*.py", "*.c", "*.h") for path in _PACKAGE.rglob(kind)):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
