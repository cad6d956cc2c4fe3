"""Convolutions by the compiled part of this package on a CPU and in float32: see `loading`.

PyTorch's own 3 x 3 convolutions (oneDNN) run at the speed of a matrix product; by Winograd's minimal filtering these
need a quarter or a fifth of the multiplications, and half of them or less along time. The largest error is some 1e-6
to 1e-5 of the largest value, twice to ten times that of PyTorch's. Those of single pixels (1 x 1) are as fast as
PyTorch's, but read what they are added to only once.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from onebreath.networks.convolution import loading
from onebreath.networks.convolution.loading import address, call, runs

LANES = 8
"""Channels in one instruction; numbers of channels must be multiples of it."""

_EDGES = (4, 6)
"""Edges of the tiles that there is code for, in pixels or frames; the smaller ones have the smaller error."""


def applies(weight: Tensor, *frames: Tensor) -> bool:
    """Whether images can be convolved here, with kernels of 3 taps or 1: all numbers of channels are multiples of 8.

    Parameters
    ----------
    weight
        Kernels ``(out, in, 3)``, ``(out, in, 3, 3)`` or ``(out, in, 1, 1)``.
    frames
        ``(frame, channel, y, x)``.
    """
    channels = (*weight.shape[:2], *(one.shape[1] for one in frames))
    return (
        tuple(weight.shape[2:]) in ((3,), (3, 3), (1, 1))
        and not any(one % LANES for one in channels)
        and runs(weight, *frames)
    )


class _CompiledFilter(ABC):
    """A `Filter` of compiled code: what it is given is checked, and where it writes is found, for all kinds alike.

    Parameters
    ----------
    weight
        Kernels ``(out, in, k, k)``; both numbers of channels are multiples of 8.
    """

    def __init__(self, weight: Tensor) -> None:
        self.out, self.channels = weight.shape[:2]
        self.weight = weight
        address(weight)  # other formats are refused now

    def __call__(
        self,
        frames: Sequence[Tensor],
        bias: Tensor | None = None,
        added: Tensor | None = None,
        relu: bool = False,
        out: Tensor | None = None,
    ) -> Tensor:
        """Convolve images, fastest if their channels are innermost in memory; see `filters.Filter`.

        Raises
        ------
        ValueError, TypeError
            If a shape or a type does not fit, or `out` has another order in memory.
        MemoryError
            If the tiles of each thread do not fit into the memory.
        """
        added, out = _places(frames, (self.out, self.channels), bias, added, out)
        self._convolve(frames, [_contiguous(bias), added, out], out.shape, relu)
        return out

    @abstractmethod
    def _convolve(self, frames: Sequence[Tensor], places: list[Tensor | None], shape: torch.Size, relu: bool) -> None:
        """Convolve; the places are those of the bias, what is added, and the result, which has the shape."""


class Compiled(_CompiledFilter):
    """The `Filter` with 3 x 3 kernels, stride 1 and zeros around, where `applies` is true.

    Parameters
    ----------
    weight
        Kernels ``(out, in, 3, 3)``; both numbers of channels are multiples of 8.
    dilation
        Distance of the kernel's pixels.
    """

    def __init__(self, weight: Tensor, dilation: int = 1) -> None:
        super().__init__(weight)
        self.dilation = dilation
        self._kernels: dict[int, Tensor] = {}

    def of_first(self, channels: int) -> Compiled:
        """Return the filter of the first channels, as if the others were zero; both have the same kernels."""
        made = copy.copy(self)
        made.channels = channels
        return made

    def _convolve(self, frames: Sequence[Tensor], places: list[Tensor | None], shape: torch.Size, relu: bool) -> None:
        frames = [channels_last(one) for one in frames]
        count, _, height, width = shape
        edge = _edge(*(-(-size // self.dilation) for size in (height, width)))
        if edge not in self._kernels:
            self._kernels[edge] = _prepared(self.weight, edge)
        parts = len(frames)
        call(
            "convolve",
            (c_void_p * parts)(*map(address, frames)),
            (c_int64 * parts)(*(one.shape[1] for one in frames)),
            parts,
            *(address(self._kernels[edge]), self.weight.shape[1]),
            *map(address, places),
            *(count, height, width, self.out, self.dilation),
            edge,
            relu,
        )


class CompiledPixels(_CompiledFilter):
    """The `Filter` with 1 x 1 kernels, where `applies` is true.

    Parameters
    ----------
    weight
        Kernels ``(out, in, 1, 1)``; both numbers of channels are multiples of 8.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self._kernels = _prepared(weight)

    def _convolve(self, frames: Sequence[Tensor], places: list[Tensor | None], shape: torch.Size, relu: bool) -> None:
        joined = channels_last(frames[0] if len(frames) == 1 else torch.cat([*frames], dim=1))
        count, _, height, width = shape
        call(
            "convolve_pixels",
            *map(address, [joined, self._kernels, *places]),
            *(count * height * width, self.channels, self.out),
            relu,
        )


