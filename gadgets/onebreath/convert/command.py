"""The ``onebreath convert`` command: images as PNG, GIF, MP4 or NIfTI files."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onebreath.convert.nifti import volumes, write_nifti
from onebreath.convert.pictures import shown, sides, write_gif, write_mp4, write_png
from onebreath.errors import ConfigError, ScanError
from onebreath.images.completeness import warn_if_incomplete
from onebreath.images.geometry import Geometry
from onebreath.images.reading import Series, images_of
from onebreath.images.stacks import USUAL_FRAME_MS, Stack, stacks
from onebreath.images.upright import stood_up
from onebreath.mrd.meta import upper_end
from onebreath.optional import required
from onebreath.options import folder, folder_beside, positive
from onebreath.terminal import steps
from onebreath.wire.outputs import earlier, remove

FORMATS = ("png", "gif", "mp4", "nifti")
_NEEDED = {"png": ("PIL", "report"), "gif": ("PIL", "report"), "mp4": ("av", "video"), "nifti": ("nibabel", "report")}

_NAMES = tuple(f"series[0-9]*_*.{ending}" for ending in ("png", "gif", "mp4", "nii.gz"))
"""What its files are called."""
_NO_TIME = "the time between its frames is not known"

_EXACT_MM = 1e-3
"""What positions may differ by rounding."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``onebreath convert``."""
    parser.add_argument("images", type=Path, help="file of images, as written by onebreath replay")
    parser.add_argument("-o", "--output", type=folder, help="folder (default: named after the images, next to them)")
    parser.add_argument(
        "-f", "--format", default="nifti", help=f"{', '.join(FORMATS)}; comma-separated (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="remove what an earlier call left in the folder first")
    parser.add_argument("-G", "--group", help="group of the images (default: the one made last)")
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values shown black and white in PNG, GIF and MP4 (default: 0 and the 99.5th percentile)",
    )
    parser.add_argument(
        "--zoom", type=positive, default=2.0, help="screen pixels per smaller side of a pixel (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Write all files and print their paths; returns the exit status."""
    formats = [name.strip() for name in args.format.split(",")]
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"There is no format '{name}'; there are {', '.join(FORMATS)}.")
        module, extra = _NEEDED[name]
        required(module, extra, name.upper())
    if args.window and not (all(map(math.isfinite, args.window)) and args.window[0] < args.window[1]):
        raise ConfigError(f"--window {args.window[0]:g} {args.window[1]:g}: LOW and HIGH are numbers, LOW below HIGH.")
    output = args.output or folder_beside(args.images)
    found_there = earlier(output, _NAMES, args.overwrite)
    warn_if_incomplete(args.images, args.group)
    with images_of(args.images, args.group) as found:
        for series in found:
            _check_channels(series)
            if set(formats) - {"nifti"}:
                sides(Geometry.of(series.headers[0], series.data.shape), args.zoom)  # before files of before are gone
        remove(found_there)
        output.mkdir(exist_ok=True)
        for series in found:
            if "nifti" in formats:
                for path in _nifti(series, output):
                    print(path)
            if set(formats) - {"nifti"}:
                for path in _pictures(series, output, formats, args):
                    print(path)
    return 0


def _check_channels(series: Series) -> None:
    """Raise ScanError for images of several channels, of which all formats have one."""
    if series.data.shape[1] > 1:
        raise ScanError(
            f"Series {series.number} has {series.data.shape[1]} channels in each image; files of other programs have "
            "one. Combine the channels in the reconstruction."
        )


