"""Mask type and acceleration level of the training that are most similar to a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from array_api_compat import to_device

from onebreath.mri import Array
from onebreath.mri.sampling import Sampling

# What a network was not trained on is replaced by what folds most alike: incoherent by incoherent, lines by lines.
_ALIKE: dict[str, tuple[str, ...]] = {
    "equispaced": ("equispaced", "random", "gaussian_1d", "gaussian_2d"),
    "random": ("random", "gaussian_1d", "equispaced", "gaussian_2d"),
    "gaussian_1d": ("gaussian_1d", "random", "equispaced", "gaussian_2d"),
    "gaussian_2d": ("gaussian_2d", "gaussian_1d", "random", "equispaced"),
}
# Standard deviation of the line positions over the matrix: 0.29 for a constant density, 0.17 for the Gaussian one.
_NARROW = 0.25
# Fewer distances than this say nothing about their spread.
_FEWEST_GAPS = 2


@dataclass(frozen=True)
class Choice:
    """Scan properties passed to a network.

    Attributes
    ----------
    level, kind
        Indices of the acceleration level and of the mask type.
    prompt
        Level that the prompt represents, also between two.
    pattern
        What the mask was found to be.
    acceleration
        Samples of the matrix over those acquired.
    """

    level: int
    kind: int
    prompt: float
    pattern: str
    acceleration: float


def choose(
    sampling: Sampling, mask: Array, levels: Sequence[float], types: Sequence[str], interpolate: bool = False
) -> Choice:
    """Choose the nearest level and the most similar type.

    Parameters
    ----------
    sampling
        Description of the mask.
    mask
        Bool ``(frame, y, x)``, single axes for what does not vary.
    levels, types
        What the network distinguishes; nothing: it treats all scans alike.
    interpolate
        Whether the prompt of a ratio between two levels lies between theirs, or is that of the nearest.
    """
    array: np.ndarray = np.asarray(to_device(mask, "cpu")).astype(bool)
    pattern, acceleration = pattern_of(sampling, array), acceleration_of(sampling, array)
    if not levels:
        return Choice(0, 0, 0.0, pattern, acceleration)
    # Ratios are compared as ratios: 5 is nearer to 6 than to 4.
    nearest = int(np.abs(np.log(np.array(levels) / acceleration)).argmin())
    order = np.argsort(levels)
    prompt = float(np.interp(acceleration, np.array(levels)[order], order)) if interpolate else float(nearest)
    kind = next(types.index(name) for name in (*_ALIKE[pattern], *types) if name in types)
    return Choice(nearest, kind, prompt, pattern, acceleration)


def pattern_of(sampling: Sampling, mask: np.ndarray) -> str:
    """Name the type of a mask ``(frame, y, x)``: random, equispaced, gaussian_1d or gaussian_2d."""
    if not _is_lines(mask):
        return "gaussian_2d"
    if sampling.uniform:
        return "equispaced"
    lines: np.ndarray = np.any(mask, axis=2)
    first = lines[lines.any(axis=1)][0]
    where = np.flatnonzero(first)
    if sampling.acs is not None:
        where = where[(where < sampling.acs[0]) | (where > sampling.acs[1])]
    gaps = np.concatenate([np.diff(where[where < sampling.centre]), np.diff(where[where > sampling.centre])])
    if len(gaps) < _FEWEST_GAPS or np.ptp(gaps) <= 1:
        return "equispaced"
    width = float(np.sqrt(np.mean(((where - sampling.centre) / len(first)) ** 2)))
    return "gaussian_1d" if width < _NARROW else "random"


def acceleration_of(sampling: Sampling, mask: np.ndarray) -> float:
    """Return matrix samples over acquired ones, with calibration lines; asymmetric echoes do not count."""
    if _is_lines(mask):
        return sampling.effective_acceleration
    frames = mask[mask.any(axis=(1, 2))]
    return float(frames.size / frames.sum())


def _is_lines(mask: np.ndarray) -> bool:
    """Return whether all acquired lines hold the same samples."""
    return bool((mask == (mask.any(axis=2, keepdims=True) & mask.any(axis=(0, 1)))).all())
