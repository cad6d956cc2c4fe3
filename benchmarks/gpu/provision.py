"""Packages that a bare machine lacks, from wheels that were carried there. Needs the standard library and pip alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

REQUIREMENTS = "requirements.txt"


class ProvisionError(Exception):
    """Packages are missing and cannot be installed."""


def provision(wheels: Path, site: Path) -> str:
    """Install into `site` what this Python lacks of ``wheels/requirements.txt``; returns in words what that was.

    The Python itself is not changed: the caller puts `site` into the path. What is there and recent enough is used. If
    pip finds no way to that, all wheels are installed: they belong together.

    Raises
    ------
    ProvisionError
        If pip cannot install them; in pip's words.
    """
    if not (wheels / REQUIREMENTS).is_file():
        return "no pack: what this Python holds has to do"
    try:
        chosen, why = _missing(wheels), ""
    except ProvisionError as error:
        chosen, why = sorted(wheels.glob("*.whl")), f" (all that were carried, since {error})"
        if not chosen:
            raise
    if chosen:
        target = ["--no-deps", "--no-compile", "--upgrade", "--target", str(site)]
        _pip(["install", "--quiet", "--no-index", *target, *map(str, chosen)])
    names = ", ".join(" ".join(path.name.split("-")[:2]) for path in chosen)
    return f"added from the pack: {names or 'nothing'}{why}"


def _missing(wheels: Path) -> list[Path]:
    """Wheels that pip would install here."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        wanted = ["--no-index", "--find-links", str(wheels.resolve()), "--requirement", str(wheels / REQUIREMENTS)]
        _pip(["install", "--dry-run", "--quiet", "--report", str(report), *wanted])
        content = json.loads(report.read_text(encoding="utf-8"))
    return [Path(unquote(urlsplit(one["download_info"]["url"]).path)) for one in content["install"]]


def _pip(arguments: list[str]) -> None:
    # A dry run changes nothing, and the target is a folder of ours: what protects a system's Python need not stop it.
    environment = {**os.environ, "PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ProvisionError(f"pip cannot install what is missing: {done.stderr.strip() or done.stdout.strip()}")
