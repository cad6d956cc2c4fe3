"""Coil maps from calibration lines by ESPIRiT, without waiting for the device.

Two things differ from `onebreath.mri.espirit`: instead of a cut at a threshold that follows the noise, directions of
the signal space with energy s are weighted by ``s / (s + t)``, and the maps, which are smooth, are computed on a coarse
grid and interpolated.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from onebreath.mri.espirit import WIDER, resampling

_KERNEL, _THRESHOLD = 6, 3e-5
# Points of the coarse grid along each axis: five times the width of the kernels' autocorrelation.
_GRID = 56
_SQUARINGS = 8


def coil_maps(acs: Tensor, shape: tuple[int, int], crop: float | None = None) -> Tensor:
    """Maps ``(coil, y, x)`` with unit sum of squares from calibration k-space ``(coil, ya, xa)``, centred.

    They are zero where the eigenvalue is at most `crop`, as with ``espirit_crop`` in configurations.
    """
    coils = len(acs)
    grid = tuple(min(_GRID, size) for size in shape)
    matrices = _pixel_matrices(acs, shape, (grid[0], grid[1]))
    vectors = _dominant(matrices)
    vectors = vectors * _phase(vectors, acs)[..., None]
    planes = torch.cat([vectors.real, vectors.imag], -1).permute(2, 0, 1)[None]
    fine = F.interpolate(planes, size=shape, mode="bicubic", align_corners=True)[0]
    maps = torch.complex(fine[:coils], fine[coils:])
    maps = maps / maps.abs().square().sum(0).sqrt().clamp_min(1e-6)
    if crop is None:
        return maps
    eigenvalues = (vectors.conj() * (matrices @ vectors[..., None])[..., 0]).sum(-1).real
    return maps * (F.interpolate(eigenvalues[None, None], size=shape, mode="bilinear", align_corners=True)[0] > crop)


def _pixel_matrices(acs: Tensor, shape: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Matrices ``(y, x, coil, coil)`` on a grid over an image; their strongest eigenvectors are the maps."""
    coils, k = len(acs), _KERNEL
    wide = shape[0], round(WIDER * shape[1])
    acs = acs @ _resampling(acs.shape[2], shape[1], wide[1], acs.device).T
    windows = acs.unfold(1, k, 1).unfold(2, k, 1).permute(3, 4, 0, 1, 2).flatten(3).flatten(0, 2)
    gram = windows @ windows.mH
    eye = torch.eye(len(gram), device=acs.device)
    # The Frobenius norm of the Gram matrix is close to its largest eigenvalue.
    threshold = _THRESHOLD * torch.linalg.matrix_norm(gram)
    projector, _ = torch.linalg.solve_ex(gram + threshold * eye, gram)
    parts = projector.unflatten(0, (k, k, coils)).unflatten(3, (k, k, coils))
    lags = torch.zeros(2 * k - 1, 2 * k - 1, coils, coils, dtype=acs.dtype, device=acs.device)
    for i in range(k):
        for j in range(k):
            lags[k - 1 - i : 2 * k - 1 - i, k - 1 - j : 2 * k - 1 - j] += parts[i, j].permute(1, 2, 0, 3)
    y, x = (_harmonics(*sizes, acs) for sizes in zip(shape, wide, grid, strict=True))
    partial = torch.einsum("xm,lmab->xlab", x, lags)
    return torch.einsum("yl,xlab->yxab", y, partial) / k**2


@lru_cache(maxsize=64)
def _resampling(samples: int, size: int, wide: int, device: torch.device) -> Tensor:
    """Matrix of `onebreath.mri.espirit.resampling` on a device."""
    return torch.from_numpy(resampling(samples, size, wide)).to(device, torch.complex64, non_blocking=True)


def _harmonics(size: int, period: int, count: int, like: Tensor) -> Tensor:
    """``exp(-2 pi i p l / period)`` at `count` points p from the first to the last of `size` pixels, for all lags l."""
    position = torch.linspace(-(size // 2), size - 1 - size // 2, count, device=like.device) / period
    lag = torch.arange(1 - _KERNEL, _KERNEL, device=like.device)
    return torch.exp(-2j * torch.pi * position[:, None] * lag)


def _dominant(matrices: Tensor) -> Tensor:
    """Strongest eigenvectors ``(..., coil)``, by repeated squaring of the matrices."""
    power = matrices
    for _ in range(_SQUARINGS):
        power = power @ power
        power = power / power.diagonal(dim1=-2, dim2=-1).real.sum(-1).clamp_min(1e-30)[..., None, None]
    coil = torch.arange(1, matrices.shape[-1] + 1, device=matrices.device)
    vectors = power @ torch.exp(0.618j * coil**2)
    return vectors / vectors.abs().square().sum(-1, keepdim=True).sqrt().clamp_min(1e-30)


def _phase(vectors: Tensor, acs: Tensor) -> Tensor:
    """Phase factors that make the principal coil real and positive."""
    flat = acs.flatten(1)
    energy = flat @ flat.mH
    principal = _dominant(energy)
    along = (principal.conj() * vectors).sum(-1)
    return along.conj() / along.abs().clamp_min(1e-30)
