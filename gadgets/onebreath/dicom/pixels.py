"""Pixels of instances: 16-bit integers, with slope and intercept of the values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.images.reading import Series

_TOP = 65535


@dataclass(frozen=True)
class Scaled:
    """One part of a series' values as integers.

    Attributes
    ----------
    part
        magnitude, phase, real or imaginary.
    pixels
        (image, z, y, x) uint16.
    slopes, intercepts
        For each image: value = slope * pixel + intercept.
    window
        Centre and width for display, in values.
    """

    part: str
    pixels: NDArray[np.uint16]
    slopes: list[float]
    intercepts: list[float]
    window: tuple[float, float]


def scaled(series: Series) -> list[Scaled]:
    """Parts of a series to store: its pixels if they are uint16, else its values scaled to 16 bits.

    Complex series have two parts, magnitude and phase.

    Raises
    ------
    ScanError
        If pixels are not finite, or there are several channels.
    """
    if series.data.shape[1] != 1:
        raise ScanError(
            f"Series {series.number} has {series.data.shape[1]} channels in each image; DICOM images have one. "
            "Combine the channels in the reconstruction."
        )
    if series.data.dtype == np.uint16:
        lines = [series.rescale(image) for image in range(len(series.data))]
        slopes, intercepts = [slope for slope, _ in lines], [intercept for _, intercept in lines]
        pixels = series.data[:, 0]
        return [Scaled(series.part, pixels, slopes, intercepts, _window(pixels, slopes[0], intercepts[0]))]
    values = np.stack([series.values(image)[0] for image in range(len(series.data))])
    broken = int(np.count_nonzero(~np.isfinite(values)))
    if broken:
        raise ScanError(
            f"{broken} pixels of series {series.number} are NaN or infinite, which DICOM's integers cannot represent."
        )
    if series.part == "complex":
        return [_to_16_bits("magnitude", np.abs(values)), _to_16_bits("phase", np.angle(values))]
    return [_to_16_bits(series.part, values.real)]


def _to_16_bits(part: str, values: NDArray[np.floating]) -> Scaled:
    """Values scaled to the full range of 16 bits, without clipping."""
    low, high = min(0.0, float(values.min())), float(values.max())
    slope = float(f"{(high - low) / _TOP:.9e}") or 1.0
    low = float(f"{low:.9e}")
    pixels = np.rint((values.astype(np.float64) - low) / slope).clip(0, _TOP).astype(np.uint16)
    count = len(pixels)
    return Scaled(part, pixels, [slope] * count, [low] * count, _window(pixels, slope, low))


def _window(pixels: NDArray[np.uint16], slope: float, intercept: float) -> tuple[float, float]:
    low, high = (float(one) * slope + intercept for one in np.percentile(pixels, (0.5, 99.5)))
    return (low + high) / 2, max(high - low, abs(slope))
