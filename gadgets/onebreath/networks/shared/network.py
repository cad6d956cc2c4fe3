"""Interface of every network for the zoo and the methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from onebreath.networks.shared.precision import Precision, compute_dtype


class Network(nn.Module, ABC):
    """A network that a card can name; what it takes and gives is up to its kind."""

    runs_in_pieces: ClassVar[bool] = False
    """Whether `onebreath.networks.shared.pieces.InPieces` can run it."""

    def __init__(self) -> None:
        super().__init__()
        self._compute_dtype = torch.float32

    @abstractmethod
    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run on a series of this size, on the device of the weights, all that decides how much memory is needed.

        On the `meta` device nothing is computed, so that the memory can be counted before there are data. Copies of the
        k-space outside the learned parts need not be made: they are counted by their number.
        """

    def facts(self, frames: int) -> dict[str, str | int]:
        """Return what the network decides by itself for a series of this many frames."""
        return {}

    def limits(self) -> dict[str, tuple[int, int]]:
        """Lowest and highest values, by the names of a card's domain, that the network can run on at all."""
        return {}

    def use_precision(self, precision: Precision) -> torch.dtype:
        """Choose the format of the learned parts outside Fourier transforms and data consistency, for inference.

        Returns
        -------
        torch.dtype
            What was chosen on the device where the weights are (see `compute_dtype`).
        """
        self._compute_dtype = compute_dtype(precision, next(self.parameters()).device)
        return self._compute_dtype

    def reduced_precision(self, device: torch.device) -> torch.autocast:
        """Context in which the learned parts run in the format that was chosen."""
        return torch.autocast(device.type, self._compute_dtype, enabled=self._compute_dtype == torch.bfloat16)
