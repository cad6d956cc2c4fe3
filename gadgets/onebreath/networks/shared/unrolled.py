"""Base of unrolled networks: cascades of a learned refinement and a data-consistency step."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from onebreath.errors import MethodError, ModelError
from onebreath.networks.consistency.data_consistency import DataConsistency, Kind
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.consistency.start import LowRankSparseStart
from onebreath.networks.shared.checkpointing import run_step
from onebreath.networks.shared.refinement import Beside, Refinement
from onebreath.networks.shared.series_network import SeriesNetwork

Features = tuple[Tensor, ...]
Input = Literal["noise", "mean", "residual"]
CHANNELS: dict[str, int] = {"noise": 1, "mean": 2, "residual": 2}
"""Channels that each further input adds to those of the image."""


class UnrolledNetwork(SeriesNetwork):
    """A network of `cascades` refinements, each followed by data consistency.

    The convolutions run in the type of the weights. Any number of frames, any matrix size.

    A subclass fills `blocks`: one `Refinement` per cascade, or fewer that take turns.

    Parameters
    ----------
    cascades
        Number of cascades.
    data_consistency, noise_level
        See `DataConsistency`.
    checkpointing
        In training, keep only what passes between cascades and compute the inside again in the backward pass: less
        memory for about a third more time.
    remembered
        How many earlier cascades' features a cascade may see.
    start
        None: the zero-filled image, as published; otherwise what to begin with.
    inputs
        What the refinements see beside the image: the level of the ``noise``, the ``mean`` over the frames, and the
        ``residual`` of the data, ``A^H (y - A x)`` in units of the noise. None of it in the published networks.
    follows_noise
        See `DataConsistency`.
    """

    runs_in_pieces = True
    blocks: nn.ModuleList

    def __init__(
        self,
        cascades: int,
        data_consistency: Kind = "hard",
        noise_level: float | None = None,
        checkpointing: bool = False,
        remembered: int = 0,
        start: LowRankSparseStart | None = None,
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
        self, index: int, image: Tensor, features: Features | None, beside: Beside | None = None
    ) -> tuple[Tensor, Features]:
        """Refine the image of cascade `index`; return it with the features that later cascades may see.

        Parameters
        ----------
        index
            Of the cascade, from 0.
        image
            ``(batch, frame, y, x)`` complex.
        features
            What `recall` gave.
        beside
            What `inputs` ask for.
        """
        return self.block(index)(image, features, beside=beside)

    def block(self, index: int) -> Refinement:
        """Return the learned part of cascade `index`."""
        block = self.blocks[index % len(self.blocks)]
        assert isinstance(block, Refinement)
        return block

    def recall(self, index: int, history: Sequence[Features]) -> Features | None:
        """Return the input of cascade `index` from the features of earlier ones, oldest first; None counts as zeros.

        Here: the features of the cascade before.
        """
        return history[-1] if history else None

    def remember(self, history: Sequence[Features], features: Features) -> list[Features]:
        """Return the history with another cascade's features, without what no later cascade sees."""
        return [*history, features][-self.remembered :] if self.remembered else []

    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run the refinements alone."""
        image = torch.empty(1, frames, y, x, dtype=torch.complex64, device=next(self.parameters()).device)
        history: list[Features] = []
        beside = self._beside(image, None, torch.empty(1, device=image.device))
        for index in range(len(self.consistency)):
            image, features = self.refine(index, image, self.recall(index, history), beside)
            history = self.remember(history, features)

    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Tensor:
        """Reconstruct: the image after the last cascade."""
        *_, image = self.cascades(kspace, mask, maps, noise_std)
        return image

    def cascades(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the image after each cascade; arguments as in `forward`."""
        for image, _ in self.states(kspace, mask, maps, noise_std):
            yield image

    def states(
        self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Features]]:
        """Yield the image after each cascade and the features it hands over; arguments as in `forward`."""
        solves = not any(isinstance(one, DataConsistency) and one.kind != "cg" for one in self.consistency)
        by_matrices = self.start is not None or (solves and not torch.is_grad_enabled())
        series = SampledSeries(kspace, mask, maps, by_matrices)
        image = series.zero_filled() if self.start is None else self.start(series, noise_std)
        history: list[Features] = []
        for index, consistency in enumerate(self.consistency):
            with self.reduced_precision(kspace.device):
                recalled = self.recall(index, history)
                beside = self._beside(image, series, noise_std)
                image, features = run_step(
                    self.refine, index, image, recalled, beside, checkpointing=self.checkpointing
                )
            image = consistency(image, series, noise_std)
            history = self.remember(history, features)
            yield image, features

    def _beside(self, image: Tensor, series: SampledSeries | None, noise_std: Tensor | None) -> Beside | None:
        """Return the inputs of the refinements beside an image; without a series, placeholders of the same size."""
        if not self.inputs:
            return None
        if noise_std is None and {"noise", "residual"} & set(self.inputs):
            raise MethodError(f"noise_std is missing, but the network sees {' and '.join(self.inputs)}")
        images = (image.mean(dim=1, keepdim=True),) if "mean" in self.inputs else ()
        residuals: tuple[Tensor, ...] = ()
        if "residual" in self.inputs and noise_std is not None:
            residual = image if series is None else -series.gradient(image)
            residuals = (residual / noise_std.to(image.real)[:, None, None, None],)
        return Beside(images, residuals, noise_std if "noise" in self.inputs else None)
