"""The k-space branch: complex convolutions over coils and k-space, with attention over the coils."""

from __future__ import annotations

from torch import Tensor, nn

from onebreath.networks.a_liknet.attention import Attention
from onebreath.networks.shared.complex_layers import ComplexConv, ModReLU

_COIL_AXIS = -4


class KSpaceNetwork(nn.Module):
    """Predicts multi-coil k-space from multi-coil k-space; frames are the channels of its convolutions.

    Kernels reach over neighbouring coils, so that the order of the coils matters: coil compression gives one.

    Parameters
    ----------
    frames, coils
        Of the series.
    channels
        Between the three convolutions.
    attention
        Whether coils are weighed.
    residual
        Whether the prediction is added to the input, and zero before training; without, as published, it stands in its
        place.
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
