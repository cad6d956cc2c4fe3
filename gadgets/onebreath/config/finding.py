"""Configurations found by the names that clients send."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from onebreath.errors import ConfigError
from onebreath.folders import installed_share
from onebreath.settings import settings

log = logging.getLogger("onebreath.config")

SHARE = Path("share/gadgetron/config")
LONGEST = 1023  # bytes of a name: the message has room for no more
LONGEST_PART = 255  # bytes of what stands between two slashes: file systems take no more
ALIASES = {"default_measurement_dependencies.xml": "Onebreath_Noise.xml"}
"""What runs instead of a stock configuration of Gadgetron's, where that is not found."""
DEFAULT_NAMES = {"openrecon": "Onebreath_Cine.xml", "onebreath": "Onebreath_Cine.xml"}


def search_paths() -> list[Path]:
    """Folders that are searched for configurations, first to last.

    These are the folders in ``ONEBREATH_CONFIGS``, those of the Gadgetron in ``GADGETRON_HOME``, ``configs/`` of a
    source checkout, and ``share/gadgetron/config`` of this Python environment; those that exist.
    """
    chosen = settings()
    paths = list(chosen.configs)
    if chosen.gadgetron_home:
        paths.append(chosen.gadgetron_home / SHARE)
    sources = Path(__file__).resolve().parents[2]
    if sources.name == "gadgets":
        paths.append(sources.parent / "configs")
    paths.append(installed_share() / "config")
    return [path for path in dict.fromkeys(paths) if path.is_dir()]


def available(paths: Sequence[Path] | None = None) -> Iterator[tuple[str, Path]]:
    """List configurations: name for the client, and file; a name found earlier hides later ones."""
    seen = set()
    for folder in search_paths() if paths is None else paths:
        for path in sorted(folder.rglob("*.xml")):
            name = path.relative_to(folder).as_posix()
            if name not in seen:
                seen.add(name)
                yield name, path


def find(name: str, paths: Sequence[Path] | None = None) -> Path:
    """Find a configuration by the name that a client sent.

    Raises
    ------
    ConfigError
        If there is none, with the nearest names; or if the name leads out of the search paths.
    """
    if (meant := site_names().get(name)) is not None:
        log.info("the configuration '%s' is %s here", name, meant)
        return _find(meant, paths)
    return _find(name, paths)


def site_names() -> dict[str, str]:
    """Names of configurations that a site gives (``ONEBREATH_NAMES``), and those that OpenRecon sends.

    Raises
    ------
    ConfigError
        If the variable is not written as it should be.
    """
    return DEFAULT_NAMES | settings().names


def check_site_names() -> None:
    """Check that each name that a site gives means a configuration, before the first scan asks for it.

    Raises
    ------
    ConfigError
        If one means none.
    """
    for name, meant in settings().names.items():
        try:
            _find(meant, None)
        except ConfigError as error:
            raise ConfigError(f"ONEBREATH_NAMES has '{name}={meant}'. {error}") from error


def _find(name: str, paths: Sequence[Path] | None) -> Path:
    relative = PurePosixPath(name.replace("\\", "/"))
    too_long = len(name) > LONGEST or any(len(part.encode(errors="replace")) > LONGEST_PART for part in relative.parts)
    if not name or relative.is_absolute() or ".." in relative.parts or "\0" in name or too_long:
        raise ConfigError(f"'{name}' is not the name of a configuration; names are relative and stay in their folder")
    folders = search_paths() if paths is None else paths
    for folder in folders:
        for path in (folder / relative, folder / f"{relative}.xml"):  # FIRE's names have no suffix
            if path.is_file():
                return path
    if name in ALIASES:
        return _find(ALIASES[name], folders)
    known = [known for known, _ in available(folders)]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near = near or [one for one in known if name.lower() in one.lower()][:5] or known[:10]
    hint = f"Did you mean: {', '.join(near)}?" if near else "No configurations were found at all."
    searched = ", ".join(str(folder) for folder in folders) or "no folder"
    raise ConfigError(f"There is no configuration '{name}'. {hint} (Searched: {searched}.)")
