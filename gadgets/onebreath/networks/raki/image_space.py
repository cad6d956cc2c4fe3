"""RAKI in image space: convolutions mix channels in each pixel, activations are convolutions with masks.

P. Dawood et al., "Image space formalism of convolutional neural networks for k-space interpolation", arXiv:2402.17410
(2024). An activation multiplies each sample of k-space by act(z) / z, its *activation mask*; in image space that is a
circular convolution with the mask's transform. All borders wrap around, so this equals `Raki.fill` with a circular
border exactly, and with a valid one up to the samples at the border.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.mri.gfactor_network import Derivative
from onebreath.networks.raki.raki import Raki, clrelu

Gain: TypeAlias = tuple[Tensor, Tensor | None]
"""Factors (channel, y, x) of z and of conj(z) in k-space; the second is None for an activation mask."""


@dataclass(frozen=True)
class PixelwiseMixing:
    """Image-space form of a convolution layer z(k) = sum over taps w h(k + d).

    Attributes
    ----------
    weights : (tap, out, in) complex
        w of each tap.
    distances : (tap, 2) int
        d of each tap in lines and samples.
    """

    weights: Tensor
    distances: Tensor

    def kernel(self, shape: tuple[int, int]) -> Tensor:
        """Image-space kernel (out, in, y, x): the matrix that multiplies the channels of each pixel."""
        return torch.einsum("toi,tyx->oiyx", self.weights, self._phases(shape))

    def __call__(self, images: Tensor) -> Tensor:
        """Mix channels of images (batch, in, y, x)."""
        phases = self._phases(images.shape[-2:]).to(images.dtype)
        parts = (_mix(w, images * phase) for w, phase in zip(self.weights, phases, strict=True))
        return sum(parts, torch.zeros((), dtype=images.dtype, device=images.device))

    def adjoint(self, images: Tensor) -> Tensor:
        """Adjoint of the mixing, for images (batch, out, y, x)."""
        phases = self._phases(images.shape[-2:]).to(images.dtype)
        parts = (_mix(w.mH, images) * phase.conj() for w, phase in zip(self.weights, phases, strict=True))
        return sum(parts, torch.zeros((), dtype=images.dtype, device=images.device))

    def _phases(self, shape: Sequence[int]) -> Tensor:
        """Phase factor of each tap in image space, (tap, y, x)."""
        along = []
        for axis, n in enumerate(shape):
            pixel = torch.arange(n, dtype=torch.float64, device=self.distances.device) - n // 2
            angle = self.distances[:, axis, None] * pixel * (-2 * torch.pi / n)
            along.append(torch.polar(torch.ones_like(angle), angle))
        return (along[0][:, :, None] * along[1][:, None]).to(self.weights.dtype)


class ImageSpaceRaki:
    """A RAKI network that acts on coil images of undersampled k-space.

    Parameters
    ----------
    network
        Trained network.

    Attributes
    ----------
    layers
        Convolutions; the last also moves the targets to their lines and columns.
    keeps
        Whether measured lines pass through unchanged.
    """

    def __init__(self, network: Raki) -> None:
        self.slope, self.acceleration = network.slope, network.acceleration
        self.keeps = network.targets < network.acceleration
        *inner, last = (weight.detach() for weight in network.weights)
        self.layers = [_inner_layer(weight, network.acceleration) for weight in inner]
        self.layers.append(_last_layer(last, network))

    def __call__(self, images: Tensor) -> Tensor:
        """Coil images (batch, coil, y, x) without aliasing from those of zero-filled k-space."""
        z = images
        for layer in self.layers[:-1]:
            z = ifft2c(clrelu(fft2c(layer(z)), self.slope))
        return self._finish(z, images)

    def gains(self, images: Tensor, derivative: Derivative) -> list[Gain]:
        """Gains of each activation at coil images (coil, y, x): as a fixed mask, or for a small change.

        They are 0 on all lines between those of the sampling lattice, which hold no signal.
        """
        found: list[Gain] = []
        h = images[None]
        for layer in self.layers[:-1]:
            z = fft2c(layer(h))
            # Transforms leave rounding errors on the lines between, which are exactly 0 in theory.
            z = torch.where(z.abs() > 1e3 * torch.finfo(z.dtype).eps * z.abs().max(), z, 0)
            activated = clrelu(z, self.slope)
            found.append(_gain(z[0], activated[0], self.slope, derivative))
            h = ifft2c(activated)
        return found

    def apply(self, images: Tensor, gains: Sequence[Gain]) -> Tensor:
        """Apply the network with fixed gains: linear, or real-linear, in the images (batch, coil, y, x)."""
        z = images
        for layer, gain in zip(self.layers[:-1], gains, strict=True):
            z = ifft2c(_multiply(fft2c(layer(z)), gain))
        return self._finish(z, images)

    def adjoint(self, images: Tensor, gains: Sequence[Gain]) -> Tensor:
        """Adjoint of `apply` for the real inner product Re <a, b>."""
        u = self.layers[-1].adjoint(images)
        for layer, (direct, mirrored) in zip(self.layers[-2::-1], reversed(gains), strict=True):
            u = layer.adjoint(ifft2c(_multiply(fft2c(u), (direct.conj(), mirrored))))
        return u + images if self.keeps else u

    def _finish(self, z: Tensor, images: Tensor) -> Tensor:
        return self.layers[-1](z) + images if self.keeps else self.layers[-1](z)


def row_gfactor(
    network: ImageSpaceRaki,
    gains: Sequence[Gain],
    acquired: Tensor,
    combination: Tensor,
    pixels: Tensor,
    block: int = 16,
) -> Tensor:
    """g-factor of single pixels from rows of the Jacobian, computed block by block with the adjoint.

    Parameters
    ----------
    network, gains
        The network and the gains of its activations.
    acquired : (y,) bool
        Measured lines.
    combination : (coil, y, x) complex
        Factors of the coil images in the combined image, with unit sum of squares over the coils. Multiplied by the
        conjugate phase of the image, they give the noise of the magnitude.
    pixels : (pixel, 2) int
        Positions (y, x).
    block
        Pixels processed at once: bounds the memory.

    Returns
    -------
    (pixel,) real
        Standard deviation of the real part, relative to a fully sampled scan, without sqrt(R).
    """
    rows = torch.cat(list(_row_norms(network, gains, acquired, combination, pixels.split(block))))
    return rows / math.sqrt(network.acceleration)


def _row_norms(
    network: ImageSpaceRaki, gains: Sequence[Gain], acquired: Tensor, combination: Tensor, blocks: Sequence[Tensor]
) -> Iterator[Tensor]:
    for block in blocks:
        y, x = block.T
        unit = combination.new_zeros(len(block), *combination.shape)
        unit[torch.arange(len(block)), :, y, x] = combination[:, y, x].conj().T
        gradient = fft2c(network.adjoint(unit, gains))[:, :, acquired]
        yield gradient.abs().square().sum((1, 2, 3)).sqrt()


def comb_energy(mask: Tensor, acceleration: int) -> float:
    """Fraction of an activation mask's energy in the R taps that the transform of a constant mask has.

    For responses z with uniform phase this is (1 + a)^2 / (2 (1 + a^2)) at slope a; the rest blurs the image.

    Parameters
    ----------
    mask : (channel, y, x) complex
        Activation mask in k-space.
    acceleration
        R; y must be a multiple of it.
    """
    taps = ifft2c(mask).abs().square()
    ny, nx = mask.shape[-2:]
    rows = (ny // 2 + torch.arange(acceleration, device=mask.device) * (ny // acceleration)) % ny
    return float(taps[:, rows, nx // 2].sum() / taps.sum())


def mask_spectrum(mask: Tensor, acceleration: int) -> Tensor:
    """Root mean square over channels of a mask's transform (y, x), with the R taps of `comb_energy` set to 0.

    The image is convolved with this remainder. Where z resembles the k-space of the object, it resembles the object's
    autocorrelation, brightest at the centre. In units of the central tap.
    """
    taps = ifft2c(mask).abs().square().mean(0).sqrt()
    ny, nx = mask.shape[-2:]
    rows = (ny // 2 + torch.arange(acceleration, device=mask.device) * (ny // acceleration)) % ny
    centre = taps[ny // 2, nx // 2].clone()
    taps[rows, nx // 2] = 0
    return taps / centre


def _inner_layer(weight: Tensor, acceleration: int) -> PixelwiseMixing:
    fan_out, fan_in, height, width = weight.shape
    lines, samples = torch.meshgrid(torch.arange(height) * acceleration, torch.arange(width), indexing="ij")
    distances = torch.stack([lines, samples], -1).reshape(-1, 2).to(weight.device)
    return PixelwiseMixing(weight.permute(2, 3, 0, 1).reshape(-1, fan_out, fan_in), distances)


def _last_layer(weight: Tensor, network: Raki) -> PixelwiseMixing:
    """The last convolution combined with the shift of each target to its line and column."""
    plain = _inner_layer(weight, network.acceleration)
    by_target = plain.weights.unflatten(1, (network.coils, network.targets)).permute(2, 0, 1, 3)
    target = torch.arange(network.targets, device=weight.device) + network.first_target
    moved = torch.stack([target, torch.full_like(target, network.reach[1] // 2)], -1)
    return PixelwiseMixing(by_target.flatten(0, 1), (plain.distances - moved[:, None]).flatten(0, 1))


def _mix(weights: Tensor, images: Tensor) -> Tensor:
    return (weights @ images.flatten(-2)).unflatten(-1, images.shape[-2:])


def _gain(z: Tensor, activated: Tensor, slope: float, derivative: Derivative) -> Gain:
    """Gain of an activation at its input z."""
    there = z != 0
    if derivative == "frozen":
        return torch.where(there, activated / torch.where(there, z, 1), 0), None
    real, imag = (torch.where(part < 0, slope, 1.0).to(z.dtype) * there for part in (z.real, z.imag))
    return (real + imag) / 2, (real - imag) / 2


def _multiply(z: Tensor, gain: Gain) -> Tensor:
    direct, mirrored = gain
    return direct * z if mirrored is None else direct * z + mirrored * z.conj()
