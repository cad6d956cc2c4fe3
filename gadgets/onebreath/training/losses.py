"""Losses between a reconstructed and a true series; by default the sum of the CRUNet-MR paper."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from onebreath.mri.fourier import fft2c

_WINDOW, _K1, _K2 = 7, 0.01, 0.03
# The official scaling adds this to the maximum and to the scaled image.
_OFFICIAL_OFFSET = 1e-6
# Targets are scaled to about 1; this keeps the loss of a zero target finite.
_SMALLEST_TARGET = 1e-6
# Terms of the published loss, which are not computed if their weights are 0.
_PUBLISHED = ("kspace_mse", "image_mse", "image_l1", "ssim", "ssim_magnitude")
# Quantile of the change over time above which pixels count as moving, and a negligible squared error (90 dB).
_DYNAMIC, _FLOOR = 0.9, 1e-9
# Keeps the derivative of a modulus finite at zero, as in the released A-LIKNet.
_SMALLEST_ENERGY = 1e-9


class LossWeights(BaseModel):
    """Weights of the terms; the defaults are those of CRUNet-MR."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kspace_mse: float = Field(0.25, ge=0, description="mean squared error of the k-space of the combined image")
    image_mse: float = Field(0.5, ge=0, description="mean squared error of the image, real and imaginary part")
    image_l1: float = Field(0.5, ge=0, description="mean absolute error of the image, real and imaginary part")
    ssim: float = Field(1.0, ge=0, description="1 - SSIM, mean of the real and the imaginary part")
    ssim_magnitude: float = Field(
        0.0, ge=0, description="1 - SSIM of the magnitude, both images divided by the largest magnitude of the target"
    )
    psnr: float = Field(
        0.0,
        ge=0,
        description="logarithm of the mean squared error of each example, over the whole image and over the moving "
        "pixels (1 is -4.34 dB PSNR), so that scans count equally at any noise level",
    )
    image_modulus: float = Field(0.0, ge=0, description="mean modulus of the complex error of the image (A-LIKNet)")
    kspace_modulus: float = Field(
        0.0,
        ge=0,
        description="mean modulus of the complex error of the multi-coil k-space against the combined target times the "
        "coil maps; for networks that predict it (A-LIKNet). Its authors sum both errors, which is a weight of 1 for "
        "the image and of the number of coils for the k-space",
    )
    official_ssim_scaling: bool = Field(
        False,
        description="divide prediction and target each by its own maximum, as in the released code (scale invariant); "
        "otherwise both by the largest magnitude of the target",
    )


class Terms(NamedTuple):
    """Unweighted terms of the loss."""

    kspace_mse: Tensor
    image_mse: Tensor
    image_l1: Tensor
    ssim_real: Tensor
    ssim_imag: Tensor


def loss_terms(prediction: Tensor, target: Tensor, official_ssim_scaling: bool = False) -> Terms:
    """Terms of the loss between complex series ``(batch, frame, y, x)``."""
    error = prediction - target
    squared = (error.real**2 + error.imag**2).mean() / 2
    spectrum = fft2c(error)
    spectral = (spectrum.real**2 + spectrum.imag**2).mean() / 2
    absolute = (error.real.abs().mean() + error.imag.abs().mean()) / 2
    parts = [
        ssim_loss(*_scaled(getattr(prediction, part), getattr(target, part), target, official_ssim_scaling))
        for part in ("real", "imag")
    ]
    return Terms(spectral, squared, absolute, *parts)


def total_loss(prediction: Tensor, target: Tensor, weights: LossWeights) -> Tensor:
    """Weighted sum of all terms except `kspace_modulus`, which needs more than the image."""
    loss = target.real.new_zeros(())
    if any(getattr(weights, name) for name in _PUBLISHED):
        terms = loss_terms(prediction, target, weights.official_ssim_scaling)
        loss = (
            weights.kspace_mse * terms.kspace_mse
            + weights.image_mse * terms.image_mse
            + weights.image_l1 * terms.image_l1
            + weights.ssim * (terms.ssim_real + terms.ssim_imag) / 2
        )
    if weights.ssim_magnitude:
        magnitudes = _scaled(prediction.abs(), target.abs(), target, official=False)
        loss = loss + weights.ssim_magnitude * ssim_loss(*magnitudes)
    if weights.psnr:
        loss = loss + weights.psnr * psnr_loss(prediction, target)
    if weights.image_modulus:
        loss = loss + weights.image_modulus * modulus_error(prediction, target)
    return loss


