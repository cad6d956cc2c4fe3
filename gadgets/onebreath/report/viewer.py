"""Data of the page's viewers: pixels of each series as compressed integers, with sizes, units and windows."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.evaluation.figures.pictures import most_moving_row
from onebreath.images.geometry import Geometry
from onebreath.images.reading import Series
from onebreath.images.stacks import Stack, alike, stacks
from onebreath.images.upright import Turn, stood_up
from onebreath.mrd.meta import upper_end
from onebreath.optional import required
from onebreath.report.facts import Facts

BUDGET = 48 << 20
"""Largest size of the pixels in bytes before compression; a larger scan has fewer grey levels, or fewer places."""
SHADES = {"grey": "gray", "map": "viridis", "phase": "twilight"}
"""Matplotlib's colour map of each kind of picture."""
TITLES = {
    "Image": "Images",
    "Gfactor": "g-factor",
    "SNR_MAP": "SNR",
    "Normality": "Normality of the noise",
    "STD_MAP": "Noise: standard deviation",
    "Error_MAP": "Error: 90 % bound",
}
UNITS = {
    "Gfactor": "g",
    "SNR_MAP": "SNR",
    "Normality": "statistic / 5 % limit",
    "STD_MAP": "standard deviation",
    "Error_MAP": "error",
}


@dataclass(frozen=True)
class Place:
    """One slice or partition of a picture, upright.

    Attributes
    ----------
    name, stack
        Its name, and the images that it is of.
    turn, geometry
        How it was turned, and where it is since.
    values
        (frame, y, x)
    """

    name: str
    stack: Stack
    turn: Turn
    geometry: Geometry
    values: NDArray[Any]


@dataclass(frozen=True)
class Picture:
    """One viewer: frames of all places of a series, one part of their values.

    Attributes
    ----------
    series, title, units, shade
        Series number, title, units, and a key of `SHADES`.
    places
        What it shows.
    remarks
        Remarks on omitted or combined parts.
    """

    series: int
    title: str
    units: str
    shade: str
    places: list[Place]
    remarks: list[str]

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return sum(place.values.size for place in self.places)


def pictures(found: list[Series]) -> list[Picture]:
    """Pictures of all series: images first, then maps."""
    made = [picture for series in found for picture in _of_series(series)]
    return sorted(made, key=lambda one: (one.shade == "map", one.series))


def _of_series(series: Series) -> Iterator[Picture]:
    role, part, facts = series.role, series.part, Facts(series.metas)
    sorted_stacks = stacks(series)
    remarks = []
    if joined := sum(alike(stack) for stack in sorted_stacks):
        remarks.append(f"{joined} images have the counters of another image; they are shown one after another.")
    if (channels := series.data.shape[1]) > 1:
        remarks.append(f"The images have {channels} channels; the first is shown.")
    places = [place for stack in sorted_stacks for place in _places(stack)]
    title = TITLES.get(role, role)
    whitened = facts.fact("prewhiten", "whitened")
    units = UNITS.get(role) or ("SNR units" if whitened == "True" else "arbitrary units")
    shade = "map" if role in UNITS or role not in TITLES else "grey"
    picture = Picture(series.number, title, units, shade, [], remarks)
    if part == "complex":
        yield replace(picture, title=f"{title}, magnitude", places=_with(places, np.abs))
    if part in ("complex", "phase"):
        values = _with(places, np.angle) if part == "complex" else _with(places, np.real)
        yield replace(picture, title=f"{title}, phase", units="rad", shade="phase", places=values)
    elif part != "complex":
        yield replace(
            picture, title=title if part == "magnitude" else f"{title}, {part} part", places=_with(places, np.real)
        )


def _places(stack: Stack) -> Iterator[Place]:
    """Yield the slice of a place, or the partitions of a volume."""
    values = stack.values()
    turn, geometry = stood_up(Geometry.of(stack.series.headers[stack.images[0]], values.shape))
    for z in range(values.shape[1]):
        names = [stack.title, f"partition {z + 1}" if values.shape[1] > 1 else ""]
        name = ", ".join(name for name in names if name) or "the only slice"
        yield Place(name, stack, turn, geometry, turn.pixels(values[:, z]))


