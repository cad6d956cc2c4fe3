"""CRNN-MRI: unrolled convolutional recurrent network for cine (Qin et al., IEEE Trans Med Imaging 2019)."""

import torch
from torch import Tensor, nn

from onebreath.networks.consistency.data_consistency import Kind
from onebreath.networks.convolution.filters import Conv, filter_with
from onebreath.networks.shared.conv2plus1d import ConvToPlanes, per_frame
from onebreath.networks.shared.normalise import Normalised
from onebreath.networks.shared.recurrent import RecurrentUnit
from onebreath.networks.shared.refinement import Refinement
from onebreath.networks.shared.unrolled import Features, UnrolledNetwork


class CascadeConv(nn.Module):
    """``ReLU(W_in x + W_cascade f)`` with f this layer's output in the previous cascade (CRNN-i)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = Conv(channels, channels)
        self.cascade = Conv(channels, channels)

    def forward(self, series: Tensor, features: Tensor | None) -> Tensor:
        """Convolve ``(batch, frame, channel, y, x)``; None means zeros."""
        frames, bias = series.flatten(0, 1), self.cascade.bias
        if features is None:
            assert self.input.bias is not None
            assert bias is not None
            out = filter_with(self.input.weight, 1, [frames])([frames], self.input.bias + bias, relu=True)
        else:
            out = self.cascade(features.flatten(0, 1), added=self.input(frames), relu=True)
        return out.unflatten(0, series.shape[:2])


class CRNNBlock(Refinement):
    """A bidirectional recurrent layer, three layers with features of the previous cascade, and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.recurrent = RecurrentUnit(2, channels, direction="both")
        self.layers = nn.ModuleList(CascadeConv(channels) for _ in range(3))
        self.tail = ConvToPlanes(channels, 2, 3)

    def normalise(self, planes: Tensor) -> Normalised:
        """Return the image unchanged: there is no normalisation."""
        return Normalised(
            planes, torch.zeros_like(planes[:, :1, :1, :1, :1]), torch.ones_like(planes[:, :1, :1, :1, :1])
        )

    def correction(self, planes: Tensor, features: Features | None) -> tuple[Tensor, Features]:
        """Run the convolutions; None as features means zeros."""
        earlier = features if features is not None else [None] * (1 + len(self.layers))
        outputs = [self.recurrent(planes.to(self.tail.weight.dtype), earlier[0])]
        for layer, feature in zip(self.layers, earlier[1:], strict=True):
            outputs.append(layer(outputs[-1], feature))
        return per_frame(self.tail, outputs[-1]), tuple(outputs)


class CRNNMRI(UnrolledNetwork):
    """CRNN-MRI; 1,488,970 parameters by default (the size in the CRUNet-MR paper), 297,794 with shared weights.

    The original is for one coil: `kspace` with one coil and `maps` of ones.

    Parameters
    ----------
    shared
        Whether all cascades share their weights (the original).
    channels, cascades
        Width and number of cascades.
    data_consistency, noise_level, checkpointing
        See `UnrolledNetwork`.
    """

    def __init__(
        self,
        *,
        shared: bool = False,
        channels: int = 64,
        cascades: int = 5,
        data_consistency: Kind = "hard",
        noise_level: float | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(cascades, data_consistency, noise_level, checkpointing, remembered=1)
        self.blocks = nn.ModuleList(CRNNBlock(channels) for _ in range(1 if shared else cascades))
