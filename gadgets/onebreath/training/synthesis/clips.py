"""Procedural clips: textured layers that move, deform, appear and occlude each other with the rhythm of a heart.

Networks learn to distinguish aliasing and noise from moving structure, which need not be a heart.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from onebreath.training.synthesis.draws import Draws, look_up, pixel_grid
from onebreath.training.synthesis.motion import drifting, waveform

# Layers are larger than the image by this factor, so that their edges do not move into it.
_MARGIN = 1.25


def procedural_clip(shape: tuple[int, int], phase: np.ndarray, draws: Draws) -> Tensor:
    """Random clip ``(frame, y, x)``, real, not negative.

    Parameters
    ----------
    shape
        ``(y, x)``.
    phase
        Cardiac phases ``(frame,)``.
    draws
        Random numbers.
    """
    strength = 0.02 if draws.chance(0.5) else 0.0
    clip = _moved(_texture(shape, draws)[None], drifting(shape, phase, strength, draws))[:, 0]
    for _ in range(draws.integer(2, 6)):
        layer = torch.stack([_texture(shape, draws), _outline(shape, draws)])
        colour, cover = _moved(layer, drifting(shape, phase, draws.log_uniform(0.01, 0.15), draws)).unbind(1)
        if draws.chance(0.3):
            cover = cover * draws.tensor(waveform(phase, draws))[:, None, None]
        clip = torch.lerp(clip, colour, cover)
    body = _outline(shape, draws, draws.uniform(0.7, 1.0)) if draws.chance(0.6) else torch.ones_like(clip[0])
    return clip.clamp_min(0) * body


def _moved(layer: Tensor, position: Tensor) -> Tensor:
    """Layer ``(channel, y, x)`` sampled at positions ``(frame, 2, y, x)`` in the coordinates of `pixel_grid`."""
    shape = layer.shape[-2:]
    stretch = torch.tensor([(min(shape) - 1) / (size - 1) for size in shape])[:, None, None]
    inside = position * stretch.to(position.device, non_blocking=True) / _MARGIN
    return look_up(layer.expand(len(position), -1, -1, -1), inside)


def _texture(shape: tuple[int, int], draws: Draws) -> Tensor:
    """Brightness ``(y, x)`` of a layer with clouds, flat patches, or stripes."""
    level, contrast = draws.uniform(0.05, 1.0), draws.log_uniform(0.02, 0.5)
    pattern = draws.fractal(1, shape, draws.uniform(0.8, 2.2))[0]
    kind = draws.integer(0, 2)
    if kind == 1:
        steps = draws.integer(1, 4)
        pattern = torch.floor(pattern * steps) / steps
    elif kind == 2:
        grid = pixel_grid(shape, draws.device)
        angle, waves = draws.uniform(0, np.pi), draws.log_uniform(4, 40)
        along = grid[0] * np.cos(angle) + grid[1] * np.sin(angle)
        pattern = torch.sin(waves * along + 2 * pattern)
    return level * (1 + contrast * pattern)


def _outline(shape: tuple[int, int], draws: Draws, size: float | None = None) -> Tensor:
    """Opacity ``(y, x)`` of a layer, 0 to 1: an ellipse with a wavy rim, sometimes with a hole."""
    grid = pixel_grid(shape, draws.device)
    radius = size if size is not None else draws.log_uniform(0.08, 0.7)
    spread = 0.1 if size is not None else 0.5
    centre, radii = draws.rng.normal(0, spread, 2), radius * draws.rng.uniform(0.6, 1.4, 2)
    angle = draws.uniform(0, np.pi)
    y, x = grid[0] - centre[0], grid[1] - centre[1]
    along = (y * np.cos(angle) + x * np.sin(angle)) / radii[0]
    across = (x * np.cos(angle) - y * np.sin(angle)) / radii[1]
    distance = torch.sqrt(along**2 + across**2 + 1e-4)
    distance = 1 - distance + 0.2 * draws.smooth(1, shape, draws.uniform(3, 12))[0]
    if draws.chance(0.3):
        distance = draws.uniform(0.1, 0.5) - distance.abs()
    sharpness = radius * min(shape) / 2 / draws.uniform(0.4, 2.0)
    return torch.sigmoid(2 * sharpness * distance)
