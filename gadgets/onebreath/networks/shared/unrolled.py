"""Base class of unrolled networks: cascades of a learned refinement and a data-consistency step."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from onebreath.errors import MethodError, ModelError
from onebreath.networks.consistency.data_consistency import DataConsistency, Kind
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.consistency.start import GivenStart, LowRankSparseStart
from onebreath.networks.shared.checkpointing import run_step
from onebreath.networks.shared.refinement import ExtraInputs, Refinement
from onebreath.networks.shared.series_network import SeriesNetwork

Features = tuple[Tensor, ...]
Input = Literal["noise", "mean", "residual"]
CHANNELS: dict[str, int] = {"noise": 1, "mean": 2, "residual": 2}
"""Channels that each further input adds to those of the image."""


class UnrolledNetwork(SeriesNetwork):
    """A network of `cascades` refinements, each followed by data consistency.

    The convolutions run in the type of the weights, on any number of frames and any matrix size. A subclass fills
    `blocks` with one `Refinement` per cascade, or fewer that are used in turn.

    Parameters
    ----------
    cascades
        Number of cascades.
    data_consistency, noise_level
        See `DataConsistency`.
    checkpointing
        Whether training computes the cascades again in the backward pass: less memory for about a third more time.
    remembered
        Number of earlier cascades whose features a cascade may use.
    start
        Initial image; None: zero-filled, as published.
    inputs
        Inputs of the refinements besides the image: the ``noise`` level, the ``mean`` over the frames, and the
        ``residual`` of the data, ``A^H (y - A x)`` in units of the noise. The published networks have none.
    follows_noise
        See `DataConsistency`.
    """

    can_be_tiled = True
    blocks: nn.ModuleList

    def __init__(
        self,
        cascades: int,
        data_consistency: Kind = "hard",
        noise_level: float | None = None,
        checkpointing: bool = False,
        remembered: int = 0,
        start: LowRankSparseStart | GivenStart | None = None,
        inputs: Sequence[Input] = (),
        follows_noise: bool = False,
    ) -> None:
        super().__init__()
        if cascades < 1:
            raise ModelError(f"cascades is {cascades}, expected at least 1")
        self.checkpointing, self.remembered = checkpointing, remembered
        self.start, self.inputs = start, tuple(inputs)
        self.consistency = nn.ModuleList(
            DataConsistency(data_consistency, noise_level, follows_noise=follows_noise) for _ in range(cascades)
        )

    def refine(
        self, index: int, image: Tensor, features: Features | None, extra: ExtraInputs | None = None
    ) -> tuple[Tensor, Features]:
        """Refined image of cascade `index`, and features for later cascades.

        Parameters
        ----------
        index
            Index of the cascade, from 0.
        image
            ``(batch, frame, y, x)`` complex.
        features
            Result of `recall`.
        extra
            Further inputs, according to `inputs`.
        """
        return self.block(index)(image, features, extra=extra)

    def block(self, index: int) -> Refinement:
        """Learned part of cascade `index`."""
        block = self.blocks[index % len(self.blocks)]
        assert isinstance(block, Refinement)
        return block

    def recall(self, index: int, history: Sequence[Features]) -> Features | None:
        """Features for cascade `index` from those of earlier ones, oldest first; None means zeros.

        By default those of the previous cascade.
        """
        return history[-1] if history else None

    def remember(self, history: Sequence[Features], features: Features) -> list[Features]:
        """History with another cascade's features, without those that no later cascade uses."""
        return [*history, features][-self.remembered :] if self.remembered else []

    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run the refinements alone."""
        image = torch.empty(1, frames, y, x, dtype=torch.complex64, device=next(self.parameters()).device)
        history: list[Features] = []
        extra = self._extra_inputs(image, None, torch.empty(1, device=image.device))
        for index in range(len(self.consistency)):
            image, features = self.refine(index, image, self.recall(index, history), extra)
            history = self.remember(history, features)

    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Tensor:
        """Image after the last cascade."""
        *_, image = self.cascades(kspace, mask, maps, noise_std)
        return image

    def cascades(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the image after each cascade; arguments as in `forward`."""
        for image, _ in self.states(kspace, mask, maps, noise_std):
            yield image

    def states(
        self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Features]]:
        """Yield image and features of each cascade; arguments as in `forward`."""
        solves = not any(isinstance(one, DataConsistency) and one.kind != "cg" for one in self.consistency)
        series = SampledSeries(kspace, mask, maps, by_matrices=solves or self.start is not None)
        image = series.zero_filled() if self.start is None else self.start(series, noise_std)
        history: list[Features] = []
        for index, consistency in enumerate(self.consistency):
            with self.reduced_precision(kspace.device):
                recalled = self.recall(index, history)
                extra = self._extra_inputs(image, series, noise_std)
                image, features = run_step(self.refine, index, image, recalled, extra, checkpointing=self.checkpointing)
            image = consistency(image, series, noise_std)
            history = self.remember(history, features)
            yield image, features

    def _extra_inputs(
        self, image: Tensor, series: SampledSeries | None, noise_std: Tensor | None
    ) -> ExtraInputs | None:
        """Further inputs of the refinements for an image; without a series, placeholders of the same size."""
        if not self.inputs:
            return None
        if noise_std is None and {"noise", "residual"} & set(self.inputs):
            raise MethodError(f"noise_std is missing, but the network sees {' and '.join(self.inputs)}")
        images = (image.mean(dim=1, keepdim=True),) if "mean" in self.inputs else ()
        residuals: tuple[Tensor, ...] = ()
        if "residual" in self.inputs and noise_std is not None:
            residual = image if series is None else -series.gradient(image)
            residuals = (residual / noise_std.to(image.real)[:, None, None, None],)
        return ExtraInputs(images, residuals, noise_std if "noise" in self.inputs else None)
