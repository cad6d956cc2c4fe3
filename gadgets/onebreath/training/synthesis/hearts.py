"""Measured sequences on the device, and their augmentation by geometry, contrast and heart rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from onebreath.errors import ScanError
from onebreath.training.data.series import NOT_CYCLIC, ImageSeries
from onebreath.training.synthesis.draws import Draws, look_up, pixel_grid
from onebreath.training.synthesis.motion import beating_displacements


class SequencePool:
    """Image series on a device.

    Parameters
    ----------
    series
        Magnitude or complex series, of which only magnitudes are kept; motion is simulated for single frames.
    device
        Device of the images, which are stored in half precision.

    Raises
    ------
    ScanError
        If there are no series.
    """

    def __init__(self, series: Sequence[ImageSeries], device: torch.device) -> None:
        if not series:
            raise ScanError("there is no series to draw sequences from: the sources are empty")
        self.images = [_stored(one.images, device) for one in series]
        self.cyclic = [NOT_CYCLIC not in one.facts for one in series]
        # A patient's weight grows with the root of the number of slices; series weigh more than single images.
        patients = [one.patient for one in series]
        sizes = {name: patients.count(name) for name in set(patients)}
        weights = np.array([(1 if len(one.images) == 1 else 4) / sizes[one.patient] ** 0.5 for one in series])
        self.share = weights / weights.sum()

    def draw(self, shape: tuple[int, int], phase: np.ndarray, draws: Draws) -> Tensor:
        """Random sequence ``(frame, y, x)``, real, not negative, at cardiac phases ``(frame,)``."""
        index = int(draws.rng.choice(len(self.images), p=self.share))
        images = self.images[index]
        position = _views(shape, (images.shape[1], images.shape[2]), draws)
        if len(images) == 1:
            position = position + beating_displacements(shape, phase, draws)
            frames = images.float().expand(len(phase), -1, -1)
        else:
            weights = draws.tensor(_in_time(len(images), phase, self.cyclic[index]))
            frames = torch.einsum("ts,syx->tyx", weights, images.float())
            position = position.expand(len(phase), -1, -1, -1)
        made = look_up(frames[:, None], position, "bicubic")[:, 0].clamp_min(0)
        return made * (made + 1e-3) ** draws.uniform(-0.2, 0.3)


def _stored(images: np.ndarray, device: torch.device) -> Tensor:
    magnitude = np.abs(images).astype(np.float32)
    # A percentile, so that single bright pixels do not darken the rest.
    level = float(np.percentile(magnitude, 99.5)) or float(magnitude.max())
    return torch.from_numpy(magnitude / level).to(device, torch.float16)


def _views(shape: tuple[int, int], size: tuple[int, int], draws: Draws) -> Tensor:
    """Positions ``(1, 2, y, x)`` in an image of another size: rotated, mirrored, stretched and deformed."""
    angle = np.deg2rad(draws.uniform(-25, 25) + 90 * draws.integer(0, 3))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    zoom = draws.uniform(0.6, 1.05) * draws.rng.uniform(0.87, 1.15, 2) * draws.rng.choice((-1, 1), 2)
    # The field of view is that of the image's shorter axis.
    fit = np.array([min(size) / one for one in size])
    matrix = draws.tensor(fit[:, None] * turn * zoom)
    grid = pixel_grid(shape, draws.device)
    bent = grid + draws.uniform(0, 0.05) * draws.smooth(2, shape, draws.uniform(2, 5))
    middle = draws.tensor(draws.rng.normal(0, 0.08, 2))[:, None, None]
    return (torch.einsum("ij,jyx->iyx", matrix, bent) + middle)[None]


def _in_time(count: int, phase: np.ndarray, cyclic: bool) -> np.ndarray:
    """Weights ``(frame, stored frame)`` for interpolation in time: by harmonics if cyclic, else linear."""
    if not cyclic:
        # Forwards and backwards, so that there is no jump.
        position = (count - 1) * (1 - np.abs(2 * phase - 1))
        return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(count)))
    order = np.arange(-((count - 1) // 2), (count - 1) // 2 + 1)
    distance = phase[:, None] - np.arange(count) / count
    return np.cos(2 * np.pi * order * distance[..., None]).sum(-1) / count
