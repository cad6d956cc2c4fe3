"""RAKI networks of several slices in one batch, so that a GPU launches one kernel instead of one per slice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from onebreath.networks.raki.raki import Raki


class RakiStack(nn.Module):
    """Networks of equal size, each with its own weights, that are evaluated and trained together.

    Parameters
    ----------
    networks
        Networks with initial weights; these change only when `copy_back` is called.
    """

    def __init__(self, networks: Sequence[Raki]) -> None:
        super().__init__()
        self._networks = list(networks)
        self.acceleration = networks[0].acceleration
        stacked, _ = stack_module_state(self._networks)
        self.weights = nn.ParameterList(stacked[f"weights.{layer}"] for layer in range(len(networks[0].weights)))

    def forward(self, kspace: Tensor, spacing: int = 1) -> Tensor:
        """Predict as `Raki.forward`; the batch axis counts slices, each with its own network."""
        weights = {f"weights.{layer}": weight for layer, weight in enumerate(self.weights)}

        def one(own: dict[str, Tensor], lines: Tensor) -> Tensor:
            predicted: Tensor = functional_call(self._networks[0], own, (lines[None], spacing))
            return predicted[0]

        together: Tensor = torch.vmap(one)(weights, kspace)
        return together

    def examples(self, acs: Tensor) -> tuple[Tensor, Tensor]:
        """Examples as from `Raki.examples`, from calibration lines (slice, coil, ya, x)."""
        sources, wanted = zip(
            *(one.examples(lines) for one, lines in zip(self._networks, acs, strict=True)), strict=True
        )
        return torch.cat(sources), torch.cat(wanted)

    @torch.no_grad()
    def copy_back(self) -> None:
        """Copy the trained weights to the networks."""
        for layer, weights in enumerate(self.weights):
            for network, weight in zip(self._networks, weights, strict=True):
                network.weights[layer].copy_(weight)
