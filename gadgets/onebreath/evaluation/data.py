"""Slices for an evaluation from a named data set, files, or folders of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from onebreath.errors import ConfigError, ScanError
from onebreath.settings import settings
from onebreath.training.data.series import Series
from onebreath.training.recipe import Source, SourceKind
from onebreath.training.sources import read_source

KINDS: tuple[str, ...] = get_args(SourceKind)
SPOILED = "simulator_spoiled"
NAMED: dict[str, tuple[SourceKind, str]] = {
    "sunnybrook": ("cine_npz", "data/cine_sunnybrook"),
    "sunnybrook_static": ("static_npz", "data/static_sunnybrook"),
    "brain7ch": ("kspace_npy", "data/brain7ch"),
    "simulator": ("simulator", ""),
    SPOILED: ("simulator", ""),
}
"""Data sets by name: format, and path in the folder of shared data."""
_RAW = (".h5", ".mrd")


def read_slices(
    data: str,
    kind: SourceKind | None,
    patients: Sequence[str],
    slices: Sequence[int] | None,
    views: Sequence[str] = ("*",),
) -> Iterator[tuple[Series, np.ndarray | None]]:
    """Yield slices, each with its ground truth if there is a file of it, else None.

    The ground truth of a simulated raw file is in a file of the same name with the suffix ``.npz``.

    Parameters
    ----------
    data
        Name of a data set (``sunnybrook``, ``sunnybrook_static``, ``brain7ch``, ``simulator``, ``simulator_spoiled``),
        a file or a folder.
    kind
        Format of the files; None: a named data set, or by the suffix.
    patients
        Patterns of patients.
    slices
        Indices of the slices of each patient and view; None: all.
    views
        Patterns of views; see `onebreath.training.recipe.Source`.

    Raises
    ------
    ConfigError
        If there is no such data set or file.
    ScanError
        If no slice matches, or a file is damaged.
    """
    source = _source(data, kind, tuple(patients)).model_copy(update={"views": tuple(views)})
    truth = _truth_beside(Path(source.path)) if source.kind == "mrd" else None
    counts: dict[tuple[str, str], int] = {}
    found = False
    for position, series in enumerate(read_source(source)):
        number = counts.get((series.patient, series.view), 0)
        counts[series.patient, series.view] = number + 1
        if slices is None or number in slices:
            found = True
            yield series, None if truth is None else _slice_of(truth, position, data)
    if not found:
        views_of = "" if tuple(views) == ("*",) else f", views {' '.join(views)},"
        numbers = "" if slices is None else f" {' '.join(map(str, slices))}"
        counted = f"; there are {max(counts.values())} at most, counted from 0" if counts and slices is not None else ""
        raise ScanError(
            f"{data}: no slice{numbers} of patients {' '.join(patients)}{views_of} is left to evaluate on{counted}"
        )


def data_sets(data: Sequence[str], kind: SourceKind | None) -> list[str]:
    """Name of the data set of each of several data; files in one folder belong to one data set.

    A folder is called by its last part or, if another one is called so too, by its path.

    Parameters
    ----------
    data, kind
        As for `read_slices`.
    """
    places = [None if kind is None and one in NAMED else Path(one).resolve() for one in data]
    folders = [place.parent if place is not None and place.is_file() else place for place in places]
    names = [one if folder is None else folder.name for one, folder in zip(data, folders, strict=True)]
    meant: dict[str, set[Path | None]] = {}
    for name, folder in zip(names, folders, strict=True):
        meant.setdefault(name, set()).add(folder)
    return [str(folder or name) if len(meant[name]) > 1 else name for name, folder in zip(names, folders, strict=True)]


def _source(data: str, kind: SourceKind | None, patients: tuple[str, ...]) -> Source:
    path = data
    if kind is None and data in NAMED:
        kind, below = NAMED[data]
        path = str(settings().shared / below)
    elif kind is None:
        kind = _kind_of(Path(data))
    if kind == "simulator":
        path = ""
    elif not Path(path).exists():
        raise ConfigError(f"there is no data at {path}; name a file, a folder, or one of {', '.join(NAMED)}")
    return Source(kind=kind, path=path, patients=patients, spoiled=data == SPOILED)


def _kind_of(path: Path) -> SourceKind:
    if path.suffix in _RAW:
        return "mrd"
    if path.suffix == ".npz" or (path.is_dir() and any(path.glob("*.npz"))):
        return "cine_npz"
    if path.suffix == ".npy":
        return "kspace_npy"
    if path.is_dir() and any(path.rglob("*.h5")):
        return "mrd"
    raise ConfigError(f"the name of {path} does not show its format; state it with --kind {'|'.join(KINDS)}")


def _truth_beside(path: Path) -> np.ndarray | None:
    """Images (slice, frame, y, x) of a simulated raw file; None for a folder or a measured file."""
    file = path.with_suffix(".npz")
    if not path.is_file() or not file.is_file():
        return None
    with np.load(file, allow_pickle=False) as content:
        if "image" not in content:
            raise ScanError(f"{file} has the name of the ground truth, but no array 'image'; rename or remove it")
        return np.asarray(content["image"])


def _slice_of(truth: np.ndarray, position: int, data: str) -> np.ndarray:
    if position >= len(truth):
        raise ScanError(f"{data} holds more slices than its truth, which has {len(truth)}")
    return np.asarray(truth[position])