def modulus_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean modulus of the difference of complex arrays."""
    error = prediction - target
    return (error.real**2 + error.imag**2 + _SMALLEST_ENERGY).sqrt().mean()


def kspace_loss(prediction: Tensor, target: Tensor, maps: Tensor) -> Tensor:
    """Mean modulus of the error of multi-coil k-space.

    Parameters
    ----------
    prediction
        K-space ``(batch, frame, coil, y, x)``.
    target
        Combined image ``(batch, frame, y, x)``; its k-space is that of the image times the maps, as simulated by
        A-LIKNet's authors.
    maps
        ``(batch, 1, coil, y, x)``.
    """
    return modulus_error(prediction, fft2c(target[:, :, None] * maps))


def psnr_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean logarithm of the squared error relative to the squared maximum, of whole series and of moving pixels.

    Half the weight is on the tenth of the pixels whose magnitude changes most over time, the dynamic region of the
    evaluation.

    Parameters
    ----------
    prediction, target
        Complex series ``(batch, frame, y, x)``.
    """
    size = target.abs()
    error = prediction - target
    squared = (error.real**2 + error.imag**2).mean(dim=1).flatten(1)
    change = size.std(dim=1).flatten(1) if target.shape[1] > 1 else torch.zeros_like(squared)
    moving = (change > torch.quantile(change, _DYNAMIC, dim=1, keepdim=True)).to(squared.dtype)
    peak = size.flatten(1).amax(dim=1).clamp_min(_SMALLEST_TARGET) ** 2
    whole = squared.mean(dim=1) / peak
    dynamic = (squared * moving).sum(dim=1) / (moving.sum(dim=1).clamp_min(1) * peak)
    return 0.5 * ((whole + _FLOOR).log() + (dynamic + _FLOOR).log()).mean()


def ssim_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """``1 - SSIM`` of real series ``(batch, frame, y, x)`` with a data range of 1.

    Z. Wang et al., IEEE Trans Image Process 13:600 (2004), eq. 13, with a uniform 7 x 7 window and sample covariance;
    the mean over all windows inside the image and over frames.

    Raises
    ------
    ValueError
        If an image is smaller than the window.
    """
    if min(prediction.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs at least {_WINDOW} x {_WINDOW} pixels, got {tuple(prediction.shape[-2:])}")
    x, y = prediction.flatten(0, 1)[:, None], target.flatten(0, 1)[:, None]
    samples = _WINDOW**2
    mean_x, mean_y = F.avg_pool2d(x, _WINDOW, 1), F.avg_pool2d(y, _WINDOW, 1)
    unbiased = samples / (samples - 1)
    var_x = unbiased * (F.avg_pool2d(x * x, _WINDOW, 1) - mean_x**2)
    var_y = unbiased * (F.avg_pool2d(y * y, _WINDOW, 1) - mean_y**2)
    covariance = unbiased * (F.avg_pool2d(x * y, _WINDOW, 1) - mean_x * mean_y)
    c1, c2 = _K1**2, _K2**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    return 1 - similarity.mean()


def _scaled(prediction: Tensor, target: Tensor, complex_target: Tensor, official: bool) -> tuple[Tensor, Tensor]:
    """Prediction and target scaled for SSIM, see `LossWeights.official_ssim_scaling`."""
    if official:
        return _by_own_maximum(prediction), _by_own_maximum(target)
    # Separate for each example, so that the loss of a batch is the mean of its examples' losses.
    largest = complex_target.detach().abs().amax(dim=(1, 2, 3), keepdim=True)
    scale = largest.clamp_min(_SMALLEST_TARGET)
    return prediction / scale, target / scale


def _by_own_maximum(part: Tensor) -> Tensor:
    return part / (part.max() + _OFFICIAL_OFFSET) + _OFFICIAL_OFFSET
