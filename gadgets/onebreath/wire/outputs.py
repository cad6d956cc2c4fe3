"""What a command may write over: nothing that it reads, and only what it writes itself; raw data never in passing."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import h5py

from onebreath.errors import ConfigError, ScanError
from onebreath.keeping import behind
from onebreath.wire import h5_guard

RAW, IMAGES = "raw data", "images"
PAGE, PICTURE, PDF, MODEL = "an HTML page", "a picture", "a PDF", "an exported model"
OTHER, OTHER_ARRAYS = "something else", "an HDF5 file of something else"
_BEGINNINGS = {
    b"<!doctype html": PAGE,
    b"<html": PAGE,
    b"\x89png": PICTURE,
    b"\xff\xd8\xff": PICTURE,
    b"<svg": PICTURE,
    b'<?xml version="1.0" encoding="utf-8" standalone="no"?>\n<!doctype svg': PICTURE,  # Matplotlib's
    b"%pdf": PDF,
}
"""What a file begins with, in lower case."""
_PICTURES = {".png": PICTURE, ".jpg": PICTURE, ".jpeg": PICTURE, ".svg": PICTURE, ".pdf": PDF}
_CARD = "card.yaml"
"""By which an exported model is told from other archives, such as the truth of a simulated scan."""


def held(path: Path) -> str:
    """Return in words what a file holds, by its content and not its name; empty if it is empty or not there."""
    if not path.exists():
        return ""
    if not path.is_file():
        return "a folder" if path.is_dir() else "a pipe or a device"
    with path.open("rb") as file:
        beginning = file.read(256)
    if not beginning:
        return ""
    if h5py.is_hdf5(path):
        return _held_by_hdf5(path)
    if zipfile.is_zipfile(path):
        return _held_by_zip(path)
    begins = beginning.lstrip().lower()
    return next((kind for start, kind in _BEGINNINGS.items() if begins.startswith(start)), OTHER)


def _held_by_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            return MODEL if _CARD in archive.namelist() else "an archive of other files"
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError):
        return "an archive that cannot be read"


def _held_by_hdf5(path: Path) -> str:
    try:
        with h5_guard.open_file(path) as file:
            found: list[str] = []
            file.visititems(lambda name, item: found.append(_kind(name, item)))
    except (OSError, RuntimeError, ScanError):
        return "an HDF5 file that cannot be read"
    return next((kind for kind in (RAW, IMAGES, OTHER_ARRAYS) if kind in found), "")


def _kind(name: str, item: h5py.Group | h5py.Dataset) -> str:
    """Return whether an array belongs to raw data (header or lines), to images, or to neither; groups hold nothing."""
    parent, _, last = name.rpartition("/")
    if not isinstance(item, h5py.Dataset):
        return ""
    if parent.rpartition("/")[2].startswith("image_"):
        return IMAGES
    return RAW if last == "xml" or (last == "data" and "head" in (item.dtype.names or ())) else OTHER_ARRAYS


def check_output(path: Path, kind: str, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse a file to write that a command reads, or that holds anything but what the command writes.

    Parameters
    ----------
    path
        The file.
    kind
        What the command writes, as `held` says it; such a file may be replaced.
    inputs
        The files that the command reads.

    Raises
    ------
    ConfigError
        If it is refused; nothing was changed.
    """
    if not path.exists():
        return
    for source in inputs:
        if source is not None and source.exists() and path.samefile(source):
            what = "the raw data themselves" if held(path) == RAW else "what is read here"
            raise ConfigError(f"{path} is {what}; name another file for {kind}.")
    if (there := held(path)) not in ("", kind):
        advice = "Raw data are never written over" if there == RAW else f"Only {kind} would be replaced"
        raise ConfigError(f"{path} exists and holds {there}. {advice}: name another file for {kind}, or move this one.")


def check_folder(path: Path, what: str) -> None:
    """Refuse a file to write whose folder is missing or may not be written: said before the work, not after it.

    Parameters
    ----------
    path
        The file.
    what
        What is written, as the beginning of a sentence.

    Raises
    ------
    ConfigError
        If it is refused.
    """
    folder = behind(path).absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"{what} cannot be written to {path}: there is no folder {folder}. Make it first.")
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{what} cannot be written to {path}: its folder may not be written. Choose another.")


def check_folder_to_make(path: Path, what: str) -> None:
    """Refuse a folder to write to, which need not exist, as `check_folder` does a file; raises ConfigError.

    It is made then, but none above it: a typing error shows.
    """
    if not path.is_dir():
        check_folder(path, what)


def check_picture(path: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse a file for a picture as `check_output` does, or for its suffix; raises ConfigError."""
    check_folder(path, "The picture")
    kind = _PICTURES.get(path.suffix.lower())
    check_output(path, kind or PICTURE, inputs)
    if kind is None:
        raise ConfigError(f"{path}: a picture cannot be written as '{path.suffix}'; name a {', '.join(_PICTURES)} file")


def check_new(path: Path) -> None:
    """Refuse a file to write that exists already, whatever it holds; raises ConfigError."""
    if path.exists():
        there = held(path)
        raise ConfigError(f"{path} exists already{f' and holds {there}' if there else ''}; name another file.")


def earlier(folder: Path, patterns: Iterable[str], overwrite: bool) -> list[Path]:
    """Return what an earlier call left in a folder that now gets files of the same names, or refuse the folder.

    Parameters
    ----------
    folder
        Where a command writes to; it need not exist.
    patterns
        What the names of its files are like, as in `Path.glob`.
    overwrite
        Whether the user wants them replaced; `remove` does that once the new ones can be made.

    Raises
    ------
    ConfigError
        If there are such files and they are not to be replaced: nobody could tell them from the new ones; if the
        folder cannot be made.
    """
    check_folder_to_make(folder, "The files")
    found = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    if found and not overwrite:
        names = ", ".join(path.name for path in found[:3]) + (", ..." if len(found) > 3 else "")
        raise ConfigError(
            f"{folder} holds {len(found)} files of an earlier call ({names}), which would be mixed with those of "
            "another scan. Say --overwrite to remove them first, or name another folder with -o."
        )
    return found


def remove(found: Iterable[Path]) -> None:
    """Remove what `earlier` found, and say so; raises OSError."""
    gone = list(found)
    for path in gone:
        path.unlink(missing_ok=True)
    if gone:
        print(f"{len(gone)} files of an earlier call were removed from {gone[0].parent}")