def in_time(series: Tensor, weight: Tensor, bias: Tensor | None, circular: bool) -> Tensor:
    """Convolve each pixel along time, where `applies` is true.

    Parameters
    ----------
    series
        ``(batch, frame, pixel, in)``.
    weight
        Kernels ``(out, in, 3)``; both numbers of channels are multiples of 8.
    bias
        ``(out,)``, or None.
    circular
        Whether the first frame follows the last; otherwise zeros lie around.

    Returns
    -------
    Tensor
        ``(batch, frame, pixel, out)``.

    Raises
    ------
    ValueError, TypeError
        If channels or a type do not fit.
    MemoryError
        If the tiles of each thread do not fit into the memory.
    """
    series, out, edge = series.contiguous(), len(weight), _edge(series.shape[1])
    kernels = _prepared(weight, edge)
    if series.shape[3] != weight.shape[1] or (bias is not None and len(bias) != out):
        raise ValueError(f"a series {tuple(series.shape)} or its bias does not fit kernels {tuple(weight.shape)}")
    result = _empty(*series.shape[:3], out)
    call(
        "convolve_in_time",
        *map(address, (series, kernels, _contiguous(bias), result)),
        *series.shape,
        out,
        edge,
        circular,
    )
    return result


def to_few(frames: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve images to less than 8 channels, with zeros around, where `runs` is true.

    Parameters
    ----------
    frames
        ``(frame, in, y, x)``; the number of channels is a multiple of 8.
    weight
        Kernels ``(out, in, k, k)``; k is odd.
    bias
        ``(out,)``, or None.

    Returns
    -------
    Tensor
        ``(frame, out, y, x)``, with the channels innermost in memory.

    Raises
    ------
    ValueError, TypeError
        If channels or a type do not fit.
    MemoryError
        If the rows of each thread do not fit into the memory.
    """
    out, channels, side = weight.shape[:3]
    count, given, height, width = frames.shape
    if given != channels or (bias is not None and len(bias) != out):
        raise ValueError(f"images {tuple(frames.shape)} or the bias do not fit kernels {tuple(weight.shape)}")
    taps = weight.permute(2, 3, 0, 1).reshape(-1, channels)
    padded = torch.nn.functional.pad(taps, (0, 0, 0, -len(taps) % LANES))
    frames, kernels = channels_last(frames), _prepared(padded[..., None])
    result = _empty(count, height, width, out).permute(0, 3, 1, 2)
    sizes = (count, height, width, channels, out, side, len(padded))
    call("convolve_to_few", *map(address, (frames, kernels, _contiguous(bias), result)), *sizes)
    return result


def _edge(*sizes: int) -> int:
    """Edge of the tiles that multiply least for images of such sizes, or for such a number of frames."""
    return min(_EDGES, key=lambda edge: math.prod(-(-size // edge) * (edge + 2) for size in sizes))


def _prepared(weight: Tensor, edge: int = _EDGES[0]) -> Tensor:
    """Kernels ``(out, in, ...)`` as the compiled code reads them for tiles with an edge; one tap needs none."""
    (out, channels), axes = weight.shape[:2], sum(size == 3 for size in weight.shape[2:])
    kernels, weight, loaded = _empty((edge + 2) ** axes * out * channels), weight.contiguous(), loading.library()
    assert loaded is not None
    threads = torch.get_num_threads()
    loaded.onebreath_prepare(address(weight), address(kernels), channels, out, 3**axes, edge, threads)
    return kernels


def _places(
    frames: Sequence[Tensor],
    channels: tuple[int, int],
    bias: Tensor | None,
    added: Tensor | None,
    out: Tensor | None,
) -> tuple[Tensor | None, Tensor]:
    """What is added, and where the result is written, with the channels innermost in memory.

    Parameters
    ----------
    channels
        Out and in.

    Raises
    ------
    ValueError
        If something does not fit to the images, or to these channels.
    """
    count, _, height, width = frames[0].shape
    for name, sizes, expected in (
        ("the images", {(len(one), *one.shape[2:]) for one in frames}, {(count, height, width)}),
        ("their channels", sum(one.shape[1] for one in frames), channels[1]),
        ("the bias", channels[0] if bias is None else bias.numel(), channels[0]),
    ):
        if sizes != expected:
            raise ValueError(f"the size of {name} is {sizes}, expected {expected}")
    shape = (count, channels[0], height, width)
    for name, one in (("what is added", added), ("out", out)):
        if one is not None and one.shape != shape:
            raise ValueError(f"{name} has shape {tuple(one.shape)}, expected {shape}")
    if out is None:
        out = _empty(count, height, width, channels[0]).permute(0, 3, 1, 2)
    elif not out.is_contiguous(memory_format=torch.channels_last):
        raise ValueError("out must have its channels innermost in memory")
    return None if added is None else channels_last(added), out


def _contiguous(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.contiguous()


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def channels_last(tensor: Tensor) -> Tensor:
    """``(image, channel, y, x)`` with the channels innermost in memory; a copy only if they are not."""
    return tensor.contiguous(memory_format=torch.channels_last)
