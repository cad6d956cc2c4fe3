"""Motion: waveforms over the heartbeat, and displacements proportional to them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from onebreath.simulation.physiology import contraction
from onebreath.training.synthesis.draws import Draws, pixel_grid


def phases(frames: int, full_cycle: float, draws: Draws) -> np.ndarray:
    """Random cardiac phases ``(frame,)``: one whole cycle, or a window of a slower one, with any start."""
    cycle = float(frames) if draws.chance(full_cycle) else draws.uniform(frames, 3 * frames)
    direction = -1 if draws.chance(0.2) else 1
    phase: np.ndarray = (draws.rng.random() + direction * np.arange(frames) / cycle) % 1
    return phase


def waveform(phase: np.ndarray, draws: Draws) -> np.ndarray:
    """Random periodic function ``(frame,)`` of the phase, from 0 to about 1: a contraction, or a few harmonics."""
    if draws.chance(0.5):
        return np.asarray(contraction(phase + draws.rng.random()), np.float32)
    order = np.arange(1, 4)
    weights = draws.rng.standard_normal(3) / order
    offsets = draws.rng.uniform(0, 2 * np.pi, 3)

    def course(moments: np.ndarray) -> np.ndarray:
        harmonics = weights * np.cos(2 * np.pi * order * moments[:, None] + offsets)
        return np.asarray(harmonics.sum(axis=1), np.float32)

    cycle = course(np.linspace(0, 1, 64, endpoint=False))
    return (course(phase) - cycle.min()) / max(float(np.ptp(cycle)), 1e-6)


def drifting(shape: tuple[int, int], phase: np.ndarray, strength: float, draws: Draws) -> Tensor:
    """Positions ``(frame, 2, y, x)`` of a layer that shifts, rotates, scales and deforms with the heartbeat.

    In the coordinates of `pixel_grid`, as is `strength`, the size of the displacements.
    """
    grid = pixel_grid(shape, draws.device)
    turn, swell, down, right, *bends = (waveform(phase, draws) for _ in range(6))
    angle = draws.tensor(draws.rng.normal(0, 1.5 * strength) * turn)
    scale = draws.tensor(1 + draws.rng.normal(0, strength) * swell)
    shift = draws.tensor(np.stack([down, right], 1) * draws.rng.normal(0, strength, 2))
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    matrix = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    position = torch.einsum("tij,jyx->tiyx", matrix, grid) + shift[:, :, None, None]
    fields = draws.smooth(2 * len(bends), shape, draws.uniform(2, 6)).unflatten(0, (len(bends), 2))
    return position + torch.einsum("bt,biyx->tiyx", draws.tensor(np.stack(bends)), fields) * (0.5 * strength)


def beating_displacements(shape: tuple[int, int], phase: np.ndarray, draws: Draws) -> Tensor:
    """Displacements ``(frame, 2, y, x)`` of a single image, like those of a heart's wall near the middle.

    In the coordinates of `pixel_grid`.
    """
    grid = pixel_grid(shape, draws.device)
    centre = draws.tensor(draws.rng.uniform(-0.16, 0.16, 2))[:, None, None]
    radius = draws.tensor(draws.rng.uniform(0.26, 0.44) * draws.rng.uniform(0.8, 1.25, 2))[:, None, None]
    offset = (grid - centre) / radius
    envelope = torch.exp(-0.5 * (offset**2).sum(0) ** 1.5)
    across = torch.stack([-offset[1], offset[0]])
    radial = draws.uniform(0.05, 0.3) * offset + draws.rng.normal(0, 0.12) * across
    drift = draws.tensor(draws.rng.normal(0, 0.024, 2))[:, None, None]
    amount = draws.tensor(contraction(phase))[:, None, None, None]
    return amount * envelope * (radial * radius + drift)


def breathing_shift(images: Tensor, pixels: float, draws: Draws) -> Tensor:
    """Frames ``(frame, y, x)`` shifted along y, and a third as far along x, as by breathing."""
    frames, height, width = images.shape
    time = np.arange(frames) / max(frames - 1, 1)
    drift = draws.uniform(-1, 1) * time
    wave = 0.5 * np.sin(2 * np.pi * (draws.uniform(0.2, 0.8) * time + draws.rng.random()))
    shift = draws.tensor(pixels * (drift + wave))[:, None, None]
    ky = torch.fft.fftfreq(height, device=images.device)[:, None]
    kx = torch.fft.fftfreq(width, device=images.device)
    turn = torch.exp(-2j * torch.pi * shift * (ky + kx / 3))
    return torch.fft.ifft2(torch.fft.fft2(images) * turn)
