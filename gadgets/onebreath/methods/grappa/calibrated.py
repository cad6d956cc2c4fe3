"""Base of methods that are calibrated on calibration lines and predict missing ones."""

from __future__ import annotations

from typing import Literal

import numpy as np

from onebreath.errors import MethodError
from onebreath.methods.base import SliceData
from onebreath.mri.coils import inati_maps, walsh_maps
from onebreath.mri.fourier import ifft2c
from onebreath.mri.sampling import Sampling


def calibration_lines(data: SliceData, method: str) -> np.ndarray:
    """The calibration lines (coil, ya, x), checked; of a fully sampled slice without any, its mean over time.

    Raises
    ------
    MethodError
        If there is only one channel, there are no lines, or some hold only zeros.
    """
    if data.kspace.shape[1] < 2:
        raise MethodError(f"{method} needs at least 2 channels to tell aliased pixels apart, there is 1")
    if data.acs is None:
        if data.sampling.family == "full":
            return np.asarray(data.kspace.mean(axis=0))
        raise MethodError(
            f"{method} needs calibration lines (ACS), and this scan has none; use cg_sense with coil maps"
        )
    empty = np.flatnonzero(~np.any(data.acs, axis=(0, 2)))
    if len(empty):
        raise MethodError(
            f"{method}: {len(empty)} of {data.acs.shape[1]} calibration lines hold only zeros "
            f"(first: line {data.acs_first + int(empty[0])} of the matrix)"
        )
    return np.asarray(data.acs)


def own_maps(acs: np.ndarray, data: SliceData, algorithm: Literal["inati", "walsh"]) -> np.ndarray:
    """Return coil maps (1, coil, y, x) of the calibration lines at their positions in the matrix."""
    padded = np.zeros(data.kspace.shape[1:], data.kspace.dtype)
    first = data.acs_first if data.acs is not None else 0
    padded[:, first : first + acs.shape[1]] = acs
    estimate = inati_maps if algorithm == "inati" else walsh_maps
    found: np.ndarray = estimate(ifft2c(padded))[None]
    return found


def frames_by_mask(data: SliceData) -> list[tuple[np.ndarray, list[int]]]:
    """Group frames by mask (y, x), to reconstruct each group as one batch; empty frames are left out."""
    frames, _, ny, nx = data.kspace.shape
    masks = np.broadcast_to(data.mask, (frames, ny, nx))
    if not data.sampling.per_frame and not data.sampling.empty_frames:
        return [(masks[0], list(range(frames)))]
    groups: dict[bytes, list[int]] = {}
    for frame in range(frames):
        if frame not in data.sampling.empty_frames:
            groups.setdefault(np.packbits(masks[frame]).tobytes(), []).append(frame)
    return [(masks[members[0]], members) for members in groups.values()]


def wanted_lines(sampling: Sampling, mask: np.ndarray) -> np.ndarray:
    """Missing lines to predict (y,): in the acquired range, and on to an edge of the matrix nearer than R lines."""
    first, last = sampling.covered
    line = np.arange(mask.shape[0])
    return (line >= first) & (line <= last) & ~mask.any(axis=1)


def lattice_offset(lines: np.ndarray, sampling: Sampling, acceleration: int) -> int:
    """Return the offset of a frame's lattice, which holds all its sampled lines (y,) outside the calibration block."""
    outside = lines.copy()
    if sampling.acs is not None:
        block = slice(sampling.acs[0], sampling.acs[1] + 1)
        outside[block] &= not outside[block].all()  # an interleaved block is sampled by no single frame
    return max(range(acceleration), key=lambda o: int(outside[o::acceleration].sum()))
