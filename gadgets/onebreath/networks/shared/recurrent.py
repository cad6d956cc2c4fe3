"""Convolutional recurrent unit over time and cascades (CRNN-TI).

Qin et al., IEEE Trans Med Imaging 2019 (CRNN-MRI); the units of CRUNet-MR differ by dilation and side branch.
"""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.networks.shared.conv2plus1d import fold_frames, per_frame, stack_frames

Direction = Literal["forward", "backward", "both"]


class RecurrentUnit(nn.Module):
    """Recurrent unit ``h_t = ReLU(W_in x_t + W_time h_(t-1) + W_cascade f_t)`` whose first state is zero.

    Parameters
    ----------
    in_channels, channels
        Channels of the input and of the states.
    dilation
        Dilation of the three 3 x 3 convolutions.
    direction
        ``forward`` or ``backward`` in time; ``both`` runs the same weights in both directions and adds the states.
    cross_cascade
        Whether features f of the previous cascade are used.
    side_kernel
        Kernel size of a convolution of the input that is added to the states; None: no side branch.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dilation: int = 1,
        direction: Direction = "forward",
        cross_cascade: bool = True,
        side_kernel: int | None = None,
    ) -> None:
        super().__init__()
        self.direction, self.dilation = direction, dilation
        self.input = self._conv(in_channels, channels)
        self.time = self._conv(channels, channels)
        self.cascade = self._conv(channels, channels) if cross_cascade else None
        self.side = None
        if side_kernel is not None:
            self.side = nn.Conv2d(in_channels, channels, side_kernel, padding=side_kernel // 2)

    def forward(self, series: Tensor, features: Tensor | None = None) -> Tensor:
        """Run over the frames.

        Parameters
        ----------
        series
            ``(batch, frame, in_channels, y, x)``.
        features
            Features of the previous cascade, ``(batch, frame, channels, y, x)``; None means zeros at no cost.
        """
        # Unbound at once: in training the gradient of each indexed frame would be as large as the series.
        drives = list(self._drive(series, features).unbind(1))
        if self.direction == "forward":
            states = stack_frames(self._recur(drives))
        elif self.direction == "backward":
            states = stack_frames(self._recur(drives[::-1])[::-1])
        else:
            states = self._both(drives)
        return states if self.side is None else per_frame(self.side, series).add_(states)

    def _conv(self, in_channels: int, channels: int) -> nn.Conv2d:
        return nn.Conv2d(in_channels, channels, 3, padding=self.dilation, dilation=self.dilation)

    def _drive(self, series: Tensor, features: Tensor | None) -> Tensor:
        """All terms that do not depend on the states, for all frames at once; the three biases are added up."""
        layers = [layer for layer in (self.input, self.time, self.cascade) if layer is not None]
        bias = torch.stack([layer.bias for layer in layers if layer.bias is not None]).sum(0)
        drive = self._convolve(self.input, fold_frames(series), bias)
        if self.cascade is not None and features is not None:
            drive = drive.add_(self._convolve(self.cascade, fold_frames(features)))
        return drive.unflatten(0, series.shape[:2])

    def _recur(self, drives: list[Tensor]) -> list[Tensor]:
        states = [drives[0].relu()]
        for drive in drives[1:]:
            states.append(self._convolve(self.time, states[-1]).add_(drive).relu_())
        return states

    def _both(self, drives: list[Tensor]) -> Tensor:
        """Run both directions as one batch, with half the calls of the convolutions."""
        joined = [torch.cat(pair) for pair in zip(drives, drives[::-1], strict=True)]
        pairs = [state.chunk(2) for state in self._recur(joined)]
        return stack_frames([ahead[0] + back[1] for ahead, back in zip(pairs, pairs[::-1], strict=True)])

    def _convolve(self, layer: nn.Conv2d, frames: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(frames, layer.weight, bias, padding=self.dilation, dilation=self.dilation)
