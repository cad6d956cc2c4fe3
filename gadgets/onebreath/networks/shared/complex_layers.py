"""Complex-valued layers, channels last: ``(batch, ..., channel)``.

A complex array with the channels innermost is, without a copy, a real array with twice as many channels (real and
imaginary part of a channel are adjacent). A complex convolution is thus one real convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Keeps the derivative of a magnitude finite at zero.
_SMALLEST_ENERGY = 1e-9


class ComplexConv(nn.Module):
    """Complex convolution (a correlation), zero padded to the same size, of ``(batch, n, ..., channel)``.

    Along y and x it is a 2-D convolution, along the first axis n (frames or coils) a product with neighbours stacked as
    channels: on a CPU this is several times faster than a convolution with a narrow kernel.

    New weights have a variance of ``2 / (fan in + fan out)`` and a uniform phase (C. Trabelsi et al., "Deep complex
    networks", ICLR 2018).

    Parameters
    ----------
    in_channels, out_channels
        Complex channels.
    kernel
        Odd size along y and along x; empty: each sample by itself.
    taps
        Odd size along n.
    bias
        Whether there is a complex bias for each channel.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[()] | tuple[int, int] = (), taps: int = 1,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.taps, self.padding = taps, tuple(size // 2 for size in kernel)
        self.weight = nn.Parameter(torch.empty(out_channels, taps, in_channels, *kernel, 2))
        fans = taps * math.prod(kernel) * (in_channels + out_channels)
        nn.init.normal_(self.weight, std=fans**-0.5)
        self.bias = nn.Parameter(torch.zeros(2 * out_channels)) if bias else None

    def forward(self, array: Tensor) -> Tensor:
        """Convolve complex ``(batch, n, ..., channel)``; with a kernel ``(batch, n, y, x, channel)``."""
        planes = torch.view_as_real(stack_neighbours(array, self.taps)).flatten(-2).to(self.weight.dtype)
        if self.padding:
            folded = planes.flatten(0, 1).permute(0, 3, 1, 2)
            out = F.conv2d(folded, self._real_kernel(), self.bias, padding=self.padding)
            out = out.permute(0, 2, 3, 1).unflatten(0, array.shape[:2])
        else:
            out = F.linear(planes, self._real_kernel(), self.bias)
        return torch.view_as_complex(out.to(array.real.dtype).contiguous().unflatten(-1, (-1, 2)))

    def _real_kernel(self) -> Tensor:
        """Equivalent kernel between real channels, ``(2 out, 2 taps in, *kernel)``."""
        real, imaginary = self.weight.flatten(1, 2).unbind(-1)
        rows = torch.stack([real, -imaginary], dim=2), torch.stack([imaginary, real], dim=2)
        return torch.stack(rows, dim=1).flatten(2, 3).flatten(0, 1)


def stack_neighbours(array: Tensor, count: int) -> Tensor:
    """Channels of `count` (odd) neighbours along the first axis after the batch, with zeros beyond its ends.

    Parameters
    ----------
    array
        ``(batch, n, ..., channel)``.

    Returns
    -------
    Tensor
        ``(batch, n, ..., count * channel)``, the first neighbour first.
    """
    if count == 1:
        return array.contiguous()
    n, reach = array.shape[1], count // 2
    ends = array.new_zeros(array.shape[0], reach, *array.shape[2:])
    padded = torch.cat([ends, array, ends], dim=1)
    return torch.cat([padded[:, first : first + n] for first in range(count)], dim=-1)


class ModReLU(nn.Module):
    """``ReLU(|z| + b) z / |z|``: shrinks the magnitude and keeps the phase (M. Arjovsky et al., ICML 2016, eq. 8).

    Parameters
    ----------
    size
        Number of learned b.
    axis
        Axis of the array to which they belong, counted from the end.
    """

    def __init__(self, size: int, axis: int = -1) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(size))
        self.shape = (size, *[1] * (-1 - axis))

    def forward(self, array: Tensor) -> Tensor:
        """Shrink a complex array."""
        shrunk: Tensor = _Shrink.apply(array, self.bias.to(array.real.dtype).view(self.shape))
        return shrunk


class _Shrink(torch.autograd.Function):
    """`ModReLU` with an explicit derivative: composed of simpler steps it takes a third longer."""

    @staticmethod
    def forward(ctx: Any, array: Tensor, bias: Tensor) -> Tensor:
        magnitude = (array.abs().square() + _SMALLEST_ENERGY).sqrt()
        scale = torch.relu(magnitude + bias) / magnitude
        for save in (ctx.save_for_backward, ctx.save_for_forward):
            save(array, bias, magnitude, scale)
        return array * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        _, bias, *_ = saved = ctx.saved_tensors
        change, along = _Shrink._derivative(gradient, *saved)
        return change, along.sum_to_size(bias.shape)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, shift: Tensor) -> Tensor:
        array, _, magnitude, scale = saved = ctx.saved_tensors
        change, _ = _Shrink._derivative(tangent, *saved)
        return change + array * torch.where(scale > 0, shift / magnitude, 0)

    @staticmethod
    def _derivative(
        change: Tensor, array: Tensor, bias: Tensor, magnitude: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Derivative along a change of the array (a self-adjoint map), and the change of the magnitudes."""
        along = (array.real * change.real + array.imag * change.imag) / magnitude
        along = torch.where(scale > 0, along, torch.zeros_like(along))
        return change * scale - array * (along * bias / magnitude.square()), along


class ComplexUpsample(nn.Module):
    """Transposed complex convolution of stride 2 along three axes, and ModReLU.

    With a kernel of 1, as in the released A-LIKNet, only the first of every 2 x 2 x 2 new samples gets a value, and the
    others the bias. A kernel of 2 fills them all.

    Parameters
    ----------
    in_channels, out_channels
        Complex channels.
    kernel
        1 or 2, along each axis.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1) -> None:
        super().__init__()
        self.kernel = kernel
        self.values = ComplexConv(in_channels, kernel**3 * out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(2 * out_channels))
        self.activation = ModReLU(out_channels)

    def forward(self, array: Tensor) -> Tensor:
        """Double the axes of complex ``(batch, frame, y, x, channel)``."""
        batch, *sizes, _ = array.shape
        k = self.kernel
        bias = torch.view_as_complex(self.bias.to(array.real.dtype).view(-1, 2))
        values = self.values(array).unflatten(-1, (k, k, k, -1))
        # (batch, t, y, x, kt, ky, kx, channel) to cells of 2 x 2 x 2 samples.
        values = self.activation(values + bias).permute(0, 1, 4, 2, 5, 3, 6, 7)
        frames, height, width = sizes
        cells = self.activation(bias).expand(batch, frames, 2, height, 2, width, 2, -1)
        if k == 2:
            cells = values
        else:
            cells = cells.clone()
            cells[:, :, :1, :, :1, :, :1] = values
        return cells.reshape(batch, 2 * frames, 2 * height, 2 * width, -1)


def max_magnitude_pool(array: Tensor, axes: Sequence[int]) -> Tensor:
    """Max pooling by magnitude over cells of two samples along each axis; the first sample if they are equal.

    Parameters
    ----------
    array
        Complex array.
    axes
        Axes to halve, of even size.
    """
    for axis in axes:
        first, second = array.unflatten(axis, (-1, 2)).unbind(axis + 1)
        array = torch.where(first.detach().abs() >= second.detach().abs(), first, second)
    return array
