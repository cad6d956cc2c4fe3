"""Simulated heartbeat from a single image, for anatomies without image series."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from onebreath.simulation.physiology import contraction

# Radius of the moving region and largest displacement at its rim, as fractions of the image.
_RADIUS = (0.13, 0.22)
_SHORTENING = (0.05, 0.3)


def beating(image: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Series of one cardiac cycle, made by warping an image as the wall of a short-axis heart near its middle moves.

    Parameters
    ----------
    image
        ``(y, x)``, with the heart near the middle.
    frames
        Number of frames of the cycle, which begins at a random phase.
    rng
        Random numbers for centre, size, strength, shift and first phase.

    Returns
    -------
    numpy.ndarray
        ``(frame, y, x)`` complex64.
    """
    shape = np.array(image.shape)
    centre = shape * rng.uniform(0.42, 0.58, 2)
    radius = min(shape) * rng.uniform(*_RADIUS) * rng.uniform(0.8, 1.25, 2)
    strength, twist = rng.uniform(*_SHORTENING), rng.normal(0, 0.12)
    drift = rng.normal(0, 0.012, 2) * min(shape)
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")).astype(float)
    offset = (grid - centre[:, None, None]) / radius[:, None, None]
    # Zero at the centre and far outside, largest at the wall.
    envelope = np.exp(-0.5 * np.sum(offset**2, axis=0) ** 1.5)
    across = np.stack([-offset[1], offset[0]])
    start = rng.random()
    series = []
    for phase in (np.arange(frames) / frames + start) % 1:
        amount = float(contraction(phase))
        radial = (strength * offset + twist * across) * amount
        source = grid + envelope * (radial * radius[:, None, None] + (drift * amount)[:, None, None])
        warped = [map_coordinates(part, source, order=3, mode="nearest") for part in (image.real, image.imag)]
        series.append(warped[0] + 1j * warped[1])
    return np.stack(series).astype(np.complex64)
