"""Prior expectation of an image, from its calibration lines.

Least squares with white noise of variance v and an image that differs from an expected one by deviations of variance s
in every pixel have their most probable solution where ``||A x - y||^2 + (v / s) ||x - expected||^2`` is least. The
noise is known after whitening; s is measured: the energy of the lines that the expected image does not explain, less
their noise, with lines at the same distance from the centre standing for those that are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onebreath.methods.base import SliceData
from onebreath.methods.device import as_numpy
from onebreath.methods.known_noise import noise_level
from onebreath.mri.coils import combine
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.mri.sampling import distance_bands

_BANDS = 9
_BELIEVED = 0.6
"""Part of the noise's variance that lines have at least which an expected image was taken from."""
_LEAST = 1e-3
"""Deviations are taken to have at least this part of the noise's variance."""


@dataclass(frozen=True)
class Expected:
    """Prior expectation of a slice.

    Attributes
    ----------
    image : (y, x) complex, or None
        None: zero, as there are no calibration lines, several map sets, or an image that explains nothing.
    unexplained : (frame, coil, y, x) complex
        The data less what the expected image would give.
    regularisation
        Variance of the noise over that of the deviations.
    overstated
        Noise that the noise scan says, over what the lines may hold at most, where that is more than all of it; else 0.
    """

    image: NDArray[np.complex64] | None
    unexplained: NDArray[np.complex64]
    regularisation: float
    overstated: float = 0.0


def expected_of(data: SliceData) -> Expected:
    """Return the prior expectation of a slice with coil maps."""
    noise, given = 2 * noise_level(data)[0] ** 2, data
    data = as_numpy(data)
    assert data.maps is not None
    kspace, mask, maps = np.asarray(data.kspace), np.asarray(data.mask), np.asarray(data.maps)
    pixels = max(int(maps[0].any(axis=0).sum()), 1)
    least = _LEAST * max(noise, 1e-30)

    def deviations(rest: NDArray[np.complex64]) -> float:
        return max(_energy(rest, mask, noise, data.sampling.centre) / pixels, least)

    image, rest = None, kspace
    if data.acs is not None and len(maps) == 1:
        image = _low_resolution(data, maps[0])
        rest = np.where(mask[:, None], kspace - fft2c(image * maps[0]), 0).astype(np.complex64)
    settled: _Settled | None = given.settled.get(_Settled)
    if settled is None:  # not that of a replica, whose samples hold more noise than is known
        settled = _Settled(False, deviations(kspace))
        if image is not None:
            samples = int(np.broadcast_to(mask, (len(kspace), *mask.shape[1:])).sum())
            samples *= kspace.shape[3] // mask.shape[2]
            coils = kspace.shape[1]
            held = float(np.linalg.norm(rest) ** 2) / max(samples * coils, 1)
            if held < _BELIEVED * noise * (coils - 1) / coils:  # the image explains the noise of one channel in all
                return Expected(None, kspace, 0.0, float(np.sqrt(noise / max(held, 1e-30))))
            if (unexplained := deviations(rest)) < settled.deviations:
                settled = _Settled(True, unexplained)
        given.settled[_Settled] = settled
    if settled.by_image:
        return Expected(image, rest, noise / settled.deviations)
    return Expected(None, kspace, noise / settled.deviations)


class _Settled(NamedTuple):
    """Whether the calibration lines' image is expected, and the variance of the deviations from what is."""

    by_image: bool
    deviations: float


def _low_resolution(data: SliceData, maps: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return the combined image of the calibration lines (y, x), tapered so that it does not ring."""
    acs = np.asarray(data.acs)
    placed = np.zeros((acs.shape[0], *data.kspace.shape[2:]), np.complex64)
    placed[:, data.acs_first : data.acs_first + acs.shape[1]] = acs * np.hanning(acs.shape[1] + 2)[1:-1, None]
    return np.asarray(combine(ifft2c(placed), maps), np.complex64)


def _energy(kspace: NDArray[np.complex64], mask: NDArray[np.bool_], noise: float, centre: int) -> float:
    """Return the energy of a fully sampled frame, less that of its noise."""
    frames, coils, ny, nx = kspace.shape
    counts = np.broadcast_to(mask, (frames, ny, nx)).sum(axis=(0, 2))
    energy = (np.abs(kspace) ** 2).sum(axis=(0, 1, 3)) - noise * coils * counts
    acquired = counts > 0
    if not acquired.any():
        return 0.0
    each = np.zeros(ny)
    each[acquired] = energy[acquired] * nx / counts[acquired]
    band = distance_bands(ny, centre, _BANDS)
    for b in np.unique(band):
        known = acquired & (band == b)
        nearest = known if known.any() else acquired & (np.abs(band - b) == np.abs(band - b)[acquired].min())
        each[~acquired & (band == b)] = each[nearest].mean()
    return float(each.sum())
