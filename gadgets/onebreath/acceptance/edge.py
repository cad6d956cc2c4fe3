"""Response to the edge of a round phantom: edge spread, line spread, modulation transfer.

The edge of a disc runs through the pixels at every angle, so that it is sampled far finer than they are, as a slanted
edge is (ISO 12233; for discs S. Richard et al., Med Phys 39:4115 (2012)). Parts of the edge that face the readout give
the response along it, those that face the phase encoding direction the one along that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from onebreath.errors import ScanError
from onebreath.optional import required

_FINE = 8
"""Points of the line spread in a pixel."""
_REACH = 8
"""Pixels on either side of the edge that are looked at."""
_FLAT = 5
"""Pixels from the edge from which on the signal counts as that of the inside, or of the air."""
_KERNELS = (0.2, 0.28, 0.4)
"""Standard deviations in pixels of the Gaussian that the line spread is smoothed by, the first that finds pixels enough
everywhere; its effect is taken off again."""
_LEAST_PIXELS = 3.0
_KERNEL_SHARE = 0.2
"""The same for its width at half height, as a share of that width."""
_TO_FWHM = 2 * float(np.sqrt(2 * np.log(2)))
_SHADED = 10
"""Pixels inside `_FLAT` from which the shading of the coils is told, to be taken off up to the edge."""
_SECTOR = 22.0
"""Degrees on either side of an axis in which an edge counts as facing it."""
_PARTS = 4
"""Parts of a sector, each aligned by itself, so that an outline that is not quite round does not blur it."""
_ROUND = 0.75
"""Distance in pixels within which the outline lies on a circle."""
_ROUND_SHARE = 0.6
"""Least part of the outline that does so in a round phantom, which may stand on a support."""


@dataclass(frozen=True)
class Disc:
    """A round phantom: centre (y, x) in mm from the first pixel's centre, and radius in mm."""

    centre: tuple[float, float]
    radius: float

    def polar(
        self, shape: tuple[int, ...], pixel_mm: tuple[float, float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return distance from the edge in mm, inside negative, and angle in rad from x towards y (y, x)."""
        y = np.arange(shape[0])[:, None] * pixel_mm[0] - self.centre[0]
        x = np.arange(shape[1])[None] * pixel_mm[1] - self.centre[1]
        return np.hypot(y, x) - self.radius, np.arctan2(y, x + 0 * y)


@dataclass(frozen=True)
class EdgeResponse:
    """Response along one axis.

    Attributes
    ----------
    fwhm_mm
        Width of the line spread at half its height.
    error_mm
        Its standard error, by leaving out parts of the edge.
    mtf50
        Frequency at which the MTF is 0.5, in cycles per mm.
    distance_mm, spread
        Edge spread: distance from the edge (n,), and signal from 1 (inside) to 0.
    frequency, mtf
        In cycles per mm.
    """

    fwhm_mm: float
    error_mm: float
    mtf50: float
    distance_mm: NDArray[np.float64]
    spread: NDArray[np.float64]
    frequency: NDArray[np.float64]
    mtf: NDArray[np.float64]


def find_disc(image: NDArray[np.floating], pixel_mm: tuple[float, float]) -> Disc:
    """Fit a circle to the outline at half height of an image (y, x).

    Raises
    ------
    ScanError
        If there is none: the object is no round phantom.
    """
    measure = required("skimage.measure", "report", "The resolution test")
    inside = np.median(image[image > 0.5 * np.percentile(image, 95)])
    outlines = measure.find_contours(image, 0.5 * inside)
    if not outlines:
        raise ScanError("the image has no outline")
    points = max(outlines, key=len) * np.asarray(pixel_mm)
    found, share = _circle(points, _ROUND * min(pixel_mm))
    around = share * len(points) * float(np.mean(pixel_mm)) / max(found.radius, 1e-9)
    if share < _ROUND_SHARE or around < 3 or found.radius < (_FLAT + _SHADED) * max(pixel_mm):
        raise ScanError(f"the outline is no circle ({share:.0%} of it lie on the nearest one), so no round phantom")
    return found


def _circle(points: NDArray[np.float64], near: float) -> tuple[Disc, float]:
    """Fit a circle to points (point, yx), and again to those that lie near it; return it and their share."""
    good = np.ones(len(points), bool)
    limit = np.inf
    for _ in range(30):
        y, x = points[good].T
        # A circle is linear in its centre and in r^2 - |centre|^2.
        solved = np.linalg.lstsq(np.stack([2 * y, 2 * x, np.ones(len(y))], axis=1), y**2 + x**2, rcond=None)[0]
        radius = float(np.sqrt(max(solved[2] + solved[0] ** 2 + solved[1] ** 2, 0.0)))
        away = np.abs(np.hypot(points[:, 0] - solved[0], points[:, 1] - solved[1]) - radius)
        limit = max(near, min(0.9 * limit, 2 * float(np.median(away[good]))))
        before, good = good, away <= limit
        if good.sum() < 3 or (limit == near and np.array_equal(before, good)):
            break
    return Disc((float(solved[0]), float(solved[1])), radius), float(np.mean(away <= near))


def edge_response(image: NDArray[np.floating], pixel_mm: tuple[float, float], disc: Disc, axis: int) -> EdgeResponse:
    """Measure the response along an axis of an image (y, x): 0 is y, 1 is x.

    Raises
    ------
    ScanError
        If the edge lies too near to the end of the image.
    """
    pixel = pixel_mm[axis]
    distance, angle = disc.polar(image.shape, pixel_mm)
    towards = np.degrees(angle) - (90 if axis == 0 else 0)
    pieces = []
    for side in (0, 180):
        turned = (towards - side + 180) % 360 - 180
        for part in range(_PARTS):
            low = -_SECTOR + 2 * _SECTOR * part / _PARTS
            chosen = (
                (distance > -(_FLAT + _SHADED) * pixel)
                & (distance < (_REACH + 1) * pixel)
                & (turned >= low)
                & (turned < low + 2 * _SECTOR / _PARTS)
            )
            piece = _aligned(distance[chosen], image[chosen], pixel)
            if piece is not None:  # None also where the phantom stands on its support
                pieces.append(piece)
    if len(pieces) < _PARTS:
        raise ScanError("too little of the edge lies inside the image")
    places = np.arange(-_REACH * pixel, _REACH * pixel + pixel / _FINE / 2, pixel / _FINE)
    finest = _kernel(pieces, places, pixel)
    line = _line_spread(pieces, places, finest)
    kernel = max(_KERNEL_SHARE * _width(places, line, finest), finest)
    width = _width(places, _line_spread(pieces, places, kernel), kernel)
    left_out = [_width(places, _line_spread(_without(pieces, n), places, kernel), kernel) for n in range(len(pieces))]
    count = len(left_out)
    error = float(np.sqrt((count - 1) / count * np.sum((np.array(left_out) - np.mean(left_out)) ** 2)))
    frequency, mtf = _transfer(line, pixel, max(3 * width, _FLAT * pixel), finest)
    below = np.flatnonzero(mtf < 0.5)
    mtf50 = float("nan")
    if below.size and below[0]:
        first = below[0]
        mtf50 = float(np.interp(0.5, mtf[[first, first - 1]], frequency[[first, first - 1]]))
    spread = 1 - np.cumsum(line) * pixel / _FINE
    return EdgeResponse(width, error, mtf50, places, spread, frequency, mtf)


Piece: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64]]"
"""Distance from the edge, and signal from 1 to 0, of the pixels at a part of it."""


def _without(pieces: list[Piece], number: int) -> list[Piece]:
    return pieces[:number] + pieces[number + 1 :]


def _aligned(distance: NDArray[np.float64], values: NDArray[np.floating], pixel: float) -> Piece | None:
    """Return distance from where the signal is half, and signal from 1 to 0, of a part of the edge."""
    inside, outside = distance < -_FLAT * pixel, distance > _FLAT * pixel
    if inside.sum() < 6 or outside.sum() < 3:
        return None
    # Coils make the object brighter towards its edge: a parabola through the inside is its signal.
    dark = float(np.median(values[outside]))
    bright = np.polyval(np.polyfit(distance[inside], values[inside], 2), np.minimum(distance, 0.0))
    if bright.min() <= dark:
        return None
    scaled = (values - dark) / (bright - dark)
    # What lies under the edge, as the height of a step: the integral does not care how blurred it is.
    near = np.abs(distance) < _FLAT * pixel
    order = np.argsort(distance[near])
    where, height = distance[near][order], scaled[near][order]
    if where.size < 6:
        return None
    area = float(trapezoid(height, where))
    if abs(where[0] + area) > 2 * pixel:  # this part of the outline is not the circle's
        return None
    kept = distance > -(_REACH + 2) * pixel
    return (distance - (where[0] + area))[kept], np.asarray(scaled[kept], np.float64)


def _weights(
    pieces: list[Piece], places: NDArray[np.float64], kernel: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return signal (pixel,), distance of each pixel from each place and its weight there (place, pixel)."""
    distance, values = (np.concatenate(part) for part in zip(*pieces, strict=True))
    away = distance[None] - places[:, None]
    return values, away, np.exp(-((away / kernel) ** 2) / 2)


def _kernel(pieces: list[Piece], places: NDArray[np.float64], pixel: float) -> float:
    """Return the finest kernel in mm that finds pixels enough at every place."""
    for kernel in _KERNELS:
        if _weights(pieces, places, kernel * pixel)[2].sum(axis=1).min() >= _LEAST_PIXELS:
            return kernel * pixel
    raise ScanError("the edge is too short for its response to be sampled")


def _line_spread(pieces: list[Piece], places: NDArray[np.float64], kernel: float) -> NDArray[np.float64]:
    """Return the line spread at places: minus the slope of a line fitted with Gaussian weights.

    That is the line spread convolved with the Gaussian, exactly (E[u f(u)] = var(u) E[f'(u)] for Gaussian u).
    """
    values, away, weight = _weights(pieces, places, kernel)
    total = np.maximum(weight.sum(axis=1), 1e-6)
    mean = (weight * away).sum(axis=1) / total
    variance = np.maximum((weight * away**2).sum(axis=1) / total - mean**2, 1e-6 * kernel**2)
    height = (weight * values).sum(axis=1) / total
    return np.asarray(-((weight * away * values).sum(axis=1) / total - mean * height) / variance)


def _width(places: NDArray[np.float64], line: NDArray[np.float64], kernel: float) -> float:
    """Width of the line spread at half its height in mm, without what the kernel added."""
    middle = len(line) // 2
    window = slice(middle // 2, middle + middle // 2 + 1)
    peak = window.start + int(np.argmax(line[window]))
    half = float(line[peak]) / 2
    right = next((n for n in range(peak, len(line) - 1) if line[n + 1] < half), None)
    left = next((n for n in range(peak, 0, -1) if line[n - 1] < half), None)
    if right is None or left is None:
        raise ScanError(f"the edge is blurred over more than {_REACH} pixels")
    step = places[1] - places[0]
    after = right + (line[right] - half) / (line[right] - line[right + 1])
    before = left - (line[left] - half) / (line[left] - line[left - 1])
    return float(np.sqrt(max(((after - before) * step) ** 2 - (_TO_FWHM * kernel) ** 2, 0.0)))


def _transfer(line: NDArray[np.float64], pixel: float, wide: float, kernel: float) -> Piece:
    """Return frequencies in cycles per mm and the MTF up to 1 / pixel.

    Only what lies within `wide` of the edge counts in full; beyond it the line spread is noise, and fades out.
    """
    step = pixel / _FINE
    away = np.abs(np.arange(len(line)) - len(line) // 2) * step
    end = len(line) // 2 * step
    fading = np.clip((away - min(wide, 0.8 * end)) / (end - min(wide, 0.8 * end)), 0, 1)
    size = 16 * len(line)
    frequency = np.asarray(np.fft.rfftfreq(size, step), np.float64)
    shown = frequency <= 1 / pixel
    transfer = np.abs(np.fft.rfft(line * (0.5 + 0.5 * np.cos(np.pi * fading)), size))[shown]
    transfer = transfer / transfer[0] / np.exp(-2 * (np.pi * kernel * frequency[shown]) ** 2)
    return frequency[shown], np.asarray(transfer, np.float64)
