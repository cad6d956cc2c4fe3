"""Interface of all networks towards the zoo and the methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from onebreath.networks.shared.precision import Precision, compute_dtype


class Network(nn.Module, ABC):
    """A network that a card can name; subclasses define inputs and outputs."""

    can_be_tiled: ClassVar[bool] = False
    """Whether `onebreath.networks.shared.tiling.TiledNetwork` can run the network."""

    def __init__(self) -> None:
        super().__init__()
        self._compute_dtype = torch.float32

    @abstractmethod
    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run the parts that determine how much memory a series of this size needs, on the device of the weights.

        On the `meta` device nothing is computed, so the memory can be determined before there are data. Copies of the
        k-space outside the learned parts need not be made; the caller adds them.
        """

    def facts(self, frames: int) -> dict[str, str | int]:
        """Decisions of the network for a series of this many frames, for the images' meta."""
        return {}

    def limits(self) -> dict[str, tuple[int, int]]:
        """Lowest and highest values that the network can run on, by the names of a card's domain."""
        return {}

    def use_precision(self, precision: Precision) -> torch.dtype:
        """Set the number format of the learned parts, outside Fourier transforms and data consistency, for inference.

        Returns
        -------
        torch.dtype
            The format on the device of the weights (see `compute_dtype`).
        """
        self._compute_dtype = compute_dtype(precision, next(self.parameters()).device)
        return self._compute_dtype

    def reduced_precision(self, device: torch.device) -> torch.autocast:
        """Context in which the learned parts run in the format of `use_precision`."""
        return torch.autocast(device.type, self._compute_dtype, enabled=self._compute_dtype == torch.bfloat16)
