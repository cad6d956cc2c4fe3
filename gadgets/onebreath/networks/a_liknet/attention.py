"""Attention over frames or coils: weights of the real and the imaginary part of each, and a way to look at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Weights(nn.Module):
    """From the largest value of each frame (or coil) to a weight of each between 0 and 1.

    Parameters
    ----------
    count
        Of frames or coils.
    hidden
        Numbers between the two linear layers, which have no activation between them.
    """

    def __init__(self, count: int, hidden: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(2 * count, hidden), nn.Linear(hidden, 2 * count)

    def forward(self, largest: Tensor) -> Tensor:
        """Weights of the real and the imaginary parts, ``(batch, 2, count)``, of their largest values, the same."""
        return torch.sigmoid(self.excite(self.squeeze(largest.flatten(1)))).unflatten(1, (2, -1))


class Attention(nn.Module):
    """Scale the real and the imaginary part of each frame (or coil) of ``(batch, frame or coil, ..., channel)``.

    Parameters
    ----------
    count
        Of frames or coils.
    hidden
        See `Weights`.
    """

    def __init__(self, count: int, hidden: int = 4) -> None:
        super().__init__()
        self.weights = Weights(count, hidden)

    def forward(self, array: Tensor) -> Tensor:
        """Scale a complex array."""
        planes = torch.view_as_real(array)
        largest = planes.flatten(2, -2).amax(2).transpose(1, 2)
        weights = self.weights(largest.to(self.weights.squeeze.weight.dtype)).to(planes.dtype).transpose(1, 2)
        return torch.view_as_complex(planes * weights.view(*weights.shape[:2], *[1] * (array.ndim - 2), 2))


@contextmanager
def recorded_weights(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Keep the attention weights of what runs inside the context.

    Yields
    ------
    dict
        By the name of the attention in the network: ``(batch, 2, frame or coil)``, weights of the real and of the
        imaginary part, of the last run. Windows of a long series stand in the batch.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, arguments, weights: found.__setitem__(name, weights.detach())

    handles = [
        module.register_forward_hook(keep(name.removesuffix(".weights")))
        for name, module in network.named_modules()
        if isinstance(module, Weights)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
