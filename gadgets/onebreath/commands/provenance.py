"""``onebreath provenance``: print how the images in a file were made, from their meta."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from onebreath.images.reading import Series, read_series
from onebreath.mrd.meta import CHAIN
from onebreath.names import abridged, harmless

_PREFIX = "Onebreath"
_SECTIONS = {
    "software": ("OnebreathVersion", "OnebreathCommit", "OnebreathCode"),
    "scan": ("protocolName", "measurementID"),
    "pixels": ("GADGETRON_ScaleRatio", "GADGETRON_ScaleOffset", "GADGETRON_SeqDescription"),
}
_DIFFERS_SHOWN = 4


def facts_of(series: Series) -> Iterator[tuple[str, str]]:
    """Return the meta entries of a series by section; where images differ, all values that occur."""
    for section, names in _SECTIONS.items():
        for name in names:
            if values := _values(series, name):
                yield section, f"{name.removeprefix('GADGETRON_')}: {values}"
    found = sorted({name for meta in series.metas for name in meta if name.startswith(f"{_PREFIX}_")} - {CHAIN})
    for name in found:
        section, _, fact = name.removeprefix(f"{_PREFIX}_").partition("_")
        yield section, f"{fact.replace('_', ' ')}: {_values(series, name)}" if fact else _values(series, name)


def _values(series: Series, name: str) -> str:
    values = list(dict.fromkeys(str(meta[name]) for meta in series.metas if name in meta))
    return abridged(values, _DIFFERS_SHOWN)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath provenance``."""
    parser.add_argument("images", type=Path, help="file of images")
    parser.add_argument("-G", "--group", help="group of the images (default: the one made last)")


def run(args: argparse.Namespace) -> int:
    """Print what is known, series by series."""
    for series in read_series(args.images, args.group):
        print(f"series {series.number}: {len(series.data)} images of {series.data.shape[1:]} {series.data.dtype}")
        before = ""
        for section, text in facts_of(series):
            print(f"  {section if section != before else '':12} {harmless(text).replace(chr(10), ' ')}")
            before = section
    return 0
