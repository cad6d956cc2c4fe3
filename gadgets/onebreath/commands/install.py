"""`onebreath install`: link configurations and models into a Gadgetron installation, and compile a checkout's code."""

from __future__ import annotations

import argparse
import compileall
import os
import sys
from pathlib import Path

from onebreath.errors import ConfigError

PACKAGE = Path(__file__).parents[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--gadgetron-home",
        type=Path,
        default=os.environ.get("GADGETRON_HOME"),
        help="folder that holds share/gadgetron (default: the environment variable GADGETRON_HOME)",
    )


def run(args: argparse.Namespace) -> int:
    """Make the links and say where each is; compile the code."""
    if args.gadgetron_home is None:
        raise ConfigError("Say where Gadgetron is: --gadgetron-home DIR, or the environment variable GADGETRON_HOME.")
    for link in install(Path(args.gadgetron_home), source_folder()):
        print(link)
    print(f"{PACKAGE}: {'compiled' if compile_code(PACKAGE) else 'could not be compiled; every scan will'}")
    return 0


def source_folder() -> Path:
    """Return the repository's folder, or the installation prefix's share folder, that holds what is to be linked."""
    repository = Path(__file__).parents[3]
    return repository if (repository / "configs").is_dir() else Path(sys.prefix) / "share" / "gadgetron"


def compile_code(package: Path) -> bool:
    """Write byte-code beside the sources, as pip does; False if that is not possible.

    Processes that Gadgetron starts may be unable or forbidden (``PYTHONDONTWRITEBYTECODE``) to do so; each of them then
    compiles anew what it imports.
    """
    return bool(compileall.compile_dir(package, quiet=2))


def install(home: Path, source: Path) -> list[Path]:
    """Link every configuration and the models' folder below ``home/share/gadgetron``.

    Raises
    ------
    ConfigError
        If `home` is no folder, there is nothing to link, or a file that is no link stands in the way.
    """
    if not home.is_dir():
        raise ConfigError(f"There is no folder {home}; give the folder that holds share/gadgetron.")
    share = home / "share" / "gadgetron"
    links = [
        _link(share / "config" / config.name, config) for config in sorted((source / "configs").glob("Onebreath_*.xml"))
    ]
    if not links:
        raise ConfigError(f"There are no configurations in {source / 'configs'}; install from a checkout of Onebreath.")
    return [*links, _link(share / "onebreath" / "models", source / "models")]


def _link(link: Path, target: Path) -> Path:
    if link.exists() and not link.is_symlink():
        raise ConfigError(f"{link} exists and is no link; remove it first, it would be hidden otherwise.")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target.resolve())
    return link
