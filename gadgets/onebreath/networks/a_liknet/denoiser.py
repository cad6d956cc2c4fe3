"""The image branch: a complex U-Net over space and time, with attention over the frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onebreath.networks.a_liknet.attention import Attention
from onebreath.networks.shared.complex_layers import ComplexConv, ComplexUpsample, ModReLU, max_magnitude_pool
from onebreath.networks.shared.normalise import pad_to_multiple

_LEVELS = 2
MULTIPLE = 2**_LEVELS
"""Frames, lines and columns are padded to multiples of this."""


class SpatialConv(nn.Module):
    """Complex 5 x 5 convolution of every frame, and ModReLU; series are ``(batch, frame, y, x, channel)``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv, self.activation = ComplexConv(in_channels, out_channels, (5, 5)), ModReLU(out_channels)

    def forward(self, series: Tensor) -> Tensor:
        """Convolve a series."""
        return self.activation(self.conv(series))


class TemporalConv(nn.Module):
    """Complex convolution over 3 frames at every pixel, zero padded, and ModReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv, self.activation = ComplexConv(in_channels, out_channels, taps=3), ModReLU(out_channels)

    def forward(self, series: Tensor) -> Tensor:
        """Convolve a series."""
        return self.activation(self.conv(series))


class Denoiser(nn.Module):
    """``R(x)``: a U-Net with two levels, each halving y, x and time, and attention in its decoder.

    Parameters
    ----------
    frames
        Number of frames of the series.
    channels
        Channels of the upper level; twice and four times as many below.
    attention
        Whether the decoder has attention over the frames.
    upsample_kernel
        See `ComplexUpsample`.
    """

    def __init__(self, frames: int, channels: int = 12, attention: bool = True, upsample_kernel: int = 1) -> None:
        super().__init__()
        widths = [channels << level for level in range(_LEVELS + 1)]
        padded = frames + -frames % MULTIPLE

        def pair(first: type[nn.Module], second: type[nn.Module], before: int, after: int) -> nn.Sequential:
            return nn.Sequential(first(before, after), second(after, after))

        self.encoders = nn.ModuleList(
            pair(SpatialConv, TemporalConv, before, after)
            for before, after in zip([1, *widths[:-2]], widths[:-1], strict=True)
        )
        self.bottom = pair(SpatialConv, TemporalConv, widths[-2], widths[-1])
        self.up = nn.ModuleList(ComplexUpsample(2 * width, width, upsample_kernel) for width in widths[:-1])
        self.decoders = nn.ModuleList(pair(TemporalConv, SpatialConv, 2 * width, width) for width in widths[:-1])
        self.attentions = nn.ModuleList(
            Attention(padded >> level) if attention else nn.Identity() for level in range(_LEVELS)
        )
        self.out = ComplexConv(channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Correction of a complex image ``(batch, frame, y, x)``."""
        padded, (frames, rows, columns) = pad_to_multiple(image, MULTIPLE, axes=3)
        series, skips = padded[..., None], []
        for encoder in self.encoders:
            skips.append(encoder(series))
            series = max_magnitude_pool(skips[-1], (1, 2, 3))
        series = self.bottom(series)
        for up, decoder, attention in zip(*map(reversed, (self.up, self.decoders, self.attentions)), strict=True):
            series = attention(decoder(torch.cat([up(series), skips.pop()], dim=-1)))
        return self.out(series)[..., 0][:, frames, rows, columns]
