"""RAKI networks of several slices side by side, so that a GPU has one kernel to launch where it had one per slice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from onebreath.networks.raki.raki import Raki


class RakiStack(nn.Module):
    """Networks of one size, each with weights of its own, that compute and learn at the same time.

    Parameters
    ----------
    networks
        With the weights to start from; their own weights change only when `hand_back` is called.
    """

    def __init__(self, networks: Sequence[Raki]) -> None:
        super().__init__()
        self._networks = list(networks)
        self.acceleration = networks[0].acceleration
        stacked, _ = stack_module_state(self._networks)
        self.weights = nn.ParameterList(stacked[f"weights.{layer}"] for layer in range(len(networks[0].weights)))

    def forward(self, kspace: Tensor, spacing: int = 1) -> Tensor:
        """Predict as `Raki.forward` does, with slices in place of the batch: each has its own network."""
        weights = {f"weights.{layer}": weight for layer, weight in enumerate(self.weights)}

        def one(own: dict[str, Tensor], lines: Tensor) -> Tensor:
            predicted: Tensor = functional_call(self._networks[0], own, (lines[None], spacing))
            return predicted[0]

        together: Tensor = torch.vmap(one)(weights, kspace)
        return together

    def examples(self, acs: Tensor) -> tuple[Tensor, Tensor]:
        """Return examples as `Raki.examples` does, from calibration lines (slice, coil, ya, x)."""
        sources, wanted = zip(
            *(one.examples(lines) for one, lines in zip(self._networks, acs, strict=True)), strict=True
        )
        return torch.cat(sources), torch.cat(wanted)

    @torch.no_grad()
    def hand_back(self) -> None:
        """Give the networks what was learned."""
        for layer, weights in enumerate(self.weights):
            for network, weight in zip(self._networks, weights, strict=True):
                network.weights[layer].copy_(weight)
