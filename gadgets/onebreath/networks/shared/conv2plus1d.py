"""Convolutions over space and time of a series ``(batch, frame, channel, y, x)``.

All series are kept with the channels innermost in memory: the frames fold into the batch of a 2-D convolution, and the
pixels into one axis of a temporal convolution, without a copy.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.networks.convolution.compiled import LANES, applies, channels_last, in_time, to_few
from onebreath.networks.convolution.filters import Conv, filter_with
from onebreath.networks.convolution.loading import runs

_SIDES = (4, 2)
"""Sides of the squares of `ConvToPlanes`, the better one first."""


def fold_frames(series: Tensor) -> Tensor:
    """``(batch, frame, channel, y, x)`` to ``(batch * frame, channel, y, x)``, channels innermost in memory."""
    return channels_last(series.flatten(0, 1))


def per_frame(layer: nn.Module, series: Tensor) -> Tensor:
    """Apply a 2-D layer to every frame at once."""
    return layer(fold_frames(series)).unflatten(0, series.shape[:2])


def stack_frames(frames: Sequence[Tensor]) -> Tensor:
    """Stack ``(batch, channel, y, x)`` frames to a series, channels innermost in memory."""
    return torch.stack([frame.permute(0, 2, 3, 1) for frame in frames], dim=1).permute(0, 1, 4, 2, 3)


class TemporalConv(nn.Conv1d):
    """Convolution of width 3 along time at every pixel.

    Parameters
    ----------
    channels
        Channels in and out.
    circular
        Whether time wraps around, as in a cardiac cycle; otherwise it is padded with zeros.
    """

    def __init__(self, channels: int, circular: bool = True) -> None:
        super().__init__(channels, channels, kernel_size=3)
        self.circular = circular

    def forward(self, series: Tensor) -> Tensor:
        """Convolve ``(batch, frame, channel, y, x)``."""
        batch, frames, channels, height, width = series.shape
        pixels = series.permute(0, 1, 3, 4, 2).reshape(batch, frames, height * width, channels)
        if applies(self.weight, series.flatten(0, 1)):
            out = in_time(pixels, self.weight, self.bias, self.circular)
        else:
            out = self._direct(pixels.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out.reshape(batch, frames, height, width, -1).permute(0, 1, 4, 2, 3)

    def _direct(self, lines: Tensor) -> Tensor:
        kernel = self.weight[..., None]
        out = F.conv2d(lines, kernel, self.bias, padding=(1, 0))
        if self.circular:
            # Adding the wrapped frames to the two ends is cheaper than copying the series to pad it.
            out[:, :, :1].add_(F.conv2d(lines[:, :, -1:], kernel[:, :, :1]))
            out[:, :, -1:].add_(F.conv2d(lines[:, :, :1], kernel[:, :, 2:]))
        return out


class SpaceTimeConv(nn.Module):
    """2-D convolution of every frame, ReLU, then a temporal convolution without activation ("2+1").

    Parameters
    ----------
    in_channels, channels
        Channels in and out.
    dilation
        Dilation of the 3 x 3 spatial convolution.
    circular
        As in `TemporalConv`.
    """

    def __init__(self, in_channels: int, channels: int, dilation: int = 1, circular: bool = True) -> None:
        super().__init__()
        self.spatial: nn.Module = Conv(in_channels, channels, dilation=dilation)
        self.temporal = TemporalConv(channels, circular)

    def forward(self, *series: Tensor) -> Tensor:
        """Convolve ``(batch, frame, channel, y, x)``; the channels of several series are joined."""
        shape = series[0].shape[:2]
        return self.temporal(self._in_space(*(one.flatten(0, 1) for one in series)).unflatten(0, shape))

    def _in_space(self, *frames: Tensor) -> Tensor:
        return self.spatial(*frames, relu=True)


class _Resampling(SpaceTimeConv):
    """`SpaceTimeConv` whose spatial convolution changes the size."""

    def _in_space(self, *frames: Tensor) -> Tensor:
        return self.spatial(*map(channels_last, frames)).relu_()


class Downsample(_Resampling):
    """`SpaceTimeConv` with a 2 x 2 kernel that halves y and x."""

    def __init__(self, channels: int, circular: bool = True) -> None:
        super().__init__(channels, channels, circular=circular)
        self.spatial = nn.Conv2d(channels, channels, 2, stride=2)


class Upsample(_Resampling):
    """`SpaceTimeConv` with a transposed 2 x 2 kernel that doubles y and x."""

    def __init__(self, channels: int, circular: bool = True) -> None:
        super().__init__(channels, channels, circular=circular)
        self.spatial = nn.ConvTranspose2d(channels, channels, 2, stride=2)


class ConvToPlanes(nn.Conv2d):
    """2-D convolution to few channels, with stride 1, zeros around and an odd kernel.

    A CPU computes 8 or 16 output channels in one instruction; with two of them most of it would be idle. Compiled code
    makes all taps of a pixel at once. Without it squares of pixels are made at once, as the channels of a convolution
    whose stride is their side, with a copy of the kernel for each pixel of the square. The numbers that are added are
    the same.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, planes: Tensor) -> Tensor:
        """Convolve ``(frame, channel, y, x)``."""
        if self.out_channels < LANES and self.in_channels % LANES == 0 and runs(planes, self.weight):
            return to_few(planes, self.weight, self.bias)
        side = self._side(planes)
        if side == 1:
            return filter_with(self.weight, 1, [planes])([planes], self.bias)
        bias = None if self.bias is None else self.bias.repeat_interleave(side**2)
        return F.pixel_shuffle(F.conv2d(planes, self._for_squares(side), bias, side, self.padding), side)

    def _side(self, planes: Tensor) -> int:
        """Side of the squares; 1 where nothing is gained, or the image has no whole number of them."""
        if planes.device.type != "cpu" or torch.is_grad_enabled() or applies(self.weight, planes):
            return 1
        height, width = planes.shape[-2:]
        return next((side for side in _SIDES if height % side == 0 and width % side == 0), 1)

    def _for_squares(self, side: int) -> Tensor:
        """Kernels ``(channel * side * side, in_channel, k + side - 1, k + side - 1)``."""
        channels, inputs, size, _ = self.weight.shape
        whole = self.weight.new_zeros(channels, side, side, inputs, size + side - 1, size + side - 1)
        for i in range(side):
            for j in range(side):
                whole[:, i, j, :, i : i + size, j : j + size] = self.weight
        return whole.flatten(0, 2).contiguous(memory_format=torch.channels_last)
