"""Receive coils: loops by the Biot-Savart law, or maps of measured scans; noise, whitening and compression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from onebreath.mri.fourier import fft2c, resize
from onebreath.training.data.measured_coils import estimated_maps
from onebreath.training.synthesis.draws import Draws, look_up, pixel_grid

# The loops lie on an elliptic cylinder around the chest (mm).
_RADII, _ROW_DISTANCE, _SEGMENTS, _WIRE_WIDTH = (235.0, 150.0), 90.0, 24, 20.0
# Points along each axis at which fields are computed; they are smooth and interpolated.
_COARSE = 24
_MOST_CHANNELS = 24
# Smallest magnitude of the body relative to the largest one.
_BODY = 0.05
_REGULAR = 1e-6


class MeasuredCoils:
    """Coil maps of measured scans on a device.

    Parameters
    ----------
    files
        ``.npy`` files with k-space ``(coil, y, x)``, centred; environment variables are expanded.
    device
        Device of the maps.

    Raises
    ------
    ConfigError
        If an environment variable in a path is not set.
    ScanError
        If a file cannot be read.
    """

    def __init__(self, files: Sequence[str], device: torch.device) -> None:
        self.maps = [torch.from_numpy(estimated_maps(file, _MOST_CHANNELS)).to(device) for file in files]

    def draw(self, coils: int, shape: tuple[int, int], draws: Draws) -> Tensor | None:
        """Random maps ``(coil, y, x)``, shifted, stretched, rotated, mirrored; None if no scan has enough channels."""
        large_enough = [maps for maps in self.maps if len(maps) >= coils]
        if not large_enough:
            return None
        maps = large_enough[int(draws.rng.integers(len(large_enough)))][:coils]
        angle = draws.rng.normal(0, 0.2) + np.pi / 2 * draws.integer(0, 3)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        stretch = draws.rng.uniform(0.75, 1.0, 2) * draws.rng.choice((-1, 1), 2) * min(shape) / np.array(shape)
        grid = pixel_grid(shape, draws.device)
        matrix = draws.tensor(turn * stretch)
        position = (
            torch.einsum("ij,jyx->iyx", matrix, grid) + draws.tensor(draws.rng.uniform(-0.1, 0.1, 2))[:, None, None]
        )
        planes = torch.cat([maps.real, maps.imag])[None]
        found = look_up(planes, position[None], padding="border")[0]
        return torch.complex(found[:coils], found[coils:])


def loop_maps(coils: int, shape: tuple[int, int], draws: Draws) -> Tensor:
    """Random sensitivities ``(coil, y, x)`` of loops around a chest of random size, position and orientation.

    The transverse field of a unit current in each loop (principle of reciprocity), by the Biot-Savart law over straight
    segments of wire; see `onebreath.simulation.coils`, where the loops are fixed.
    """
    half = np.minimum(np.array((150.0, 175.0)) * draws.rng.uniform(0.85, 1.2, 2), (130.0, 185.0))
    half *= draws.rng.uniform(0.75, 1.0, 2)
    axes = [np.linspace(-size, size, _COARSE) + draws.uniform(-15, 15) for size in half]
    if draws.chance(0.3):
        axes = axes[::-1]
    points = np.stack(np.broadcast_arrays(axes[1][None], axes[0][:, None], draws.uniform(-60, 60)), -1).reshape(-1, 3)
    wires = draws.tensor(_wires(coils, draws))
    segments = wires.roll(-1, 1) - wires
    distance = draws.tensor(points) - ((wires.roll(-1, 1) + wires) / 2)[:, :, None]
    # Next to the wire the field of a thin conductor diverges; real conductors have a width.
    cube = torch.linalg.vector_norm(distance, dim=-1, keepdim=True).clamp_min(_WIRE_WIDTH) ** 3
    field = (torch.linalg.cross(segments[:, :, None].expand_as(distance), distance) / cube).sum(1)
    planes = torch.stack([field[..., 0], -field[..., 1]], 1).unflatten(2, (_COARSE, _COARSE))
    fine = F.interpolate(planes, size=shape, mode="bicubic", align_corners=True)
    maps = torch.complex(fine[:, 0], fine[:, 1])
    # Scanners have already removed part of the shading from the images.
    energy = (maps.abs() ** 2).sum(0)
    maps = maps / energy.mean().sqrt()
    return maps / ((maps.abs() ** 2).sum(0) ** (0.5 * draws.uniform(0.3, 1.0)))


def _wires(coils: int, draws: Draws) -> np.ndarray:
    """Vertices ``(coil, segment, 3)`` of the loops in mm, on one to four rings."""
    rings = int(np.clip(round(coils / 9), 1, 4))
    counts = [coils // rings + (ring < coils % rings) for ring in range(rings)]
    around = 2 * np.pi * np.arange(_SEGMENTS) / _SEGMENTS
    start, loops = draws.rng.random(), []
    for ring, count in enumerate(counts):
        z = (ring - (rings - 1) / 2) * _ROW_DISTANCE + draws.uniform(-15, 15)
        radius = np.clip(1.15 * np.pi * np.mean(_RADII) / count, 45, 90)
        for angle in 2 * np.pi * (np.arange(count) + start + 0.5 * (ring % 2)) / count:
            centre = np.array([_RADII[0] * np.cos(angle), _RADII[1] * np.sin(angle), z])
            normal = np.array([np.cos(angle) / _RADII[0], np.sin(angle) / _RADII[1], 0.0])
            normal /= np.linalg.norm(normal)
            first = np.array([-normal[1], normal[0], 0.0])
            second = np.cross(normal, first)
            loops.append(centre + radius * (np.cos(around)[:, None] * first + np.sin(around)[:, None] * second))
    return np.stack(loops)


def whitened(maps: Tensor, magnitude: Tensor, correlation: float, draws: Draws) -> Tensor:
    """Sensitivities ``(coil, y, x)`` after whitening to noise of unit deviation in real and imaginary part.

    The noise model is that of `onebreath.simulation.coils.noise_covariance`.
    """
    inside = maps * (magnitude > _BODY * magnitude.amax())
    overlap = torch.einsum("ayx,byx->ab", inside, inside.conj())
    norm = overlap.diagonal().real.sqrt()
    overlap = overlap / (norm[:, None] * norm)
    logarithms = draws.rng.uniform(-0.35, 0.35, len(maps))
    gains = draws.tensor(np.exp(logarithms - logarithms.mean()))
    eye = torch.eye(len(maps), device=maps.device)
    covariance = (gains[:, None] * gains) * ((1 - correlation) * eye + correlation * overlap) + _REGULAR * eye
    factor, _ = torch.linalg.cholesky_ex(covariance)
    # The complex variance of white noise is 2.
    flat = torch.linalg.solve_triangular(factor, 2**0.5 * maps.flatten(1), upper=False)
    return flat.unflatten(1, maps.shape[1:])


def compressed(coils: Tensor, mean: Tensor, channels: int, region: tuple[int, int], draws: Draws) -> Tensor:
    """Sensitivities of the `channels` strongest virtual coils by the energy in the centre of k-space.

    Only the span of the principal components is computed, by orthogonal iteration; their order does not matter.
    """
    channels = min(channels, len(coils))
    centre = resize(fft2c(mean * coils), region).flatten(1)
    energy = centre @ centre.mH
    energy = energy / energy.diagonal().real.sum()
    basis = draws.complex_normal(len(coils), channels)
    for _ in range(12):
        basis, _ = torch.linalg.qr(energy @ basis)
    return torch.einsum("cn,cyx->nyx", basis.conj(), coils)
