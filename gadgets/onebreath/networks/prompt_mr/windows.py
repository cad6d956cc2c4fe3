"""What PromptMR and PromptMR+ share: windows of frames, coil maps of a network of their own, coil images combined."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from onebreath.errors import MethodError, ModelError
from onebreath.networks.prompt_mr.sensitivity import SensitivityNetwork
from onebreath.networks.prompt_mr.unet import new_slope
from onebreath.networks.shared.series_network import SeriesNetwork

Combination = Literal["rss", "maps"]


class WindowNetwork(SeriesNetwork):
    """A network whose cascades see a few adjacent frames at a time; the cardiac cycle wraps around.

    Parameters
    ----------
    window
        Number of frames, see `check_window`.
    blocks
        U-Nets of the cascades.
    sensitivity
        Network that estimates coil maps; None: those given are taken.
    combination, checkpointing
        See `PromptMR`.
    """

    title: ClassVar[str]
    """Name of the network in messages."""

    def __init__(
        self,
        window: int,
        blocks: Iterable[nn.Module],
        sensitivity: SensitivityNetwork | None,
        combination: Combination,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        self.window, self.combination, self.checkpointing = window, combination, checkpointing
        self.blocks = nn.ModuleList(blocks)
        self.steps = nn.ParameterList(torch.ones(1) for _ in self.blocks)
        self.slope = new_slope()
        self.sensitivity = sensitivity

    def limits(self) -> dict[str, tuple[int, int]]:
        """Fewest frames: those of a window, as no frame may occur in it twice."""
        return {"frames": (self.window, sys.maxsize)}

    def check_frames(self, frames: int) -> None:
        """Raise MethodError if a series has fewer frames than a window."""
        if frames < self.window:
            raise MethodError(
                f"the series has {frames} frames, this {self.title} sees {self.window} adjacent frames at a time; "
                "use another method for fewer"
            )

    def combined(self, coils: Tensor, maps: Tensor) -> Tensor:
        """Combine coil images ``(..., coil, y, x)`` as `combination` says."""
        if self.combination == "maps":
            return (coils * maps.conj()).sum(dim=-3)
        return torch.linalg.vector_norm(coils, dim=-3).to(coils.dtype)


def check_window(window: int) -> None:
    """Raise ModelError if a window has no frame in the middle."""
    if window < 1 or window % 2 == 0:
        raise ModelError(f"window is {window}, expected an odd number: it has a frame in the middle")
