"""Coil maps of a measured scan as the coils of simulated scans."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from scipy.ndimage import affine_transform

from onebreath.errors import ScanError
from onebreath.folders import expanded
from onebreath.mri.coils import apply_channel_matrix, pca_matrix
from onebreath.mri.espirit import espirit
from onebreath.mri.fourier import resize

_CALIBRATION, _GRID = 24, 96


def measured_maps(path: str, coils: int, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random coil maps ``(coil, y, x)`` from those of a measured scan: shifted, stretched, rotated and mirrored.

    Parameters
    ----------
    path
        See `estimated_maps`.
    coils
        Number of channels, at most those of the file.
    shape
        ``(y, x)`` of the maps.
    rng
        Random numbers.

    Raises
    ------
    ConfigError
        If an environment variable in the path is not set.
    ScanError
        If the file cannot be read, or has fewer channels.
    """
    maps = estimated_maps(path, coils)
    if len(maps) < coils:
        raise ScanError(f"measured_coils: {path} has {len(maps)} channels, expected at least {coils}")
    if rng.random() < 0.5:
        maps = maps.swapaxes(1, 2)
    if rng.random() < 0.5:
        maps = maps[:, ::-1]
    angle, zoom = rng.normal(0, 0.2), rng.uniform(0.75, 1.0, 2) * _GRID / np.array(shape)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * zoom
    centre = np.array([_GRID / 2, _GRID / 2]) + rng.uniform(-0.06, 0.06, 2) * _GRID
    offset = centre - rotation @ (np.array(shape) / 2)
    out = np.empty((coils, *shape), np.complex64)
    for source, target in zip(maps, out, strict=True):
        parts = [
            affine_transform(part, rotation, offset, output_shape=shape, order=1, mode="nearest")
            for part in (source.real, source.imag)
        ]
        target[:] = parts[0] + 1j * parts[1]
    return out


@lru_cache(maxsize=32)
def maps_identity(path: str) -> str:
    """SHA-256 of the file that `measured_maps` reads; errors as there."""
    try:
        return hashlib.sha256(expanded(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ScanError(f"measured_coils: {path} cannot be read: {error}") from error


@lru_cache(maxsize=32)
def estimated_maps(path: str, channels: int) -> np.ndarray:
    """ESPIRiT maps ``(coil, 96, 96)`` complex64 of the strongest virtual coils of a measured scan.

    Parameters
    ----------
    path
        ``.npy`` file with k-space ``(coil, y, x)``, centred; environment variables are expanded.
    channels
        Number of virtual coils; fewer if the file has fewer channels.

    Raises
    ------
    ConfigError
        If an environment variable in the path is not set.
    ScanError
        If the file cannot be read, or its array has other axes.
    """
    try:
        kspace = np.load(expanded(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ScanError(f"measured_coils: {path} cannot be read: {error}") from error
    if kspace.ndim != 3:
        raise ScanError(f"measured_coils: {path} has the shape {kspace.shape}, expected (coil, y, x)")
    acs = resize(kspace.astype(np.complex64), tuple(min(_CALIBRATION, size) for size in kspace.shape[1:]))
    matrix = pca_matrix(acs, min(channels, len(acs)))
    maps, _ = espirit(apply_channel_matrix(matrix, acs, 0), (_GRID, _GRID), crop=None)
    return np.ascontiguousarray(maps[0], np.complex64)
