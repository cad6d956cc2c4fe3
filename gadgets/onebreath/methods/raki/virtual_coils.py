"""Virtual conjugate coils: each channel duplicated, mirrored at the centre of k-space and conjugated.

M. Blaimer et al., "Virtual coil concept for improved parallel MRI employing conjugate symmetric signals", Magn Reson
Med 61:93 (2009). An image without phase has a symmetric k-space; where the phase is smooth a mirrored line shows
something of the lines about its mirror image, so that a network learns from twice as many channels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onebreath.methods.base import SliceData
from onebreath.methods.grappa.calibrated import frames_by_mask, lattice_offset


def problem_of(data: SliceData, acs: np.ndarray) -> str:
    """Return the reason why a slice has no virtual coils; empty if it can have them."""
    sampling, rows = data.sampling, data.kspace.shape[2]
    if sampling.acquired[0] >= sampling.acceleration or sampling.acquired[1] < rows - sampling.acceleration:
        return "virtual coils need both halves of k-space, the scan has partial Fourier"
    mirrored = _mirrored(rows, sampling.centre)
    for mask, _ in frames_by_mask(data):
        lines = np.any(mask, axis=1)
        if not mask[lines].all():
            return "virtual coils need whole readouts, the scan has an asymmetric echo"
        lattice = np.arange(lattice_offset(lines, sampling, sampling.acceleration), rows, sampling.acceleration)
        if not lines[mirrored[lattice]].all():
            return (
                f"virtual coils need lines that lie symmetrically about the centre line {sampling.centre}; those of "
                f"this lattice (R = {sampling.acceleration}) do not"
            )
    low, high = _common(data, acs)
    return "" if high >= low else "virtual coils need calibration lines about the centre of k-space"


def with_virtual(data: SliceData, acs: np.ndarray) -> tuple[SliceData, np.ndarray]:
    """Return a slice, which has no `problem_of`, and its calibration lines with twice as many channels."""
    low, high = _common(data, acs)
    lines = acs[:, low - data.acs_first : high - data.acs_first + 1]
    columns = _mirrored(acs.shape[2], acs.shape[2] // 2)
    # The lines that are left are symmetric about the centre.
    doubled = np.concatenate([lines, lines[:, ::-1][:, :, columns].conj()])
    kspace = np.stack([doubled_kspace(one, data.sampling.centre) for one in data.kspace])
    return replace(data, kspace=kspace, maps=None, acs=doubled, acs_first=low), doubled


def doubled_kspace(kspace: np.ndarray, centre: int) -> np.ndarray:
    """K-space (coil, y, x) followed by that of the virtual coils."""
    rows, columns = _mirrored(kspace.shape[1], centre), _mirrored(kspace.shape[2], kspace.shape[2] // 2)
    return np.concatenate([kspace, kspace[:, rows][:, :, columns].conj()])


def _mirrored(size: int, centre: int) -> np.ndarray:
    return (2 * centre - np.arange(size)) % size


def _common(data: SliceData, acs: np.ndarray) -> tuple[int, int]:
    """Return the first and last calibration line whose mirror line is a calibration line, too."""
    first, last = data.acs_first, data.acs_first + acs.shape[1] - 1
    centre = data.sampling.centre
    return max(first, 2 * centre - last), min(last, 2 * centre - first)
