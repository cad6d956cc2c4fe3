"""Data consistency of a multi-coil series: hard, soft, or by conjugate gradients.

Notation: ``A = M F S`` with coil maps S, centred unitary Fourier transform F and sampling mask M; ``y`` is the measured
k-space. Qin et al., IEEE Trans Med Imaging 2019, eq. 4 (hard and soft); Aggarwal et al. (MoDL), IEEE Trans Med Imaging
2019, eq. 11 (conjugate gradients).
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from onebreath.errors import MethodError, ModelError
from onebreath.networks.consistency.sampled_series import SampledSeries

Kind = Literal["hard", "soft", "cg"]
# Logarithm of a typical noise level where the maximum of the zero-filled coil images is 1.
_TYPICAL_LOG_NOISE = -4.0


class DataConsistency(nn.Module):
    """The data-consistency step of one cascade.

    Parameters
    ----------
    kind
        ``hard``: samples become y; ``soft``: samples k become ``(k + v y) / (1 + v)``; ``cg``: the x that minimises
        ``v ||A x - y||^2 + ||x - image||^2``.
    noise_level
        v above, for ``soft`` and ``cg``. None: v is the ratio of variances ``(network_std / noise_std)^2`` with the
        learned standard deviation of the network's error and the noise given with the data; the blend then has the
        least variance at any noise.
    iterations
        Conjugate-gradient steps.
    follows_noise
        v is ``exp(2 (a + b log noise_std))`` with learned a and b, initially b = 0: the ratio of the network's error
        to the noise may depend on the noise.

    Raises
    ------
    ModelError
        If the kind is unknown or the noise level is not positive.
    """

    def __init__(
        self,
        kind: Kind = "hard",
        noise_level: float | None = None,
        iterations: int = 8,
        follows_noise: bool = False,
    ) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise ModelError(f"data_consistency is {kind!r}, expected one of {', '.join(get_args(Kind))}")
        if noise_level is not None and noise_level <= 0:
            raise ModelError(f"noise_level is {noise_level}, expected a value above 0")
        self.kind, self.noise_level, self.iterations = kind, noise_level, iterations
        self.follows_noise = follows_noise
        if follows_noise and not self.noise_aware:
            raise ModelError("follows_noise needs data_consistency soft or cg, without a noise_level")
        if follows_noise:
            self.log_ratio = nn.Parameter(torch.tensor(-1.0))
            self.log_ratio_slope = nn.Parameter(torch.tensor(0.0))
        elif self.noise_aware:
            self.log_network_std = nn.Parameter(torch.tensor(-3.0))

    @property
    def noise_aware(self) -> bool:
        """Whether ``forward`` needs `noise_std`."""
        return self.kind != "hard" and self.noise_level is None

    def forward(self, image: Tensor, series: SampledSeries, noise_std: Tensor | None = None) -> Tensor:
        """Make an image consistent with the data.

        Parameters
        ----------
        image
            ``(batch, frame, y, x)`` complex.
        series
            The measured series.
        noise_std
            Standard deviation of the noise in the real part of k-space, in the units of the k-space, ``(batch,)``.

        Raises
        ------
        MethodError
            If `noise_std` is missing where the weights depend on it.
        """
        if self.kind == "hard":
            return series.replace(image)
        weight = self._measurement_weight(image, noise_std)
        if self.kind == "soft":
            return series.replace(image, weight / (1 + weight))
        return series.regularised(image, weight, self.iterations)

    def _measurement_weight(self, image: Tensor, noise_std: Tensor | None) -> Tensor:
        """``v``, ``(batch, 1, 1, 1, 1)``."""
        batch = image.shape[0]
        if self.noise_level is not None:
            return image.real.new_full((batch, 1, 1, 1, 1), self.noise_level)
        if noise_std is None or noise_std.shape != (batch,):
            found = None if noise_std is None else tuple(noise_std.shape)
            raise MethodError(f"noise_std is {found}, expected shape ({batch},): the data are weighed by their noise")
        if self.follows_noise:
            log_noise = noise_std.to(self.log_ratio).log() - _TYPICAL_LOG_NOISE
            ratio = torch.exp(self.log_ratio + self.log_ratio_slope * log_noise)
        else:
            ratio = self.log_network_std.exp() / noise_std.to(self.log_network_std)
        return (ratio**2).to(image.real.dtype).reshape(batch, 1, 1, 1, 1)
