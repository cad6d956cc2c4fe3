"""The k-space branch: complex convolutions over coils and k-space, with attention over the coils."""

from __future__ import annotations

from torch import Tensor, nn

from onebreath.networks.a_liknet.attention import Attention
from onebreath.networks.shared.complex_layers import ComplexConv, ModReLU

_COIL_AXIS = -4


class KSpaceNetwork(nn.Module):
    """Network from multi-coil k-space to multi-coil k-space; frames are the channels of its convolutions.

    Kernels span neighbouring coils, so the order of the coils matters; coil compression defines one.

    Parameters
    ----------
    frames, coils
        Number of frames and coils of the series.
    channels
        Channels between the three convolutions.
    attention
        Whether there is attention over the coils.
    residual
        Whether the prediction is added to the input, and is zero before training. Otherwise, as published, it replaces
        the input.
    """

    def __init__(
        self, frames: int, coils: int, channels: tuple[int, int] = (32, 8), attention: bool = True,
        residual: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.residual = residual
        layers: list[nn.Module] = []
        for before, after in zip((frames, channels[0]), channels, strict=True):
            layers += [ComplexConv(before, after, (5, 5), taps=3, bias=False), ModReLU(coils, _COIL_AXIS)]
            layers += [Attention(coils)] if attention else []
        last = ComplexConv(channels[-1], frames, (3, 3), taps=3, bias=False)
        if residual:
            nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, kspace: Tensor) -> Tensor:
        """Predict complex k-space ``(batch, frame, coil, y, x)``."""
        predicted = self.layers(kspace.movedim(1, -1)).movedim(-1, 1)
        return kspace + predicted if self.residual else predicted
