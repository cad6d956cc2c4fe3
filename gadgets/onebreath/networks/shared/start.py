"""Where an unrolled network starts: at the zero-filled image, or at one regularised over time that knows the noise."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from onebreath.errors import MethodError
from onebreath.networks.shared.data_consistency import SampledSeries

Start = Literal["zero_filled", "low_rank_sparse"]
# Conjugate-gradient steps where the data step has no matrices to invert; each goes on from the solution before.
_STEPS = 6


class LowRankSparseStart(NamedTuple):
    """A few iterations of L+S with thresholds in units of the noise, without gradients.

    R. Otazo et al., Magn Reson Med 73:1125 (2015), the function of `onebreath.methods.low_rank_sparse`; by the
    alternating direction method of multipliers (S. Boyd et al., Found Trends Mach Learn 3:1, 2011). Its data step is
    exact where all frames have one mask, so that about ten iterations do the work of a hundred proximal gradients.

    Attributes
    ----------
    iterations
        Number of iterations.
    low_rank
        Threshold of singular values, in units of the largest singular value that the noise of a fully sampled series
        alone would have.
    sparse
        Threshold in the unitary temporal spectrum, in standard deviations of the noise of a fully sampled series.
    penalty
        Weight of the split; it changes how fast the iteration converges, not where to.
    """

    iterations: int = 10
    low_rank: float = 0.5
    sparse: float = 0.5
    penalty: float = 0.01

    @torch.no_grad()
    def __call__(self, series: SampledSeries, noise_std: Tensor | None) -> Tensor:
        """Return the image ``(batch, frame, y, x)``; `noise_std` as in `DataConsistency.forward`.

        Raises
        ------
        MethodError
            If `noise_std` is missing.
        """
        image = series.zero_filled()
        batch, frames, *shape = image.shape
        if noise_std is None or noise_std.shape != (batch,):
            found = None if noise_std is None else tuple(noise_std.shape)
            raise MethodError(f"noise_std is {found}, expected shape ({batch},): the start is regularised by the noise")
        # Noise of the complex image, over the penalty: the thresholds of the two proximal steps.
        noise = math.sqrt(2) / self.penalty * noise_std.to(image.real.dtype)[:, None, None]
        low_rank = self.low_rank * noise * (math.sqrt(math.prod(shape)) + math.sqrt(frames))
        image = series.ridge(torch.zeros_like(image), self.penalty, image, _STEPS)
        dual = torch.zeros_like(image)
        changes = torch.zeros_like(image.flatten(2))
        for _ in range(self.iterations):
            split = (image + dual).flatten(2)
            low = _shrink_singular_values(split - changes, low_rank)
            changes = _shrink_spectrum(split - low, self.sparse * noise)
            both = (low + changes).unflatten(2, shape)
            dual = dual + image - both
            image = series.ridge(both - dual, self.penalty, image, _STEPS)
        return image


def _shrink_singular_values(series: Tensor, threshold: Tensor) -> Tensor:
    """Move singular values of ``(batch, frame, pixel)`` towards 0, by way of the small matrix over the frames."""
    energy, vectors = torch.linalg.eigh(series @ series.mH)
    values = energy.clamp_min(0).sqrt()[:, :, None]
    kept = (1 - threshold / values.clamp_min(torch.finfo(values.dtype).tiny)).clamp_min(0)
    return vectors @ (kept * (vectors.mH @ series))


def _shrink_spectrum(series: Tensor, threshold: Tensor) -> Tensor:
    """Move magnitudes of the temporal spectrum towards 0."""
    spectrum = torch.fft.fft(series, dim=1, norm="ortho")
    size = spectrum.abs()
    kept = (1 - threshold / size.clamp_min(torch.finfo(size.dtype).tiny)).clamp_min(0)
    return torch.fft.ifft(spectrum * kept, dim=1, norm="ortho")
