"""Error map: what the magnitude of each pixel is off by at most, in nine of ten pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

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
