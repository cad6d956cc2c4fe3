"""Chests with a beating heart of random anatomy and contrast, made on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from onebreath.simulation.physiology import contraction
from onebreath.training.synthesis.draws import Draws, pixel_grid


def random_phantom(shape: tuple[int, int], phase: np.ndarray, draws: Draws) -> Tensor:
    """Random phantom ``(frame, y, x)``, real, not negative.

    Parameters
    ----------
    shape
        ``(y, x)``.
    phase
        Cardiac phases ``(frame,)``.
    draws
        Random numbers.
    """
    canvas = _Canvas(shape, len(phase), draws)
    size = draws.uniform(0.75, 1.05)
    body = size * np.array([draws.uniform(0.7, 1.0), draws.uniform(0.9, 1.2)])
    canvas.paint((0, 0), body, draws.uniform(0.5, 1.1))  # fat
    canvas.paint((0, 0), body - draws.uniform(0.03, 0.12), draws.uniform(0.15, 0.4))  # muscle
    for side in (-1, 1):
        centre = (draws.uniform(-0.2, 0.1), side * draws.uniform(0.35, 0.55))
        canvas.paint(centre, size * draws.rng.uniform((0.35, 0.2), (0.55, 0.35)), draws.uniform(0.01, 0.1))  # lung
    if draws.chance(0.6):
        canvas.paint((draws.uniform(0.3, 0.6), -0.4), draws.rng.uniform(0.2, 0.5, 2), draws.uniform(0.2, 0.5))  # liver
    canvas.paint((draws.uniform(0.4, 0.7), 0), draws.rng.uniform(0.06, 0.14, 2), draws.uniform(0.2, 0.6))  # spine
    for _ in range(draws.integer(3, 14)):  # vessels and fat
        canvas.paint(draws.rng.uniform(-0.7, 0.7, 2), draws.rng.uniform(0.015, 0.08, 2), draws.uniform(0.05, 1.0))
    _paint_heart(canvas, phase, draws)
    return canvas.image.clamp_min(0)


def trunk(shape: tuple[int, int], draws: Draws) -> Tensor:
    """Opacity ``(y, x)``, 0 to 1, of a body that ends inside of the field of view: a superellipse with a wavy rim.

    Where a body is cut by the edge of the field of view, coil sensitivities jump from one edge to the other, which no
    coil maps from short kernels explain: there the error of the maps is far above the noise.
    """
    place = pixel_grid(shape, draws.device) * (min(shape) - 1) / 2
    margins = draws.rng.uniform(1, 12, 2)
    radii = np.array(shape) / 2 - margins
    power = draws.uniform(2, 8)
    radius = ((place / draws.tensor(radii)[:, None, None]).abs() ** power).sum(0).clamp_min(1e-6) ** (1 / power)
    waves = 0.5 * margins.min() * draws.smooth(1, shape, draws.uniform(3, 12))[0].abs()
    depth = (1 - radius) * radii.min() - waves
    return torch.sigmoid(2 * depth / draws.uniform(0.4, 2.0))


def _paint_heart(canvas: _Canvas, phase: np.ndarray, draws: Draws) -> None:
    """Paint the ventricles, papillary muscles, and sometimes a coronary vessel, in contraction."""
    squeeze = np.asarray(contraction(phase))
    wall, blood = draws.uniform(0.15, 0.4), draws.uniform(0.7, 1.1)
    centre = draws.rng.uniform((-0.25, -0.1), (0.15, 0.35))
    drift = squeeze[:, None] * draws.rng.normal(0, 0.03, 2) + centre
    outer = draws.uniform(0.22, 0.36) * draws.rng.uniform(0.85, 1.15, 2)
    thickness = draws.uniform(0.2, 0.4)
    shortening = draws.uniform(0.05, 0.5)
    swing = draws.uniform(-0.4, 0.4) * squeeze + draws.uniform(0, np.pi)
    right = drift + np.array([draws.uniform(-0.05, 0.05), -1.05 * outer[1]])
    contracted = 1 - 0.6 * shortening * squeeze[:, None]
    canvas.paint(right, (outer * draws.rng.uniform(0.7, 1.2, 2) + 0.03) * contracted, wall, swing)
    canvas.paint(right, outer * 0.8 * contracted, blood * draws.uniform(0.8, 1.1), swing)
    # The wall keeps its area: the cavity shrinks more than the outside.
    canvas.paint(drift, outer * (1 - 0.35 * shortening * squeeze[:, None]), wall, swing)
    cavity = outer * (1 - thickness) * (1 - shortening * squeeze[:, None])
    canvas.paint(drift, cavity, blood, swing)
    for angle in draws.rng.uniform(0, 2 * np.pi, draws.integer(0, 3)):
        position = drift + 0.6 * cavity * np.array([np.sin(angle), np.cos(angle)])
        canvas.paint(position, 0.18 * cavity, wall, swing)
    if draws.chance(0.5):
        position = drift + 1.1 * outer * (1 - 0.35 * shortening * squeeze[:, None]) * draws.rng.uniform(-0.7, 0.7, 2)
        canvas.paint(position, (0.03, 0.03), blood)


class _Canvas:
    """Frames on which textured ellipses with soft edges are painted."""

    def __init__(self, shape: tuple[int, int], frames: int, draws: Draws) -> None:
        self.draws, self.shape = draws, shape
        self.grid = pixel_grid(shape, draws.device)
        self.image = torch.zeros(frames, *shape, device=draws.device)
        self.textures = draws.fractal(4, shape, 1.0)
        self.contrast = draws.log_uniform(0.01, 0.15)

    def paint(self, centre: object, radii: object, level: float, angle: object = 0.0) -> None:
        """Paint an ellipse; centre and radii ``(2,)`` or ``(frame, 2)``, y before x; angle ``()`` or ``(frame,)``."""
        frames = len(self.image)
        middle = self.draws.tensor(np.broadcast_to(np.asarray(centre, float), (frames, 2)))[..., None, None]
        half = self.draws.tensor(np.broadcast_to(np.asarray(radii, float), (frames, 2)).clip(0.01))[..., None, None]
        turn = self.draws.tensor(np.broadcast_to(np.asarray(angle, float), (frames,)))[:, None, None]
        y, x = self.grid[0] - middle[:, 0], self.grid[1] - middle[:, 1]
        along = (y * turn.cos() + x * turn.sin()) / half[:, 0]
        across = (x * turn.cos() - y * turn.sin()) / half[:, 1]
        inside = 1 - torch.sqrt(along**2 + across**2 + 1e-6)
        pixels = min(self.shape) / 2 * half.mean(1)
        cover = torch.sigmoid(3 * pixels * inside)
        texture = self.textures[self.draws.integer(0, 3)]
        self.image = torch.lerp(self.image, level * (1 + self.contrast * texture).expand_as(cover), cover)
