"""Augmentation of images by rotation, scaling, smooth deformation and contrast."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter, map_coordinates

MARGIN = 16
"""Pixels beyond the sampled region to which splines are fitted, so that its rim is accurate."""
_DARKEST = 1e-3


class WarpSettings(BaseModel):
    """Limits of image deformation, equal for all frames of a series. Images with measured noise are not changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(0.0, ge=0, le=1, description="fraction of examples that are warped")
    rotation: float = Field(30.0, ge=0, le=180, description="largest angle in degrees")
    scaling: float = Field(0.15, ge=0, lt=1, description="largest relative change of size, for each axis")
    bending: float = Field(3.0, ge=0, description="standard deviation of smooth displacements in pixels")
    contrast: float = Field(0.2, ge=0, lt=1, description="largest change of the exponent of magnitudes")


def displaced(settings: WarpSettings, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Random source position of each pixel of a window, relative to the window's centre.

    Parameters
    ----------
    settings
        Limits of the deformation.
    shape
        ``(y, x)`` of the window.
    rng
        Random numbers for angle, scales and displacements.

    Returns
    -------
    numpy.ndarray
        ``(2, y, x)`` in pixels.
    """
    axes = [np.arange(size) - (size - 1) / 2 for size in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    angle = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation * rng.uniform(1 - settings.scaling, 1 + settings.scaling, 2)
    smooth = np.stack([gaussian_filter(rng.standard_normal(shape), 12.0, mode="wrap") for _ in shape])
    spread = float(np.std(smooth)) or 1.0
    bent: np.ndarray = np.einsum("ij,jyx->iyx", matrix, grid) + settings.bending * smooth / spread
    return bent


def warped(
    image: np.ndarray, first: tuple[int, int], shape: tuple[int, int], settings: WarpSettings, rng: np.random.Generator
) -> np.ndarray:
    """Window of a warped series.

    Parameters
    ----------
    image
        ``(frame, y, x)`` complex; its edge is repeated outside.
    first, shape
        The window's first row and column, and its size.
    settings
        See `WarpSettings`.
    rng
        Random numbers.

    Returns
    -------
    numpy.ndarray
        ``(frame, y, x)`` complex64.
    """
    middle = np.array(first) + (np.array(shape) - 1) / 2
    position = displaced(settings, shape, rng) + middle[:, None, None]
    # Splines are fitted only to the part of the image that the window needs.
    size = np.array(image.shape[1:])
    low = np.clip(position.min(axis=(1, 2)).astype(int) - MARGIN, 0, size - 2)
    high = np.clip(position.max(axis=(1, 2)).astype(int) + MARGIN + 1, low + 2, size)
    part = image[:, low[0] : high[0], low[1] : high[1]]
    made = np.stack([_interpolated(frame, position - low[:, None, None]) for frame in part])
    exponent = rng.uniform(-settings.contrast, settings.contrast)
    brightness = np.abs(made) / max(float(np.abs(made).max()), np.finfo(np.float32).tiny)
    return (made * np.maximum(brightness, _DARKEST) ** exponent).astype(np.complex64)


def _interpolated(frame: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Complex image ``(y, x)`` at positions ``(2, y, x)`` in pixels, by cubic splines."""
    real, imag = (map_coordinates(part, position, order=3, mode="nearest") for part in (frame.real, frame.imag))
    return np.asarray(real + 1j * imag)