def _with(places: list[Place], part: Any) -> list[Place]:
    return [replace(place, values=np.asarray(part(place.values), np.float32)) for place in places]


def encoded(made: list[Picture], budget: int = BUDGET) -> list[dict[str, Any]]:
    """Input of the page's script for each picture, as plain values for JSON.

    Pixels are 16-bit integers between the smallest and the largest value; 8-bit integers if there are too many, and an
    even selection of places if there are still too many, each with a remark.
    """
    total = sum(picture.pixels for picture in made)
    levels = 16 if 2 * total <= budget else 8
    share = 1.0 if total * levels // 8 <= budget else budget / total
    return [_encoded(picture, levels, share) for picture in made]


def _encoded(picture: Picture, levels: int, share: float) -> dict[str, Any]:
    count = len(picture.places)
    shown = max(1, math.floor(count * share))
    chosen = np.unique(np.linspace(0, count - 1, shown).round().astype(int))
    places = [picture.places[index] for index in chosen]
    remarks = list(picture.remarks)
    if len(places) < count:
        remarks.append(f"{len(places)} of {count} places are shown, evenly chosen: all would make the page too large.")
    if levels == 8:
        remarks.append("Pixels are shown in 256 levels: more would make the page too large.")
    sample = np.concatenate([place.values.ravel() for place in places])
    finite = sample[np.isfinite(sample)]
    if finite.size < sample.size:
        remarks.append(f"{sample.size - finite.size} pixels are NaN or infinite; they are shown as the smallest value.")
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    high = upper_end(low, high)
    return {
        "series": picture.series,
        "title": picture.title,
        "units": picture.units,
        "shade": picture.shade,
        "levels": levels,
        "low": low,
        "high": high,
        "window": _window(picture.shade, finite),
        "remarks": remarks,
        "places": [_place(place, low, high, levels) for place in places],
    }


def _window(shade: str, values: NDArray[np.float32]) -> list[float]:
    """Lower and upper end of a picture's initial window."""
    if shade == "phase" or not values.size:
        return [-math.pi, math.pi]
    low, high = (float(one) for one in np.percentile(values, (0.5, 99.5)))
    low = min(low, 0.0) if shade == "grey" else math.floor(min(low, 1.0))
    return [low, upper_end(low, high, float(values.max()))]


def _place(place: Place, low: float, high: float, levels: int) -> dict[str, Any]:
    geometry, stack, values = place.geometry, place.stack, place.values
    top = 2**levels - 1
    scaled = np.nan_to_num((values.astype(np.float64) - low) / (high - low), nan=0.0, posinf=0.0, neginf=0.0)
    stored = np.rint(scaled.clip(0, 1) * top).astype("<u2" if levels == 16 else "u1")
    return {
        "name": place.name,
        "nx": values.shape[2],
        "ny": values.shape[1],
        "mm": list(geometry.spacing[:2]),
        "ends": geometry.ends(),
        "turn": place.turn._asdict(),
        "counter": stack.frame_counter,
        "frames": len(values),
        "trigger": stack.trigger_ms(),
        "frame_ms": stack.playing_ms(),
        "row": most_moving_row(values),
        "pixels": base64.b64encode(zlib.compress(stored.tobytes(), 6)).decode("ascii"),
    }


def shades() -> dict[str, str]:
    """256 colours of each kind of picture, as 768 bytes in base64."""
    colormaps = required("matplotlib", "report", "A report").colormaps
    ramp = np.linspace(0, 1, 256)
    return {
        kind: base64.b64encode((colormaps[name](ramp)[:, :3] * 255).round().astype(np.uint8).tobytes()).decode("ascii")
        for kind, name in SHADES.items()
    }