def _nifti(series: Series, output: Path) -> Iterator[Path]:
    comment = ", ".join(series.said("GADGETRON_ImageComment"))
    remarks: set[str] = set()
    for volume in volumes(series):
        path = output / f"{_stem(series)}{f'_{volume.name}' if volume.name else ''}.nii.gz"
        write_nifti(volume, path, comment)
        if volume.remark and volume.remark not in remarks:
            remarks.add(volume.remark)
            print(f"series {series.number}: each slice has its own file, as {volume.remark}")
        if volume.off_mm > _EXACT_MM:
            print(
                f"series {series.number}: slices or frames do not lie exactly on the grid of {path.name}; pixels are "
                f"up to {volume.off_mm:.2g} mm off"
            )
        if volume.shape[3] > 1 and not volume.frame_ms and _NO_TIME not in remarks:
            remarks.add(_NO_TIME)
            print(f"series {series.number}: {_NO_TIME}; NIfTI says 0")
        yield path


def _pictures(series: Series, output: Path, formats: list[str], args: argparse.Namespace) -> Iterator[Path]:
    places = [(stack, z) for stack in stacks(series) for z in range(series.data.shape[2])]
    window = tuple(args.window) if args.window else _window(series, places)
    print(f"series {series.number}: black is {window[0]:.4g}, white {window[1]:.4g}")
    if {"gif", "mp4"} & set(formats):
        for text in dict.fromkeys(_other_speed(stack) for stack, _ in places if len(stack.images) > 1):
            if text:
                print(f"series {series.number}: {text}; loops show each for {USUAL_FRAME_MS:g} ms")
    lost = 0
    for stack, z in steps(places, f"series {series.number}", unit="places"):
        values = _values(stack, z)
        lost += int(np.count_nonzero(np.isnan(values)))
        geometry = Geometry.of(series.headers[stack.images[0]], series.data.shape)
        turn, seen = stood_up(geometry)
        frames = shown(turn.pixels(values), window, seen, args.zoom)
        counters = "".join(f"_{name}{value}" for name, value in stack.place.items())
        stem = f"{_stem(series)}{counters}{f'_z{z}' if geometry.size[2] > 1 else ''}"
        texts = {"Window": f"{window[0]:.9g} {window[1]:.9g}", "Warning": "Not for diagnosis."}
        if "png" in formats:
            for number, frame in enumerate(frames):
                path = output / f"{stem}_frame{number:03d}.png"
                write_png(frame, path, texts)
                yield path
        if "gif" in formats:
            write_gif(frames, output / f"{stem}.gif", stack.playing_ms())
            yield output / f"{stem}.gif"
        if "mp4" in formats:
            write_mp4(frames, output / f"{stem}.mp4", stack.playing_ms())
            yield output / f"{stem}.mp4"
    if lost:
        print(f"series {series.number}: {lost} pixels hold no number (NaN) and are black")


def _other_speed(stack: Stack) -> str:
    """Return why a loop does not play at its true speed; empty if it does."""
    known = stack.frame_ms()
    if known == stack.playing_ms():
        return ""
    return f"its frames are {known:g} ms apart" if known else _NO_TIME


def _values(stack: Stack, z: int) -> np.ndarray:
    """Return the real values (frame, y, x) of one slice of a place; the magnitude of complex images."""
    frames = [stack.series.picture(image, z) for image in stack.images]
    is_complex = stack.series.part == "complex"
    return np.stack([np.asarray(np.abs(one) if is_complex else one.real, np.float32) for one in frames])


def _window(series: Series, places: list[tuple[Stack, int]]) -> tuple[float, float]:
    """Return the values shown black and white, by all finite ones; one place at a time is in memory."""
    if series.part == "phase":
        return (-np.pi, np.pi)
    low, usual, most = 0.0, [], []
    for stack, z in steps(places, "looking at all values", unit="places"):
        values = _values(stack, z)
        finite = values[np.isfinite(values)]
        if finite.size:
            low = min(low, float(finite.min()))
            usual.append(float(np.percentile(finite, 99.5)))
            most.append(float(finite.max()))
    return low, upper_end(low, max(usual, default=low), max(most, default=low))


def _stem(series: Series) -> str:
    name = series.role if series.part == "magnitude" else f"{series.role}_{series.part}"
    return f"series{series.number}_{re.sub(r'[^A-Za-z0-9]+', '_', name)}"
