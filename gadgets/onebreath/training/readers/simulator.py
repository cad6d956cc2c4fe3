"""Phantoms as training subjects, one patient per seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from onebreath.simulation.geometry import Grid
from onebreath.simulation.phantom import Phantom
from onebreath.training.data.series import ImageSeries

_FRAMES, _MATRIX, _FOV_MM = 16, (160, 176), (300.0, 340.0)
_FLIP_DEG, _SPOILED_FLIP_DEG = (35.0, 60.0), (8.0, 20.0)
# Heights of the slices along the heart in mm, from apex to base.
_HEIGHTS = (-35.0, -15.0, 5.0)


def phantom_name(seed: int) -> str:
    """Name of the phantom with a seed, as a patient."""
    return f"phantom{seed}"


def phantoms(seeds: Iterable[int], spoiled: bool = False) -> Iterator[ImageSeries]:
    """Yield three slices of the beating heart of each of several phantoms.

    Parameters
    ----------
    seeds
        Seeds of the phantoms, see `phantom_name`.
    spoiled
        The contrast of a spoiled gradient echo (flip angles of 8 to 20 degrees), in place of balanced SSFP (35 to 60).
    """
    pixel = (_FOV_MM[0] / _MATRIX[0], _FOV_MM[1] / _MATRIX[1])
    for seed in seeds:
        rng = np.random.default_rng([seed, 6])
        flip = float(rng.uniform(*(_SPOILED_FLIP_DEG if spoiled else _FLIP_DEG)))
        phantom = Phantom(Grid(_MATRIX, pixel), flip_deg=flip, seed=seed, spoiled=spoiled)
        for index, height in enumerate(_HEIGHTS):
            height += float(rng.uniform(-6, 6))
            images = np.stack([phantom.draw(height, frame / _FRAMES) for frame in range(_FRAMES)])
            yield ImageSeries(phantom_name(seed), f"slice{index}", images.astype(np.complex64), pixel)
