"""Lines of a slice that are held back from methods, and the number of missing lines that each represents."""

from __future__ import annotations

import numpy as np

from onebreath.errors import MethodError
from onebreath.methods.score import BANDS, FEWEST_LINES, GOLDEN, SHARE
from onebreath.mri.sampling import central_block, distance_bands

_MOST = 0.25
"""Largest part of the lines outside the fully sampled centre that is held back."""


def held_back(acquired: np.ndarray, centre: int) -> np.ndarray:
    """Choose the lines to hold back, (frame, y) bool, so that they resemble the missing ones.

    Where all frames have the same lines, the held-back lines are the same in all of them, too: a method that takes a
    line from the frames beside it would do well at lines missing in one frame, and badly at those missing in all. Lines
    of the fully sampled centre are like none that is missing. At most a quarter of the others are held back.

    Raises
    ------
    MethodError
        If no frame has enough lines.
    """
    rows = acquired.shape[1]
    free = acquired & ~full_centre(acquired, centre)
    if not free.any():
        free = acquired & (np.abs(np.arange(rows) - centre) > 1)
    same, chosen = bool((acquired == acquired[:1]).all()), np.zeros_like(acquired)
    for frame, lines in enumerate(acquired):
        candidates = np.flatnonzero(free[frame])
        if lines.sum() < FEWEST_LINES or not len(candidates):
            continue
        count = max(1, min(round(SHARE * lines.sum()), int(_MOST * len(candidates))))
        place = ((np.arange(count) + 0.5 + (0 if same else frame * GOLDEN)) / count) % 1
        chosen[frame, candidates[(place * len(candidates)).astype(int)]] = True
    if not chosen.any():
        raise MethodError(f"to hold lines back, a frame needs {FEWEST_LINES} lines or more")
    return _with_every_band(chosen, acquired, free, distance_bands(rows, centre, BANDS), same)


def full_centre(acquired: np.ndarray, centre: int) -> np.ndarray:
    """Return the rows (y,) about the centre that all frames have, if they suffice for a calibration block."""
    found = np.zeros(acquired.shape[1], bool)
    block = central_block(np.all(acquired, axis=0), centre)
    if block is not None:
        found[block[0] : block[1] + 1] = True
    return found


def _with_every_band(
    chosen: np.ndarray, acquired: np.ndarray, free: np.ndarray, band: np.ndarray, same: bool
) -> np.ndarray:
    """Hold back a few more lines at distances from the centre where lines are missing and none is held back."""
    chosen = chosen.copy()
    most = _MOST * free.sum()
    for b in np.unique(band):
        here = free & (band == b)
        if (chosen & here).any() or not here.any() or acquired[:, band == b].all():
            continue
        row = np.flatnonzero(here.any(axis=0))
        more = here & (np.arange(len(band)) == row[len(row) // 2])
        if not same:  # one frame
            frame = np.flatnonzero(here.any(axis=1))
            middle = frame[len(frame) // 2]
            more = np.zeros_like(here)
            more[middle, np.flatnonzero(here[middle])[0]] = True
        if chosen.sum() + more.sum() <= most:
            chosen |= more
    return chosen


def weights_of(held: np.ndarray, acquired: np.ndarray, centre: int, limits: tuple[int, int]) -> np.ndarray:
    """Return how many missing lines each held-back line represents (frame, y), by distance from the centre.

    Lines beyond partial Fourier are not the methods' affair, and are not counted.
    """
    rows = np.arange(held.shape[1])
    missing = ~acquired & (rows >= limits[0]) & (rows <= limits[1])
    band = np.broadcast_to(distance_bands(held.shape[1], centre, BANDS), held.shape)
    tested = np.unique(band[held])
    nearest = tested[np.abs(band[..., None] - tested).argmin(axis=-1)]
    weight = np.zeros(held.shape)
    for b in tested:
        weight[held & (band == b)] = (missing & (nearest == b)).sum() / (held & (band == b)).sum()
    return weight


def signal_of(missing: np.ndarray, energies: np.ndarray, acquired: np.ndarray, centre: int) -> float:
    """Return the energy that one frame has in missing lines (y,), from acquired ones as far from the centre.

    Parameters
    ----------
    missing
        The lines.
    energies, acquired : (frame, y)
        Energy of the signal in each line, where it was acquired.
    centre
        Line of the k-space centre.
    """
    band = distance_bands(acquired.shape[1], centre, BANDS)
    known = [b for b in np.unique(band) if acquired[:, band == b].any()]
    means = [float(energies[:, band == b][acquired[:, band == b]].mean()) for b in known]
    return float(sum(max(means[int(np.argmin(np.abs(np.asarray(known) - b)))], 0.0) for b in band[missing]))
