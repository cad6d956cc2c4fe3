"""Attention over frames or coils, with separate weights of the real and the imaginary part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class AttentionWeights(nn.Module):
    """Weights between 0 and 1 of frames (or coils), from the largest value of each.

    Parameters
    ----------
    count
        Number of frames or coils.
    hidden
        Width between the two linear layers, which have no activation between them.
    """

    def __init__(self, count: int, hidden: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(2 * count, hidden), nn.Linear(hidden, 2 * count)

    def forward(self, largest: Tensor) -> Tensor:
        """Weights of the real and the imaginary parts from their largest values, both ``(batch, 2, count)``."""
        return torch.sigmoid(self.excite(self.squeeze(largest.flatten(1)))).unflatten(1, (2, -1))


class Attention(nn.Module):
    """Scale the real and the imaginary part of each frame (or coil) of ``(batch, frame or coil, ..., channel)``.

    Parameters
    ----------
    count
        Number of frames or coils.
    hidden
        See `AttentionWeights`.
    """

    def __init__(self, count: int, hidden: int = 4) -> None:
        super().__init__()
        self.weights = AttentionWeights(count, hidden)

    def forward(self, array: Tensor) -> Tensor:
        """Scale a complex array."""
        planes = torch.view_as_real(array)
        largest = planes.flatten(2, -2).amax(2).transpose(1, 2)
        weights = self.weights(largest.to(self.weights.squeeze.weight.dtype)).to(planes.dtype).transpose(1, 2)
        return torch.view_as_complex(planes * weights.view(*weights.shape[:2], *[1] * (array.ndim - 2), 2))


@contextmanager
def recorded_weights(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Record the attention weights of a network inside the context.

    Yields
    ------
    dict
        Name of the attention module -> weights of the real and of the imaginary part in the last run, ``(batch, 2,
        frame or coil)``. The windows of a long series count as a batch.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, arguments, weights: found.__setitem__(name, weights.detach())

    handles = [
        module.register_forward_hook(keep(name.removesuffix(".weights")))
        for name, module in network.named_modules()
        if isinstance(module, AttentionWeights)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
