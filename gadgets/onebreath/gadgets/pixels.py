"""Pixels of images: a part of complex values, and integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def take_part(values: NDArray[np.complex64], part: str) -> NDArray[Any]:
    """Return the magnitude, phase (radians), real or imaginary part, or the complex values themselves."""
    if part == "magnitude":
        return np.abs(values)
    if part == "phase":
        return np.angle(values)
    if part in ("real", "imaginary"):
        return np.ascontiguousarray(values.real if part == "real" else values.imag)
    return values


def to_uint16(
    values: NDArray[np.float32], ratio: float, offset: float, largest: int, *, turns: bool = False
) -> tuple[NDArray[np.uint16], int]:
    """Scale to integers; return them and the number of values clipped to 0..`largest`.

    Where `turns`, `largest` + 1 steps are a full turn, so that the pixel one step beyond the largest is 0.
    """
    scaled = np.rint(values * ratio + offset)
    if turns:
        scaled[scaled == largest + 1] = 0
    clipped = int(np.count_nonzero((scaled < 0) | (scaled > largest)))
    return np.clip(scaled, 0, largest).astype(np.uint16), clipped
