"""Check of a volume's images against calibration lines that the method did not use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onebreath.cancellation import checkpoint
from onebreath.methods.volumes.data import VolumeData
from onebreath.mri.fourier import fft2c

_NOISE = 2.0
"""Mean squared magnitude of the noise of a whitened sample."""


def unexplained(images: NDArray[np.complex64], data: VolumeData) -> float | None:
    """Return the share of the calibration lines' norm not explained by images (frame, z, y, x) of one map set.

    Only calibration lines that are no imaging lines count, and only their signal; they are compared after one free
    scale, with the mean over the frames. None if there are none, or no coil maps.
    """
    if data.acs is None or data.maps is None or len(data.maps) != 1:
        return None
    (z0, y0), (nz, ny) = data.acs_first, data.acs.shape[1:3]
    block = slice(z0, z0 + nz), slice(y0, y0 + ny)
    unseen = ~np.asarray(data.mask.any(axis=0))[block]
    if not unseen.any():
        return None
    energy, product, power = 0.0, 0j, 0.0
    mean = images.mean(axis=0)
    for z, y in zip(*np.nonzero(unseen), strict=True):  # one line after the other: a transformed block is another copy
        energy += float(np.linalg.norm(data.acs[:, z, y]) ** 2)
    for x in range(data.pixels):
        checkpoint()
        made = fft2c(data.maps[0, ..., x] * mean[..., x])[:, block[0], block[1]][:, unseen]
        measured = _plane_of(data.acs, unseen, x)
        product += np.vdot(made, measured)
        power += float(np.linalg.norm(made) ** 2)
    noise = _NOISE * data.coils * int(unseen.sum()) * data.pixels if data.whitened else 0.0
    left = energy - abs(product) ** 2 / max(power, 1e-30) - noise
    return float(np.sqrt(max(left, 0.0) / max(energy - noise, 1e-30)))


def _plane_of(acs: NDArray[np.complex64], unseen: NDArray[np.bool_], x: int) -> NDArray[np.complex64]:
    """Return the unseen lines (coil, line) at one pixel along the readout, which is transformed for that pixel only."""
    pixels = acs.shape[-1]
    samples = np.arange(pixels) - pixels // 2
    turn = np.exp(2j * np.pi * samples * (x - pixels // 2) / pixels) / np.sqrt(pixels)
    found: NDArray[np.complex64] = (acs @ turn.astype(np.complex64))[:, unseen]
    return found
