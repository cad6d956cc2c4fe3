"""Synthetic and real slices for the tests of the methods."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onebreath.methods.base import SliceData
from onebreath.mri.coils import pca_matrix
from onebreath.mri.espirit import espirit
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.mri.sampling import describe
from tests.helpers import complex_normal


def smooth_maps(coils: int, ny: int, nx: int) -> np.ndarray:
    """Coil maps (coil, y, x) of loops on an ellipse around the field of view, sum of squares 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    angle = 2 * np.pi * np.arange(coils)[:, None, None] / coils
    distance = (y - 1.2 * np.sin(angle)) ** 2 + (x - 1.2 * np.cos(angle)) ** 2
    maps = np.exp(-distance / 1.2 + 1j * (angle + 0.8 * x * np.cos(angle) + 0.8 * y * np.sin(angle)))
    return (maps / np.sqrt(np.sum(np.abs(maps) ** 2, axis=0))).astype(np.complex64)


def moving_disc(frames: int, ny: int, nx: int) -> np.ndarray:
    """Images (frame, y, x) of a bright disc in a larger one, its radius changing with time."""
    y, x = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    radius = 0.25 + 0.05 * np.sin(2 * np.pi * np.arange(frames) / max(frames, 2))[:, None, None]
    edge = 2.5 / min(ny, nx)
    body = 1 / (1 + np.exp((np.hypot(y / 0.8, x / 0.75) - 1) / edge))
    heart = 1 / (1 + np.exp((np.hypot(y - 0.1, x + 0.15) - radius) / edge))
    return (100 * (body + 2 * heart) * np.exp(0.5j * x + 0.3j * y)).astype(np.complex64)


def lines(ny: int, acceleration: int, acs: int = 0, offset: int = 0, last: int | None = None) -> np.ndarray:
    """Sampled lines (y,): every R-th from the offset up to `last`, and a block of calibration lines at the centre."""
    mask = np.zeros(ny, bool)
    mask[offset : None if last is None else last + 1 : acceleration] = True
    mask[ny // 2 - acs // 2 : ny // 2 + (acs + 1) // 2] |= acs > 0
    return mask


@dataclass
class Case:
    """A slice to reconstruct and what should come out."""

    data: SliceData
    truth: np.ndarray
    full: np.ndarray


def slice_of(
    full: np.ndarray, mask: np.ndarray, acs: int | None = 24, maps: np.ndarray | None = None, **known: int
) -> SliceData:
    """Undersample full k-space (frame, coil, y, x) by a mask (frame, y, x); the calibration lines are its mean."""
    first = full.shape[2] // 2 - (acs or 0) // 2
    mean = None if acs is None else full.mean(axis=0)[:, first : first + acs].astype(np.complex64)
    return SliceData(full * mask[:, None], mask, mean, first if acs else 0, maps, describe(mask, **known))


def synthetic(
    mask: np.ndarray, ny: int = 64, nx: int = 48, coils: int = 8, acs: int | None = 24, noise: float = 1.0
) -> Case:
    """A noisy slice with known maps; `mask` is (y,), (frame, y) or (frame, y, x)."""
    mask = mask[None] if mask.ndim == 1 else mask
    mask = mask[..., None] if mask.ndim == 2 else mask
    maps, truth = smooth_maps(coils, ny, nx), moving_disc(mask.shape[0], ny, nx)
    full = fft2c(maps * truth[:, None])
    full = full + noise * complex_normal(np.random.default_rng(3), full.shape, np.complex64)
    return Case(slice_of(full, mask, acs, maps[None]), truth, full)


def real(shared: Path, name: str, acceleration: int, acs: int, coils: int | None = None) -> Case:
    """A real, fully sampled slice, undersampled, with ESPIRiT maps of its calibration lines; truth through the maps."""
    kspace = np.load(shared / "data" / name / "kspace.npy")
    if coils is not None:
        kspace = np.einsum("vc,cyx->vyx", pca_matrix(kspace, coils), kspace).astype(np.complex64)
    ny = kspace.shape[1]
    mask = lines(ny, acceleration, acs, ny // 2 % acceleration)[None, :, None]
    data = slice_of(kspace[None], mask, acs)
    maps, _ = espirit(data.acs, kspace.shape[1:])
    truth = np.sum(np.conj(maps[0]) * ifft2c(kspace), axis=0)[None]
    return Case(replace(data, maps=maps), truth, kspace[None])
