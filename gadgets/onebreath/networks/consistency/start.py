"""Initial image of an unrolled network: zero-filled, or regularised over time by the known noise."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from onebreath.errors import MethodError
from onebreath.mri.proximal import (
    LESS_PENALTY,
    SPLIT,
    SPLITS,
    WAVELET_SHARE,
    WaveletSplit,
    balance,
    less_sparse,
    smoothness,
)
from onebreath.networks.consistency.sampled_series import SampledSeries

Start = Literal["zero_filled", "low_rank_sparse"]
# Conjugate-gradient steps of a data step without matrices; each data step begins at the previous solution.
_STEPS = 6


class GivenStart(NamedTuple):
    """An initial image ``(batch, frame, y, x)`` that was made before."""

    image: Tensor

    def __call__(self, series: SampledSeries, noise_std: Tensor | None) -> Tensor:
        """The image, whatever the data."""
        return self.image


class LowRankSparseStart(NamedTuple):
    """Initial image by a few iterations of L+S with thresholds in units of the noise, without gradients.

    R. Otazo et al., Magn Reson Med 73:1125 (2015), the cost function of `onebreath.methods.low_rank_sparse`, by the
    alternating direction method of multipliers (S. Boyd et al., Found Trends Mach Learn 3:1, 2011). The data step is
    exact where all frames have one mask; about fifteen iterations then equal a hundred proximal gradient steps.

    Attributes
    ----------
    iterations
        Number of iterations.
    low_rank
        Threshold of singular values, in units of the largest singular value of the zero-filled series of noise alone.
    sparse
        Threshold in the unitary temporal spectrum, in standard deviations of the noise of the zero-filled series;
        None: from `low_rank` and the zero-filled series by `onebreath.mri.proximal.balance`.
    wavelets
        Whether spatial wavelets are a third norm, as by default in `onebreath.methods.low_rank_sparse`.
    """

    iterations: int = 15
    low_rank: float = 1.0
    sparse: float | None = None
    wavelets: bool = False

    @torch.no_grad()
    def __call__(self, series: SampledSeries, noise_std: Tensor | None) -> Tensor:
        """Initial image ``(batch, frame, y, x)``; `noise_std` as in `DataConsistency.forward`.

        Raises
        ------
        MethodError
            If `noise_std` is missing.
        """
        image = series.zero_filled()
        batch, _, *shape = image.shape
        if noise_std is None or noise_std.shape != (batch,):
            found = None if noise_std is None else tuple(noise_std.shape)
            raise MethodError(f"noise_std is {found}, expected shape ({batch},): the start is regularised by the noise")
        low_rank, sparse, wavelet, penalty = self.weights(image, *series.noise_shape(), noise_std)
        low_rank, sparse = low_rank / penalty, sparse / penalty
        total = penalty[..., None] * (1 + WAVELET_SHARE if self.wavelets else 1)
        image = series.ridge(torch.zeros_like(image), total, image, _STEPS)
        dual = torch.zeros_like(image)
        limits = (wavelet / (WAVELET_SHARE * penalty)).flatten()
        smooth = [WaveletSplit(limit) for limit in limits] if self.wavelets else []
        changes = torch.zeros_like(image.flatten(2))
        for _ in range(self.iterations):
            split = (image + dual).flatten(2)
            low = _shrink_singular_values(split - changes, low_rank)
            changes = _shrink_spectrum(split - low, sparse)
            both = (low + changes).unflatten(2, shape)
            dual = dual + image - both
            towards = both - dual
            if smooth:
                smoothed = torch.stack([one(frames[:, None])[:, 0] for one, frames in zip(smooth, image, strict=True)])
                towards = (towards + WAVELET_SHARE * smoothed) / (1 + WAVELET_SHARE)
            image = series.ridge(towards, total, image, _STEPS)
        return image

    def weights(
        self, zero_filled: Tensor, share: Tensor, common: Tensor, pixels: Tensor, noise_std: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights of the nuclear norm, the spectrum, the wavelets and the penalty, each ``(batch, 1, 1)``.

        Parameters
        ----------
        zero_filled
            ``(batch, frame, y, x)``.
        share, common, pixels
            See `SampledSeries.noise_shape`.
        noise_std
            See `__call__`.
        """
        matrix, frames = zero_filled.flatten(2), zero_filled.shape[1]
        deviation = (2 * share).sqrt() * noise_std.to(share)
        size = pixels.sqrt() + math.sqrt(frames)
        unit = (deviation * size).clamp_min(torch.finfo(share.dtype).tiny)
        strength = (_singular_values(matrix)[0][:, -1] / unit).clamp_min(1)
        if self.sparse is None:
            background = matrix.mean(1).abs()
            evenness = size * background.square().sum(1).sqrt() / background.sum(1).clamp_min(1e-30)
            sparse = self.low_rank * balance(evenness, strength)
            sparse = sparse * less_sparse(strength, common, torch.clamp) if self.wavelets else sparse
        else:
            sparse = torch.full_like(unit, self.sparse)
        penalty = (SPLIT / strength).clamp(*SPLITS) * (LESS_PENALTY if self.wavelets else 1)
        wavelet = smoothness(strength) * deviation
        by_batch = (..., None, None)
        return (self.low_rank * unit)[by_batch], (sparse * deviation)[by_batch], wavelet[by_batch], penalty[by_batch]


def _singular_values(series: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values of ``(batch, frame, pixel)``, ascending, and left singular vectors over the frames."""
    energy, vectors = torch.linalg.eigh(series @ series.mH)
    return energy.clamp_min(0).sqrt(), vectors


def _shrink_singular_values(series: Tensor, threshold: Tensor) -> Tensor:
    """Soft-threshold the singular values of ``(batch, frame, pixel)`` through the small Gram matrix of the frames."""
    values, vectors = _singular_values(series)
    values = values[:, :, None]
    kept = (1 - threshold / values.clamp_min(torch.finfo(values.dtype).tiny)).clamp_min(0)
    return vectors @ (kept * (vectors.mH @ series))


def _shrink_spectrum(series: Tensor, threshold: Tensor) -> Tensor:
    """Soft-threshold the temporal spectrum."""
    spectrum = torch.fft.fft(series, dim=1, norm="ortho")
    size = spectrum.abs()
    kept = (1 - threshold / size.clamp_min(torch.finfo(size.dtype).tiny)).clamp_min(0)
    return torch.fft.ifft(spectrum * kept, dim=1, norm="ortho")
