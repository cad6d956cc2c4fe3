"""Convolutions with stride 1 and zeros around, by the fastest way that applies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.networks.convolution.compiled import Compiled, CompiledPixels, applies, channels_last


class Filter(Protocol):
    """A convolution with fixed kernels, and what usually follows it."""

    def __call__(
        self,
        frames: Sequence[Tensor],
        bias: Tensor | None = None,
        added: Tensor | None = None,
        relu: bool = False,
        out: Tensor | None = None,
    ) -> Tensor:
        """Convolve.

        Parameters
        ----------
        frames
            Images ``(frame, channel, y, x)``; those of several tensors are joined along the channels.
        bias
            ``(out,)``, added to each pixel.
        added
            Images that are added to the result.
        relu
            Whether what is negative becomes zero in the end.
        out
            Where the result is written; it may be `added`. For images without gradients.
        """
        ...


class Direct:
    """The `Filter` that PyTorch computes, on any device, in any format, with gradients.

    Parameters
    ----------
    weight
        Kernels ``(out, in, k, k)``; k is odd.
    dilation
        Distance of the kernel's pixels.
    """

    def __init__(self, weight: Tensor, dilation: int = 1) -> None:
        self.weight, self.dilation = weight, dilation

    def __call__(
        self,
        frames: Sequence[Tensor],
        bias: Tensor | None = None,
        added: Tensor | None = None,
        relu: bool = False,
        out: Tensor | None = None,
    ) -> Tensor:
        """Convolve; see `Filter`."""
        joined = channels_last(frames[0]) if len(frames) == 1 else torch.cat([*map(channels_last, frames)], dim=1)
        padding = self.dilation * (self.weight.shape[-1] // 2)
        result = F.conv2d(joined, self.weight, bias, padding=padding, dilation=self.dilation)
        if added is not None:
            result = result.add_(added)
        if relu:
            result = result.relu_()
        return result if out is None else out.copy_(result)


def filter_with(weight: Tensor, dilation: int, frames: Sequence[Tensor]) -> Filter:
    """Return the convolution with kernels ``(out, in, k, k)`` for such images, to be called many times."""
    if not applies(weight, *frames):
        return Direct(weight, dilation)
    return Compiled(weight, dilation) if weight.shape[-1] == 3 else CompiledPixels(weight)


class Conv(nn.Conv2d):
    """Layer with square kernels, stride 1 and zeros around, which keeps the size of the images.

    Parameters
    ----------
    in_channels, channels
        Channels in and out.
    kernel_size
        Odd.
    dilation
        Distance of the kernel's pixels.
    bias
        Whether it adds a learned constant to each channel.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int = 3, dilation: int = 1, bias: bool = True
    ) -> None:
        padding = dilation * (kernel_size // 2)
        super().__init__(in_channels, channels, kernel_size, padding=padding, dilation=dilation, bias=bias)

    def forward(
        self, *frames: Tensor, added: Tensor | None = None, relu: bool = False, out: Tensor | None = None
    ) -> Tensor:
        """Convolve ``(frame, channel, y, x)``; see `Filter`."""
        return filter_with(self.weight, self.dilation[0], frames)(frames, self.bias, added, relu, out)
