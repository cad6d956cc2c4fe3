"""Convolutional recurrent unit over time and cascades (CRNN-TI).

Qin et al., IEEE Trans Med Imaging 2019 (CRNN-MRI); the units of CRUNet-MR differ by dilation and side branch.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from onebreath.networks.convolution.compiled import LANES, Compiled, applies, channels_last
from onebreath.networks.convolution.filters import Conv, Direct, filter_with
from onebreath.networks.convolution.loading import runs
from onebreath.networks.shared.conv2plus1d import stack_frames

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
        self.input = Conv(in_channels, channels, dilation=dilation)
        self.time = Conv(channels, channels, dilation=dilation)
        self.cascade = Conv(channels, channels, dilation=dilation) if cross_cascade else None
        self.side = None
        if side_kernel is not None:
            self.side = Conv(in_channels, channels, side_kernel)

    def forward(self, series: Tensor, features: Tensor | None = None) -> Tensor:
        """Run over the frames.

        Parameters
        ----------
        series
            ``(batch, frame, in_channels, y, x)``.
        features
            Features of the previous cascade, ``(batch, frame, channels, y, x)``; None means zeros at no cost.
        """
        given, weights = [series], [self.input.weight]
        if self.cascade is not None and features is not None:
            given.append(features)
            weights.append(self.cascade.weight)
        compiled = applies(self.time.weight) and runs(*given)
        states = self._compiled(given, weights) if compiled else self._by_batches(self._drive(given, weights))
        if self.side is None:
            return states
        added = channels_last(states.flatten(0, 1))
        place = added if compiled else None  # it is no one else's, and has no gradients
        return self.side(series.flatten(0, 1), added=added, out=place).unflatten(0, series.shape[:2])

    def _bias(self) -> Tensor:
        """The biases of all terms, added up."""
        layers = [layer for layer in (self.input, self.time, self.cascade) if layer is not None]
        return torch.stack([layer.bias for layer in layers if layer.bias is not None]).sum(0)

    def _drive(self, given: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        """All terms that do not depend on the states, for all frames at once."""
        drive, bias = None, self._bias()
        for series, weight in zip(given, weights, strict=True):
            frames = [series.flatten(0, 1)]
            convolve = filter_with(weight, self.dilation, frames)
            drive = convolve(frames, bias if drive is None else None, added=drive)
        assert drive is not None
        return drive.unflatten(0, given[0].shape[:2])

    def _compiled(self, given: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        """States without gradients: in one direction each by a single convolution of all that it depends on."""
        if self.direction == "both" or any(one.shape[2] % LANES for one in given):
            drives = self._drive(given, weights)  # once for both directions
            convolve = Compiled(self.time.weight, self.dilation)

            def driven(t: int, before: Tensor | None, out: Tensor) -> Tensor:
                if before is None:
                    return torch.clamp_min(drives[:, t], 0, out=out)
                return convolve([before], added=drives[:, t], relu=True, out=out)

            return self._one_by_one(driven, drives)
        bias, whole = self._bias(), Compiled(torch.cat([*weights, self.time.weight], dim=1), self.dilation)
        first = whole.of_first(sum(one.shape[2] for one in given))

        def state(t: int, before: Tensor | None, out: Tensor) -> Tensor:
            frames = [one[:, t] for one in given]
            if before is None:
                return first(frames, bias, relu=True, out=out)
            return whole([*frames, before], bias, relu=True, out=out)

        return self._one_by_one(state, given[0])

    def _one_by_one(self, state: Callable[[int, Tensor | None, Tensor], Tensor], like: Tensor) -> Tensor:
        """Run frame by frame; `state` takes the frame, the state before (None: zeros) and where to write."""
        batch, count, _, height, width = like.shape
        orders = {"forward": [1], "backward": [-1], "both": [1, -1]}[self.direction]
        series = [like.new_empty(count, batch, height, width, self.time.out_channels) for _ in orders]
        for order, one in zip(orders, series, strict=True):
            states = one.permute(0, 1, 4, 2, 3)
            before = None
            for t in range(count)[::order]:
                before = state(t, before, states[t])
        first, *second = series
        return (first.add_(second[0]) if second else first).permute(1, 0, 4, 2, 3)

    def _by_batches(self, drives: Tensor) -> Tensor:
        # Unbound at once: in training the gradient of each indexed frame would be as large as the series.
        frames = list(drives.unbind(1))
        if self.direction == "forward":
            return stack_frames(self._recur(frames))
        if self.direction == "backward":
            return stack_frames(self._recur(frames[::-1])[::-1])
        return self._both(frames)

    def _recur(self, drives: list[Tensor]) -> list[Tensor]:
        convolve = Direct(self.time.weight, self.dilation)
        states = [drives[0].relu()]
        for drive in drives[1:]:
            states.append(convolve([states[-1]], added=drive, relu=True))
        return states

    def _both(self, drives: list[Tensor]) -> Tensor:
        """Run both directions as one batch, with half the calls of the convolutions."""
        joined = [torch.cat(pair) for pair in zip(drives, drives[::-1], strict=True)]
        pairs = [state.chunk(2) for state in self._recur(joined)]
        return stack_frames([ahead[0] + back[1] for ahead, back in zip(pairs, pairs[::-1], strict=True)])
