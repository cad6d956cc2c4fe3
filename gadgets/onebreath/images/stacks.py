"""The images of a series sorted: one stack of frames for each place (slice, echo, set, ...) of the scan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.images.geometry import Geometry
from onebreath.images.reading import Series
from onebreath.mrd.meta import read_chain

TICK_MS = 2.5
"""Unit of the time stamps of image headers in ms (Siemens), unless the chain was told another (`sort.time_tick`)."""
PLACES = ("slice", "contrast", "set", "average", "repetition")
"""Counters that tell places apart; that of the frames is not among them."""
NAMES = {"contrast": "echo"}
USUAL_FRAME_MS = 60.0
_LONGEST_MS = 5000.0
_DIGITS = 3  # to which directions, and sizes of pixels in mm, agree within a group of slices


@dataclass(frozen=True)
class Stack:
    """The frames of one place.

    Attributes
    ----------
    series
        That the images belong to.
    images
        Index of each frame's image in the series.
    place
        The counters that tell this place from others of the series, by name, counted from 0.
    frame_counter
        What the frames count: ``phase`` or ``repetition``; empty if there is one frame only.
    """

    series: Series
    images: tuple[int, ...]
    place: dict[str, int]
    frame_counter: str

    @property
    def title(self) -> str:
        """The place as a text, counted from 1: "slice 2, echo 1"; empty if the series has one place only."""
        return ", ".join(f"{NAMES.get(name, name)} {value + 1}" for name, value in self.place.items())

    def values(self) -> NDArray[np.generic]:
        """Return the values (frame, z, y, x) of the first channel, in the units of the reconstruction."""
        return np.stack([self.series.values(image)[0] for image in self.images])

    def trigger_ms(self) -> list[float] | None:
        """Return each frame's time since the R-wave in ms, that of the line nearest to the k-space centre.

        None where the stamps do not rise from frame to frame, as those of scans without trigger.
        """
        stamps = self.series.headers["physiology_time_stamp"][list(self.images), 0] * tick_ms(self.series)
        return [float(stamp) for stamp in stamps] if len(stamps) > 1 and np.all(np.diff(stamps) > 0) else None

    def frame_ms(self) -> float:
        """Return the usual distance of the frames in ms; 0 if it is not known.

        It is that of trigger times between cardiac phases, and that of acquisition times between repetitions. Stamps of
        the other kind tell nothing: phases are acquired together, and repetitions start anywhere in the heart beat.
        """
        times: NDArray[np.floating] = np.zeros(0)
        if self.frame_counter == "phase":
            times = np.asarray(self.trigger_ms() or ())
        elif self.frame_counter == "repetition":
            stamps = self.series.headers["acquisition_time_stamp"][list(self.images)].astype(float)
            times = stamps * tick_ms(self.series)
        return max(0.0, float(np.median(np.diff(times)))) if len(times) > 1 else 0.0

    def playing_ms(self) -> float:
        """Return how long a loop shows each frame in ms: its true time, or 60 where that is not known or over 5 s."""
        known = self.frame_ms()
        return known if 0 < known <= _LONGEST_MS else USUAL_FRAME_MS


def tick_ms(series: Series) -> float:
    """Return the unit of the time stamps in ms: what the chain that made the images was told, else 2.5."""
    return tick_of(series.metas[0]) if series.metas else TICK_MS


def tick_of(meta: Mapping[str, Any]) -> float:
    """Return the unit of the time stamps in ms by the meta of an image, as `tick_ms`."""
    try:
        return float(next(properties["time_tick"] for name, properties in read_chain(meta) if name == "sort"))
    except (KeyError, StopIteration, TypeError, ValueError):
        return TICK_MS


def stacks(series: Series) -> list[Stack]:
    """Sort the images of a series into places and frames; every image is in one stack.

    Frames are cardiac phases where the series has several, else repetitions. Images whose counters do not differ are
    frames of the same place, in the order of their numbers.
    """
    heads = series.headers
    frame = next((name for name in ("phase", "repetition") if len(np.unique(heads[name])) > 1), "")
    names = [name for name in PLACES if name != frame and len(np.unique(heads[name])) > 1]
    order = np.lexsort((heads["image_index"], heads[frame or "phase"], *(heads[name] for name in reversed(names))))
    found: dict[tuple[int, ...], list[int]] = {}
    for image in order:
        found.setdefault(tuple(int(heads[name][image]) for name in names), []).append(int(image))
    return [
        Stack(series, tuple(images), dict(zip(names, key, strict=True)), frame or ("image" if len(images) > 1 else ""))
        for key, images in found.items()
    ]


def in_space(series: Series, *, parallel: bool = True) -> list[list[Stack]]:
    """Group the places of a series whose counters other than the slice agree, and sort each group by position.

    The slice's counter tells when a slice was acquired, often every second one first; here they follow each other
    along their normal.

    Parameters
    ----------
    series
        The series.
    parallel
        Whether slices of other directions, or with pixels of another size, are groups of their own.

    Raises
    ------
    ScanError
        If where pixels lie is not known.
    """
    found: dict[tuple[Any, ...], list[tuple[float, Stack]]] = {}
    for stack in stacks(series):
        geometry = Geometry.of(series.headers[stack.images[0]], series.data.shape)
        counters = tuple((name, value) for name, value in stack.place.items() if name != "slice")
        sides = (*geometry.axes.ravel(), *geometry.spacing) if parallel else ()
        key = (counters, tuple(round(float(one), _DIGITS) + 0.0 for one in sides))
        found.setdefault(key, []).append((float(geometry.centre @ geometry.axes[:, 2]), stack))
    return [[stack for _, stack in sorted(group, key=lambda one: one[0])] for group in found.values()]


def alike(stack: Stack) -> int:
    """Return how many images of a stack have the same counters as another of it."""
    counter = stack.frame_counter
    if counter not in ("phase", "repetition"):
        return len(stack.images) if len(stack.images) > 1 else 0
    seen = Counter(int(value) for value in stack.series.headers[counter][list(stack.images)])
    return sum(count for count in seen.values() if count > 1)
