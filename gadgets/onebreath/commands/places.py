"""Where ``onebreath replay`` writes the images of each scan, and what it refuses to write to."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import h5py

from onebreath.errors import ConfigError
from onebreath.wire.outputs import IMAGES, OTHER, PAGE, check_folder, check_folder_to_make, check_output, held

DEFAULT_OUTPUT = "out.h5"
DEFAULT_FOLDER = "images"


def outputs_for(sources: list[Path], output: str | None, several: bool) -> list[Path]:
    """Return the file for the images of each scan.

    Raises
    ------
    ConfigError
        If the place cannot be one of images.
    """
    if not several:
        path = Path(output or DEFAULT_OUTPUT)
        return [path / f"{sources[0].stem}_images.h5" if path.is_dir() else path]
    folder = Path(output or DEFAULT_FOLDER)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"The images of {len(sources)} scans go into a folder, one file each, but {folder} is a file")
    check_folder_to_make(folder, "The images")
    folder.mkdir(exist_ok=True)
    return [folder / f"{name}.h5" for name in numbered([f"{source.stem}_images" for source in sources])]


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names, each once and the same at every call: with a number where one is taken."""
    taken: dict[str, None] = {}
    for name in names:
        given, number = name, 1
        while given in taken:
            number += 1
            given = f"{name}_{number}"
        taken[given] = None
    return list(taken)


def groups_for(name: str | None, loops: int) -> list[str | None]:
    """Return the group of each loop: the given name, numbered from the second; None is that of date and time."""
    return [name if name is None or loop == 0 else f"{name}_{loop + 1}" for loop in range(loops)]


def check_place(source: Path, output: Path, args: argparse.Namespace) -> None:
    """Refuse a place for images that cannot be written, or that holds something already; say where some are added.

    With ``--overwrite``, too, only a file of images is replaced: never raw data, nor anything else.

    Raises
    ------
    ConfigError
        If it is refused.
    """
    check_folder(output, "The images")
    if args.report:
        check_output(output.with_suffix(".html"), PAGE, (source,))
    if held(output) == OTHER:
        raise ConfigError(f"{output} exists, and is no HDF5 file that images could be added to. Name another file.")
    check_output(output, IMAGES, (source, *map(Path, (*args.files, *args.filename))))
    if args.overwrite or not output.exists() or not output.stat().st_size:
        return
    with h5py.File(output, "r") as file:
        groups = list(file)
        taken = [name for name in groups_for(args.out_group, args.loops) if name is not None and name in file]
    last = ", ".join(groups[-3:])
    if args.append and taken:
        raise ConfigError(
            f"{output} has a group {taken[0]} already, and the images of two scans in one group would be taken for one "
            "series. Name another group by -G, or none."
        )
    if args.append or (args.out_group and not taken):
        print(f"{output} holds {len(groups)} groups of images already ({last}); these are added to it")
        return
    raise ConfigError(
        f"{output} holds images already (group {last}). Say --append to add a group, --overwrite "
        "to replace them, or name another file."
    )
