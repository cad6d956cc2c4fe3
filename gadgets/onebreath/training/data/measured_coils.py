"""Coil maps of a measured scan, moved and cut to serve as the coils of another."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from onebreath.errors import ScanError
from onebreath.mri.coils import apply_channel_matrix, pca_matrix
from onebreath.mri.espirit import espirit
from onebreath.mri.fourier import resize

_CALIBRATION, _GRID = 24, 96


def measured_maps(path: str, coils: int, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw coil maps ``(coil, y, x)`` from those of a measured scan: shifted, stretched, turned and mirrored.

    Parameters
    ----------
    path
        ``.npy`` file with k-space ``(coil, y, x)``, centred; environment variables are filled in.
    coils
        Channels wanted, at most those of the file.
    shape
        ``(y, x)`` wanted.
    rng
        For the geometry.

    Raises
    ------
    ScanError
        If the file cannot be read, or has fewer channels.
    """
    maps = _maps(path, coils)
    if rng.random() < 0.5:
        maps = maps.swapaxes(1, 2)
    if rng.random() < 0.5:
        maps = maps[:, ::-1]
    angle, zoom = rng.normal(0, 0.2), rng.uniform(0.75, 1.0, 2) * _GRID / np.array(shape)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * zoom
    centre = np.array([_GRID / 2, _GRID / 2]) + rng.uniform(-0.06, 0.06, 2) * _GRID
    offset = centre - turn @ (np.array(shape) / 2)
    out = np.empty((coils, *shape), np.complex64)
    for source, target in zip(maps, out, strict=True):
        parts = [
            affine_transform(part, turn, offset, output_shape=shape, order=1, mode="nearest")
            for part in (source.real, source.imag)
        ]
        target[:] = parts[0] + 1j * parts[1]
    return out


@lru_cache(maxsize=32)
def _maps(path: str, coils: int) -> np.ndarray:
    try:
        kspace = np.load(Path(os.path.expandvars(path)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ScanError(f"measured_coils: {path} cannot be read: {error}") from error
    if kspace.ndim != 3 or len(kspace) < coils:
        raise ScanError(f"measured_coils: {path} has the shape {kspace.shape}, expected ({coils} coils or more, y, x)")
    acs = resize(kspace.astype(np.complex64), (_CALIBRATION, _CALIBRATION))
    maps, _ = espirit(apply_channel_matrix(pca_matrix(acs, coils), acs, 0), (_GRID, _GRID), crop=None)
    return np.asarray(maps[0])
