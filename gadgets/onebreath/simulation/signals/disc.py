"""A uniform disc of water, like a quality-control phantom: for measuring edge sharpness, noise and ghosts."""

from __future__ import annotations

import numpy as np

from onebreath.simulation.geometry import Grid
from onebreath.simulation.phantom import Canvas, Phantom, background_phase
from onebreath.simulation.tissue import TISSUES

_RADIUS_MM = 85.0
_SHARE = 0.31
"""Largest radius, as a share of the shorter side of the field of view: there must be air around it."""


class WaterDisc(Phantom):
    """A disc in the middle of the field of view that neither beats nor breathes; its signal is 1.

    Parameters
    ----------
    grid
        Where to draw, oversampled along the readout.
    fov_mm
        Of the image, along y and x.
    field_t
        Field strength, for the decay from echo to echo, which is that of blood.
    """

    def __init__(self, grid: Grid, fov_mm: tuple[float, float], field_t: float = 1.5) -> None:
        self.grid = grid
        self.signal = {"blood": 1.0}
        self.t2_blood = TISSUES[field_t]["blood"].t2
        canvas = Canvas(grid)
        self.radius_mm = min(_RADIUS_MM, _SHARE * min(fov_mm))
        canvas.ellipse((0.0, 0.0), (self.radius_mm, self.radius_mm), 1.0)
        self._image = canvas.image * background_phase(grid)

    def draw(self, z_mm: float, phase: float, shift_mm: float = 0.0) -> np.ndarray:
        """Draw the disc ``(y, x)`` complex64, the same at every height and at every time."""
        return self._image.copy()

    def heart_mask(self, z_mm: float) -> np.ndarray:
        """Return that nothing moves ``(y, x)`` bool."""
        return np.zeros(self.grid.shape, bool)

    def blood_pixel(self) -> tuple[int, int]:
        """Row and column of the pixel in the middle."""
        return self.grid.shape[0] // 2, self.grid.shape[1] // 2
