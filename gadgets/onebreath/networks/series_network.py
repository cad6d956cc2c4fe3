"""What the zoo, the method `unrolled` and the training ask of every network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from onebreath.networks.precision import Precision, compute_dtype


class SeriesNetwork(nn.Module, ABC):
    """A network that makes a series of images of multi-coil k-space.

    ``forward(kspace, mask, maps) -> image`` with complex ``kspace (batch, frame, coil, y, x)``, zero where not sampled,
    ``mask (batch, frame, 1, y, x)`` or broadcastable, ``maps (batch, 1 or frame, coil, y, x)`` with unit sum of squares
    over coils, and ``image (batch, frame, y, x)`` of the type of the k-space.
    """

    runs_in_pieces: ClassVar[bool] = False
    """Whether `onebreath.networks.pieces.InPieces` can run it."""

    def __init__(self) -> None:
        super().__init__()
        self._compute_dtype = torch.float32

    @abstractmethod
    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Tensor:
        """Reconstruct.

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

    @abstractmethod
    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run on a series of this size, on the device of the weights, all that decides how much memory is needed.

        On the `meta` device nothing is computed, so that the memory can be counted before there are data. Copies of the
        k-space outside the learned parts need not be made: they are counted by their number.
        """

    def facts(self, frames: int) -> dict[str, str | int]:
        """Tell what the network decides by itself for a series of so many frames."""
        return {}

    def limits(self) -> dict[str, tuple[int, int]]:
        """Lowest and highest values, by the names of a card's domain, that the network can run on at all."""
        return {}

    def use_precision(self, precision: Precision) -> torch.dtype:
        """Choose the format of the convolutions outside Fourier transforms and data consistency, for inference.

        Returns
        -------
        torch.dtype
            What was chosen on the device where the weights are (see `compute_dtype`).
        """
        self._compute_dtype = compute_dtype(precision, next(self.parameters()).device)
        return self._compute_dtype

    def reduced_precision(self, device: torch.device) -> torch.autocast:
        """Context in which convolutions run in the format that was chosen."""
        return torch.autocast(device.type, self._compute_dtype, enabled=self._compute_dtype == torch.bfloat16)
