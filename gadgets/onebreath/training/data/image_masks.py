"""Mask families of MR-IPT for single images, with exact counts.

Four types: random and equispaced lines, lines with a Gaussian density, and points with a Gaussian density. The fully
sampled centre is included in the count, so R is the number of samples of the matrix divided by those acquired. Lines
run along x, as everywhere here; the released code draws columns.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from onebreath.errors import ConfigError

ImageMask = Literal["random", "equispaced", "gaussian_1d", "gaussian_2d"]
IMAGE_MASKS: tuple[ImageMask, ...] = get_args(ImageMask)

# Lines with a Gaussian density are drawn in groups of 2, points in patches of 4 x 4.
_LINE_PATCH, _POINT_PATCH = 2, 4
# In the released code the matrix covers three units to either side of a Gaussian of variance 1 (lines) or 1.5 (points).
_LINE_WIDTH, _POINT_WIDTH = 1 / 6, np.sqrt(1.5) / 6


def centre_fraction(acceleration: float) -> float:
    """Fraction of the lines that is fully sampled around the centre.

    The paper's table (0.10, 0.08, 0.06, 0.04, 0.02 for R = 2, 4, 6, 8, 10) is linear in R, and is extended linearly.
    """
    return max(0.12 - 0.01 * acceleration, 0.0)


def image_mask(
    kind: ImageMask,
    shape: tuple[int, int],
    acceleration: float,
    rng: np.random.Generator,
    fraction: float | None = None,
    official_equispaced: bool = False,
) -> np.ndarray:
    """Random mask of one type.

    Parameters
    ----------
    kind
        Type of the mask.
    shape
        ``(y, x)`` of the matrix.
    acceleration
        Samples of the matrix over samples of the mask; the mask has ``round(samples / R)`` of them (or as many lines).
    rng
        Random numbers.
    fraction
        Fraction of the lines, or for points of the samples, in the fully sampled centre; None: `centre_fraction`.
    official_equispaced
        Equispaced as released: evenly spaced lines are omitted rather than acquired, so that the acquired lines are not
        evenly spaced, and nothing is random.

    Returns
    -------
    numpy.ndarray
        ``(y, 1)`` bool, or ``(y, x)`` for points.

    Raises
    ------
    ConfigError
        If the type is unknown, or the centre alone has more samples than R allows.
    """
    if kind not in IMAGE_MASKS:
        raise ConfigError(f"there is no mask type '{kind}'; known are {', '.join(IMAGE_MASKS)}")
    fraction = centre_fraction(acceleration) if fraction is None else fraction
    grid = shape if kind == "gaussian_2d" else (shape[0], 1)
    centre = _centre(grid, fraction)
    missing = round(centre.size / acceleration) - int(centre.sum())
    if acceleration < 1 or missing < 0:
        raise ConfigError(
            f"a {kind} mask of {centre.sum()} fully sampled of {centre.size} does not allow R={acceleration:g}; "
            "lower the centre fraction or the acceleration"
        )
    if kind == "equispaced":
        return _equispaced(centre, missing, rng, official_equispaced)
    return _drawn(kind, centre, missing, rng)


def _centre(grid: tuple[int, int], fraction: float) -> np.ndarray:
    """Fully sampled block: a fraction of the lines, or for points a rectangle with that fraction of the area."""
    part = fraction if grid[1] == 1 else np.sqrt(fraction)
    mask = np.zeros(grid, bool)
    window = []
    for size in grid:
        length = 1 if size == 1 else round(size * part)
        first = size // 2 - length // 2
        window.append(slice(first, first + length))
    mask[tuple(window)] = True
    return mask


def _equispaced(centre: np.ndarray, missing: int, rng: np.random.Generator, official: bool) -> np.ndarray:
    """Evenly spaced lines outside the centre, with a random start; `official`: all but evenly spaced ones."""
    outside = np.flatnonzero(~centre)
    mask = centre.copy()
    if official:
        removed = np.linspace(0, len(outside) - 1, len(outside) - missing).round().astype(int)
        mask[outside] = True
        mask[outside[removed]] = False
    elif missing:
        step = len(outside) / missing
        mask[outside[(rng.uniform(0, step) + step * np.arange(missing)).astype(int)]] = True
    return mask


def _drawn(kind: ImageMask, centre: np.ndarray, missing: int, rng: np.random.Generator) -> np.ndarray:
    """Random patches without replacement until the count is reached; the last patch may be incomplete."""
    y, x = (np.arange(size) for size in centre.shape)
    patch = {"random": 1, "gaussian_1d": _LINE_PATCH, "gaussian_2d": _POINT_PATCH}[kind]
    rows, columns = y // patch, x // patch
    # Sorting by log(weight) + Gumbel noise is equivalent to weighted sampling without replacement.
    rank = rng.gumbel(size=(rows[-1] + 1, columns[-1] + 1))
    if kind != "random":
        width = _LINE_WIDTH if kind == "gaussian_1d" else _POINT_WIDTH
        distance = [_distance(size, patch) for size in centre.shape]
        rank -= 0.5 * (distance[0][:, None] ** 2 + distance[1] ** 2) / width**2
    order = np.argsort(-rank[rows[:, None], columns], axis=None, kind="stable")
    order = order[~centre.ravel()[order]]
    mask = centre.copy()
    mask.ravel()[order[:missing]] = True
    return mask


def _distance(size: int, patch: int) -> np.ndarray:
    """Distance of the patches from the centre as a fraction of the axis; 0 along an axis of one sample."""
    middles = patch * np.arange(-(-size // patch)) + patch / 2
    return (middles - size / 2) / size if size > 1 else np.zeros(1)
