"""``onebreath reproduce``: make the images in a file again from the raw data, and compare every bit."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np

from onebreath.chain.chain import build
from onebreath.chain.gadget import usual_order
from onebreath.commands.inspect import own_steps
from onebreath.errors import ScanError
from onebreath.images.belonging import check_belongs
from onebreath.images.reading import Series, read_series
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.meta import CHAIN, meta_texts, read_chain
from onebreath.terminal import steps as counted
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile

Steps = list[tuple[str, dict[str, str]]]

_IDENTITY = (
    "OnebreathCode",
    "OnebreathCommit",
    "Onebreath_reconstruct_method",
    "Onebreath_reconstruct_rule",
    "Onebreath_reconstruct_weights_sha256",
    "Onebreath_reconstruct_fallback",
    "Onebreath_reconstruct_device",
    "Onebreath_reconstruct_convolutions",
    "Onebreath_prewhiten_noise",
)
"""Entries of the meta that explain other pixels."""
PASSING = ("seconds", "memory", "served_by", "process")
"""Words in the names of entries that say how a run went, not what was decided."""
LENGTH = "attribute_string_len"
"""Field of image headers: the length of the meta, in which times are written."""


def steps_of_images(series: list[Series], where: Path) -> Steps:
    """The gadgets and properties that made images, from their meta.

    Raises
    ------
    ScanError
        If the meta does not tell all of them: the images were made by another program, or by gadgets in several nodes.
    """
    steps = read_chain(next((meta for one in series for meta in one.metas if CHAIN in meta), {}))
    order = usual_order()
    if [name for name, _ in steps if name in order] != order:
        raise ScanError(
            f"the images in {where} do not tell the whole configuration that made them (gadgets in nodes of their own "
            "know nothing of each other); name it with -c"
        )
    return steps


def _counted(raw: RawFile) -> Iterator[Any]:
    return counted(raw.messages(), "reconstructing", raw.acquisitions + raw.waveforms, "lines")


def make_again(raw: RawFile, steps: Steps) -> dict[int, list[ismrmrd.Image]]:
    """Send raw data through gadgets; the images by series, in the order in which they come."""
    made: dict[int, list[ismrmrd.Image]] = {}
    for message in build(parse_header(raw.header_xml), steps).run(_counted(raw)):
        if isinstance(message, ismrmrd.Image):
            made.setdefault(int(message.image_series_index), []).append(message)
    return made


def differences(old: Series, new: list[ismrmrd.Image]) -> Iterator[str]:
    """List the differences between stored and newly made images of a series; empty if they are bit-equal."""
    if len(old.data) != len(new):
        yield f"{len(old.data)} images are stored, {len(new)} were made"
    unequal = [
        place
        for place, (stored, made) in enumerate(zip(old.data, new, strict=False))
        if stored.shape != made.data.shape or stored.tobytes() != np.ascontiguousarray(made.data).tobytes()
    ]
    if not unequal:
        return
    yield f"{len(unequal)} of {len(new)} images differ, the first is number {unequal[0]}"
    stored, made = old.data[unequal[0]], new[unequal[0]]
    if stored.shape == made.data.shape and stored.dtype.kind in "fu":
        change = np.abs(stored.astype(float) - made.data.astype(float)).max()
        yield f"largest difference {change:.3g}, of pixels up to {np.abs(stored).max():.3g}"
    yield from explanations(old.metas[unequal[0]], dict(made.meta))


def header_differences(old: Series, new: list[ismrmrd.Image]) -> Iterator[str]:
    """List the fields of image headers that differ, each with its first image; the length of the meta may."""
    kind = old.headers.dtype
    pairs = list(zip(old.headers, (np.frombuffer(image.getHead(), kind)[0] for image in new), strict=False))
    for name in kind.names or ():
        for place, (stored, made) in enumerate(pairs):
            if name != LENGTH and stored[name].tobytes() != made[name].tobytes():
                yield f"{name} in the header of image {place} was {stored[name]}, now it is {made[name]}"
                break


def meta_differences(old: Series, new: list[ismrmrd.Image]) -> Iterator[tuple[str, str]]:
    """List the entries of the meta that differ, each by its name and in words with its first image.

    What goes another way from run to run, or names the software, is left out.
    """
    pairs = [(stored, image.meta) for stored, image in zip(old.metas, new, strict=False)]
    names = dict.fromkeys(name for pair in pairs for meta in pair for name in meta if not _passes(name))
    for name in names:
        for place, (stored, made) in enumerate(pairs):
            was, now = (meta_texts(meta, name) for meta in (stored, made))
            if was != now:
                words = (" ".join(texts) or "nothing" for texts in (was, now))
                yield name, "{} of image {} was {}, now it is {}".format(name, place, *words)
                break


def _passes(name: str) -> bool:
    """Return whether an entry of the meta says how a run went, or by which software, and not what the image is."""
    software = ("OnebreathVersion", "OnebreathCommit", "OnebreathCode")
    return name in software or any(word in name for word in (*PASSING, "noise_kept"))


def _of_making(name: str) -> bool:
    """Return whether an entry of the meta says how the image was made, and not what it is."""
    return name.startswith("Onebreath")


def explanations(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Return the entries of the meta that differ and may explain different pixels."""
    for name in _IDENTITY:
        if old.get(name) != new.get(name):
            yield f"{name} was {old.get(name, 'absent')}, now it is {new.get(name, 'absent')}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath reproduce``."""
    parser.add_argument("images", type=Path, help="file of images")
    parser.add_argument("--raw", type=Path, required=True, help="raw data they were made from, an ISMRMRD HDF5 file")
    parser.add_argument("-g", "--group", default="dataset", help="group of the raw data (default: %(default)s)")
    parser.add_argument("-G", "--images-group", help="group of the images (default: the one made last)")
    parser.add_argument("-c", "--config", help="configuration (default: what the images' meta tells)")


def run(args: argparse.Namespace) -> int:
    """Compare; 0 if every bit of every image is equal, and what header and meta say of them.

    Raises
    ------
    OnebreathError
        If a file cannot be read, the raw data are those of other images, or the scan cannot be reconstructed.
    """
    stored = read_series(args.images, args.images_group)
    steps = own_steps(args.config) if args.config else steps_of_images(stored, args.images)
    with RawFile(args.raw, args.group) as raw:
        check_belongs(stored, raw, ScanHeader(parse_header(raw.header_xml)))
        made = make_again(raw, steps)
    status = 0
    for old in stored:
        new = made.pop(old.number, [])
        found = list(differences(old, new))
        metas = list(meta_differences(old, new))
        told = [*header_differences(old, new), *(words for name, words in metas if not _of_making(name))]
        # Where pixels differ, the explanations name those that matter.
        aside = [] if found else [words for name, words in metas if _of_making(name)]
        shown = "; ".join(found) or f"{len(old.data)} images, equal to the last bit"
        print("\n  ".join([f"series {old.number}: {shown}", *told, *aside]))
        status |= bool(found or told)
    for number, images in made.items():
        print(f"series {number}: {len(images)} images were made, none is stored")
        status = 1
    return status
