"""One iteration of A-LIKNet: branches, their data consistency, and information sharing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.networks.a_liknet.denoiser import Denoiser
from onebreath.networks.a_liknet.kspace_branch import KSpaceNetwork
from onebreath.networks.a_liknet.low_rank import LowRank
from onebreath.networks.consistency.data_consistency import DataConsistency
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.shared.checkpointing import run_step


@dataclass(frozen=True)
class Design:
    """Configuration shared by all iterations; the fields are arguments of `ALIKNet`."""

    frames: int
    coils: int
    iterations: int
    channels: int
    kspace_channels: tuple[int, int]
    kspace_branch: bool
    image_branch: bool
    low_rank_branch: bool
    time_attention: bool
    coil_attention: bool
    sharing: bool
    masked_sharing: bool
    kspace_residual: bool
    upsample_kernel: int
    conjugate_gradients: bool
    noise_level: float | None


@dataclass(frozen=True)
class Measurement:
    """Measured data: k-space ``(batch, frame, coil, y, x)``, zero outside the mask, with mask, coil maps and noise."""

    kspace: Tensor
    mask: Tensor
    maps: Tensor
    noise_std: Tensor | None
    series: SampledSeries

    def expand(self, image: Tensor) -> Tensor:
        """``F S x``: image ``(batch, frame, y, x)`` to k-space."""
        kspace: Tensor = fft2c(image[:, :, None] * self.maps)
        return kspace

    def combine(self, kspace: Tensor) -> Tensor:
        """``S^H F^-1 y``: k-space to image."""
        images: Tensor = ifft2c(kspace)
        return (images * self.maps.conj()).sum(dim=2)

    def blend(self, kspace: Tensor, weight: Tensor) -> Tensor:
        """``w y + (1 - w) y0`` where k-space y was sampled as y0, and y elsewhere."""
        return kspace + (1 - weight) * (self.kspace - self.mask * kspace)


class ImageBranches(nn.Module):
    """``w p + (1 - w) q`` with ``p = x - (tau / iterations) R(x)`` of the U-Net and ``q = D(x)`` of low rank.

    With only one branch the result is that of the branch.

    Parameters
    ----------
    design
        See `Design`.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.iterations = design.iterations
        self.denoiser = self.low_rank = None
        if design.image_branch:
            self.denoiser = Denoiser(design.frames, design.channels, design.time_attention, design.upsample_kernel)
            self.tau = nn.Parameter(torch.tensor(0.1))
        if design.low_rank_branch:
            self.low_rank = LowRank(design.frames)
        if design.image_branch and design.low_rank_branch:
            self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, image: Tensor) -> Tensor:
        """Refine ``(batch, frame, y, x)``."""
        if self.denoiser is None:
            return image if self.low_rank is None else self.low_rank(image)
        denoised = image - self.tau.abs() / self.iterations * self.denoiser(image)
        if self.low_rank is None:
            return denoised
        return torch.lerp(self.low_rank(image), denoised, self.weight.abs().to(image.dtype))


class Sharing(nn.Module):
    """Information sharing: image and k-space are each replaced by a mixture of both.

    Parameters
    ----------
    masked
        Whether only sampled k-space is exchanged, as in the released code.
    """

    def __init__(self, masked: bool = False) -> None:
        super().__init__()
        self.masked = masked
        self.kspace_weight, self.image_weight = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(0.5))

    def to_image(self, image: Tensor, kspace: Tensor, measurement: Measurement) -> Tensor:
        """Mix the k-space into the image."""
        weight = self.image_weight.abs()
        return weight * image + (1 - weight) * measurement.combine(kspace * measurement.mask if self.masked else kspace)

    def to_kspace(self, image: Tensor, kspace: Tensor, measurement: Measurement) -> Tensor:
        """Mix the image into the k-space."""
        weight, expanded = self.kspace_weight.abs(), measurement.expand(image)
        return weight * kspace + (1 - weight) * (expanded * measurement.mask if self.masked else expanded)


class Iteration(nn.Module):
    """One iteration; learned weights that must not be negative enter by their magnitude.

    Parameters
    ----------
    design
        See `Design`.
    last
        Whether this is the last iteration, which joins the branches even without sharing.
    """

    def __init__(self, design: Design, last: bool) -> None:
        super().__init__()
        self.image = ImageBranches(design)
        self.kspace = self.sharing = None
        if design.kspace_branch:
            self.kspace = KSpaceNetwork(
                design.frames, design.coils, design.kspace_channels, design.coil_attention, design.kspace_residual
            )
            if design.sharing or last:
                self.sharing = Sharing(design.masked_sharing)
        if design.conjugate_gradients:
            self.consistency = DataConsistency("cg", design.noise_level)
        else:
            self.step = nn.Parameter(torch.tensor(1.0))
        self.conjugate_gradients = design.conjugate_gradients

    def refine(self, image: Tensor, kspace: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Run the branches alone; without a k-space branch there is no k-space."""
        return self.image(image), None if self.kspace is None or kspace is None else self.kspace(kspace)

    def forward(
        self, image: Tensor, kspace: Tensor | None, measurement: Measurement, kspace_weight: Tensor, checkpointing: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Image and k-space after this iteration.

        Parameters
        ----------
        image, kspace
            ``(batch, frame, y, x)`` and ``(batch, frame, coil, y, x)``; None without a k-space branch.
        measurement
            The measured data.
        kspace_weight
            Weight of the prediction in the sampled k-space, 0 to 1; the rest is the measurement.
        checkpointing
            See `run_step`.
        """
        image, kspace = run_step(self.refine, image, kspace, checkpointing=checkpointing)
        if self.conjugate_gradients:
            image = self.consistency(image, measurement.series, measurement.noise_std)
        else:
            image = image - self.step.abs() * measurement.series.gradient(image)
        if kspace is None:
            return image, None
        kspace = measurement.blend(kspace, kspace_weight)
        if self.sharing is None:
            return image, kspace
        return self.sharing.to_image(image, kspace, measurement), self.sharing.to_kspace(image, kspace, measurement)
