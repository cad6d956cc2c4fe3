"""What all unrolled networks share: cascades of a learned refinement and a data-consistency step."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from onebreath.errors import ModelError
from onebreath.networks.checkpointing import run_step
from onebreath.networks.data_consistency import DataConsistency, Kind, SampledSeries
from onebreath.networks.precision import Precision, compute_dtype
from onebreath.networks.refinement import Refinement

Features = tuple[Tensor, ...]


class UnrolledNetwork(nn.Module):
    """A network of `cascades` refinements, each followed by data consistency.

    ``forward(kspace, mask, maps) -> image`` with complex ``kspace (batch, frame, coil, y, x)``, zero where not sampled,
    ``mask (batch, frame, 1, y, x)`` or broadcastable, ``maps (batch, 1 or frame, coil, y, x)`` with unit sum of squares
    over coils, and ``image (batch, frame, y, x)`` of the type of the k-space. The convolutions run in the type of the
    weights. Any number of frames, any matrix size.

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
    """

    blocks: nn.ModuleList

    def __init__(
        self,
        cascades: int,
        data_consistency: Kind = "hard",
        noise_level: float | None = None,
        checkpointing: bool = False,
        remembered: int = 0,
    ) -> None:
        super().__init__()
        if cascades < 1:
            raise ModelError(f"cascades is {cascades}, expected at least 1")
        self.checkpointing, self.remembered = checkpointing, remembered
        self.consistency = nn.ModuleList(DataConsistency(data_consistency, noise_level) for _ in range(cascades))
        self._compute_dtype = torch.float32

    def refine(self, index: int, image: Tensor, features: Features | None) -> tuple[Tensor, Features]:
        """Refine the image of cascade `index`; return it with the features that later cascades may see.

        Parameters
        ----------
        index
            Of the cascade, from 0.
        image
            ``(batch, frame, y, x)`` complex.
        features
            What `recall` gave.
        """
        return self.block(index)(image, features)

    def block(self, index: int) -> Refinement:
        """Return the learned part of cascade `index`."""
        block = self.blocks[index % len(self.blocks)]
        assert isinstance(block, Refinement)
        return block

    def recall(self, index: int, history: Sequence[Features]) -> Features | None:
        """Choose what cascade `index` gets from the features of earlier cascades, oldest first; None stands for zeros.

        Here: the features of the cascade before.
        """
        return history[-1] if history else None

    def remember(self, history: Sequence[Features], features: Features) -> list[Features]:
        """Return the history with another cascade's features, without what no later cascade sees."""
        return [*history, features][-self.remembered :] if self.remembered else []

    def use_precision(self, precision: Precision) -> torch.dtype:
        """Choose the format of the convolutions outside Fourier transforms and data consistency, for inference.

        Returns
        -------
        torch.dtype
            What was chosen on the device where the weights are (see `compute_dtype`).
        """
        self._compute_dtype = compute_dtype(precision, next(self.parameters()).device)
        return self._compute_dtype

    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Tensor:
        """Reconstruct: the image after the last cascade.

        Parameters
        ----------
        kspace, mask, maps
            See the class.
        noise_std
            Only for a network with noise-aware data consistency: see `DataConsistency.forward`.

        Raises
        ------
        MethodError
            If an input cannot be used; names the argument and both values.
        """
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
        series = SampledSeries(kspace, mask, maps)
        image = series.zero_filled()
        history: list[Features] = []
        for index, consistency in enumerate(self.consistency):
            with torch.autocast(kspace.device.type, self._compute_dtype, enabled=self._compute_dtype == torch.bfloat16):
                recalled = self.recall(index, history)
                image, features = run_step(self.refine, index, image, recalled, checkpointing=self.checkpointing)
            image = consistency(image, series, noise_std)
            history = self.remember(history, features)
            yield image, features
