"""``onebreath provenance``: show how the images in a file were made, according to their meta."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np

from onebreath.errors import ScanError

CHAIN_KEY = "Onebreath_chain"
_PREFIX = "Onebreath"
_SECTIONS = {
    "software": ("OnebreathVersion", "OnebreathCommit", "OnebreathCode"),
    "scan": ("protocolName", "measurementID"),
    "pixels": ("GADGETRON_ScaleRatio", "GADGETRON_ScaleOffset", "GADGETRON_SeqDescription"),
}
_DIFFERS_SHOWN = 4


@dataclass(frozen=True)
class Series:
    """The images of one series: pixels (image, channel, z, y, x), and the meta of each."""

    number: int
    data: np.ndarray
    metas: list[dict[str, Any]]


def read_series(path: Path, group: str | None = None) -> list[Series]:
    """Read all series of a reconstruction.

    Parameters
    ----------
    path
        A file as ``onebreath replay`` or ``gadgetron_ismrmrd_client`` writes it.
    group
        Which reconstruction; None: the last one in the file.

    Raises
    ------
    ScanError
        If the file cannot be read or holds no images.
    """
    try:
        with h5py.File(path, "r") as file:
            groups = [name for name, item in file.items() if isinstance(item, h5py.Group) and _series_of(item)]
            if not groups or (group is not None and group not in groups):
                there = f"it has {', '.join(groups)}" if groups else "it holds no images at all"
                raise ScanError(f"{path} has no images{f' in group {group}' if group else ''}; {there}")
            chosen = file[group or groups[-1]]
            return [_read(number, chosen[name]) for number, name in sorted(_series_of(chosen).items())]
    except OSError as error:
        raise ScanError(f"{path} cannot be read: {error}") from error


def _series_of(group: h5py.Group) -> dict[int, str]:
    parts = [(name, name.rpartition("_")[2]) for name in group if name.startswith("image_")]
    return {int(number): name for name, number in parts if number.isdecimal()}


def _read(number: int, stored: h5py.Group) -> Series:
    texts = stored["attributes"].asstr()[:]
    return Series(number, stored["data"][:], [dict(ismrmrd.Meta.deserialize(text)) for text in texts])


def facts_of(series: Series) -> Iterator[tuple[str, str]]:
    """Return the meta entries of a series by section; where images differ, all values that occur."""
    for section, names in _SECTIONS.items():
        for name in names:
            if values := _values(series, name):
                yield section, f"{name.removeprefix('GADGETRON_')}: {values}"
    found = sorted({name for meta in series.metas for name in meta if name.startswith(f"{_PREFIX}_")} - {CHAIN_KEY})
    for name in found:
        _, section, fact = name.split("_", 2)
        yield section, f"{fact.replace('_', ' ')}: {_values(series, name)}"


def _values(series: Series, name: str) -> str:
    values = list(dict.fromkeys(str(meta[name]) for meta in series.metas if name in meta))
    more = f" and {len(values) - _DIFFERS_SHOWN} more" if len(values) > _DIFFERS_SHOWN else ""
    return ", ".join(values[:_DIFFERS_SHOWN]) + more


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath provenance``."""
    parser.add_argument("images", type=Path, help="file of images")
    parser.add_argument("-G", "--group", help="group of the images (default: the last one)")


def run(args: argparse.Namespace) -> int:
    """Print what is known, series by series."""
    for series in read_series(args.images, args.group):
        print(f"series {series.number}: {len(series.data)} images of {series.data.shape[1:]} {series.data.dtype}")
        before = ""
        for section, text in facts_of(series):
            print(f"  {section if section != before else '':12} {text}")
            before = section
    return 0
