"""Error map: what the magnitude of each pixel is off by at most, in nine of ten pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from onebreath.methods.base import SliceData
from onebreath.mri.coils import rss
from onebreath.mri.fourier import ifft2c

_NORMAL, _RAYLEIGH = 1.645, 2.146
"""Within so many standard deviations are nine of ten normal numbers, and of ten magnitudes of complex noise."""
_FAINT = 3.0
"""A magnitude of less than so many standard deviations of its noise may be noise alone."""
_NEAR = 2.0
"""Standard deviation in pixels of the surroundings in which detail is measured."""
_EVEN = 0.3
"""Part of the error beyond noise that is spread evenly, as aliasing is; the rest is where the detail is."""


def error_bound(
    magnitude: NDArray[np.floating], std: NDArray[np.floating], error: float
) -> tuple[NDArray[np.float32], float]:
    """Return the bound, and the part of the error that is not noise.

    The estimated error of the series is that of its noise, which is known for each pixel, and of signal that was lost:
    what its energy exceeds that of the noise by. Lost signal is outer k-space, and so is what an image has beside its
    smooth part; so most of it is placed where that is strong.

    Parameters
    ----------
    magnitude : (frame, y, x)
        Of the images.
    std : (frame or 1, y, x)
        Standard deviation of the noise in it.
    error
        Estimated ``||image - truth|| / ||image||`` of the magnitude.
    """
    noise = np.broadcast_to(np.square(std, dtype=np.float64), magnitude.shape)
    whole = error**2 * float(np.sum(np.square(magnitude, dtype=np.float64)))
    lost = max(whole - float(noise.sum()), 0.0)
    size = (0.0, _NEAR, _NEAR)
    detail = gaussian_filter(np.square(magnitude - gaussian_filter(magnitude, size), dtype=np.float64), size)
    total = float(detail.sum())
    even = 1 / magnitude.size
    share = _EVEN * even + (1 - _EVEN) * (detail / total if total > 0 else even)
    quantile = np.where(magnitude < _FAINT * np.sqrt(noise), _RAYLEIGH, _NORMAL)
    bound = np.sqrt(quantile**2 * noise + _NORMAL**2 * lost * share)
    return np.asarray(bound, np.float32), lost / whole if whole > 0 else 0.0


def hidden_by_maps(data: SliceData) -> NDArray[np.float32]:
    """Return what the calibration lines show where the coil maps are zero, (y, x); zero elsewhere.

    There an image is zero whatever was measured, and what it lacks is the signal itself. The calibration lines show
    that at their resolution, and their noise with it.
    """
    shape = data.kspace.shape[2:]
    if data.maps is None or data.acs is None or (seen := np.any(np.asarray(data.maps) != 0, axis=(0, 1))).all():
        return np.zeros(shape, np.float32)
    acs = np.asarray(data.acs)
    kspace = np.zeros((len(acs), *shape), np.complex64)
    kspace[:, data.acs_first : data.acs_first + acs.shape[1]] = acs
    return np.asarray(np.where(seen, 0, rss(ifft2c(kspace), 0)), np.float32)
