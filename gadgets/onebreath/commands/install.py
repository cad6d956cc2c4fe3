"""`onebreath install`: link configurations and models into a Gadgetron installation, and compile a checkout's code."""

from __future__ import annotations

import argparse
import compileall
from dataclasses import dataclass
from pathlib import Path

from onebreath.errors import ConfigError
from onebreath.folders import installed_share
from onebreath.settings import settings

PACKAGE = Path(__file__).parents[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--gadgetron-home",
        type=Path,
        default=settings().gadgetron_home,
        help="folder that holds share/gadgetron (default: the environment variable GADGETRON_HOME)",
    )


def run(args: argparse.Namespace) -> int:
    """Make the links and say where each is; compile the code."""
    if args.gadgetron_home is None:
        raise ConfigError("Say where Gadgetron is: --gadgetron-home DIR, or the environment variable GADGETRON_HOME.")
    for link in install(Path(args.gadgetron_home), sources()):
        print(link)
    print(f"{PACKAGE}: {'compiled' if compile_code(PACKAGE) else 'could not be compiled; every scan will'}")
    return 0


@dataclass(frozen=True)
class Sources:
    """Folders of the configurations and of the models that this package came with."""

    configs: Path
    models: Path


def sources() -> Sources:
    """Find what is to be linked: in the checkout that the code lies in, or where pip has put it."""
    repository = Path(__file__).parents[3]
    if (repository / "configs").is_dir():
        return Sources(repository / "configs", repository / "models")
    share = installed_share()
    return Sources(share / "config", share / "onebreath" / "models")


def compile_code(package: Path) -> bool:
    """Write byte-code beside the sources, as pip does; False if that is not possible.

    Processes that Gadgetron starts may be unable or forbidden (``PYTHONDONTWRITEBYTECODE``) to do so; each of them then
    compiles its imports again.
    """
    return bool(compileall.compile_dir(package, quiet=2))


def install(home: Path, source: Sources) -> list[Path]:
    """Link every configuration and the models' folder below ``home/share/gadgetron``; return where each is found.

    Raises
    ------
    ConfigError
        If `home` is no folder, there is nothing to link, or a file that is no link stands in the way.
    """
    if not home.is_dir():
        raise ConfigError(f"There is no folder {home}; give the folder that holds share/gadgetron.")
    configs = sorted(source.configs.glob("Onebreath_*.xml"))
    missing = [
        folder for folder, there in ((source.configs, configs), (source.models, source.models.is_dir())) if not there
    ]
    if missing:
        raise ConfigError(f"There is nothing to link in {missing[0]}: this installation of Onebreath is not whole.")
    share = home / "share" / "gadgetron"
    links = [_link(share / "config" / config.name, config) for config in configs]
    return [*links, _link(share / "onebreath" / "models", source.models)]


def _link(link: Path, target: Path) -> Path:
    if link.exists() and not link.is_symlink():
        if link.samefile(target):  # pip has put it there: Gadgetron's Python environment is this one
            return link
        raise ConfigError(f"{link} exists and is no link; remove it first, it would be hidden otherwise.")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target.resolve())
    return link
