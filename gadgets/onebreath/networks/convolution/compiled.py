"""Convolutions by the compiled part of this package (``winograd.c``, ``to_few.c``) on a CPU and in float32.

PyTorch's own 3 x 3 convolutions (oneDNN) run at the speed of a matrix product; by Winograd's minimal filtering these
need a quarter or a fifth of the multiplications, and half of them or less along time. The largest error is some 1e-6
to 1e-5 of the largest value, twice to ten times that of PyTorch's. setup.py compiles them if there is a C compiler;
without it, or on a processor that lacks AVX2, PyTorch's are used. A second library is for processors with AVX-512.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import math
from collections.abc import Sequence
from ctypes import c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger("onebreath.networks")

LANES = 8
"""Channels in one instruction; numbers of channels must be multiples of it."""

_EDGES = (4, 6)
"""Edges of the tiles that there is code for, in pixels or frames; the smaller ones have the smaller error."""


@functools.cache
def library(folder: Path = Path(__file__).parent) -> ctypes.CDLL | None:
    """Load the compiled code; None if it was not compiled, not for this processor, or is of another version.

    The library with the widest vectors that this processor has is taken.
    """
    return next((loaded for path in libraries(folder) if (loaded := load(path))), None)


def libraries(folder: Path = Path(__file__).parent) -> list[Path]:
    """List what was compiled, wide vectors first."""
    return sorted(folder.glob("_convolution*.so"), key=lambda path: ("avx512" not in path.name, path.name))


def load(path: Path) -> ctypes.CDLL | None:
    """Load one library; None if it is not for this processor, or of another version.

    Torch comes first: the threads of both are then those of one OpenMP.
    """
    try:
        loaded = ctypes.CDLL(str(path))
        _describe(loaded)
    except OSError:  # compiled for another processor or system; no libgomp
        return None
    except AttributeError as error:
        log.warning("%s is of another version (%s); PyTorch convolves. Install onebreath again", path, error)
        return None
    return loaded if loaded.onebreath_runs_here() else None


def _describe(loaded: ctypes.CDLL) -> None:
    """Tell ctypes what the functions take."""
    loaded.onebreath_prepare.argtypes = [c_void_p, c_void_p, c_int64, c_int64, c_int, c_int, c_int]
    loaded.onebreath_prepare.restype = None
    images: list[type[Any]] = [c_void_p, c_void_p, c_int64]
    loaded.onebreath_convolve.argtypes = [*images, *[c_void_p] * 4, *[c_int64] * 5, *[c_int] * 3]
    loaded.onebreath_convolve_in_time.argtypes = [*[c_void_p] * 4, *[c_int64] * 5, *[c_int] * 3]
    loaded.onebreath_convolve_to_few.argtypes = [*[c_void_p] * 4, *[c_int64] * 7, c_int]


def runs(*tensors: Tensor) -> bool:
    """Whether the compiled code can take such tensors: float32 on a CPU, without derivatives or autocasting.

    Derivatives in forward mode are made without gradients, too; so inference mode is what counts.
    """
    plain = all(one.device.type == "cpu" and one.dtype == torch.float32 for one in tensors)
    asked = torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
    return plain and asked and library() is not None


def code_for(device: str, dtype: torch.dtype) -> str:
    """``compiled`` if networks convolve by this module on a device and in a format, else ``torch``."""
    return "compiled" if device == "cpu" and dtype == torch.float32 and library() is not None else "torch"


def applies(weight: Tensor, *frames: Tensor) -> bool:
    """Whether images can be convolved here with kernels of 3 taps: all numbers of channels are multiples of 8.

    Parameters
    ----------
    weight
        Kernels ``(out, in, 3)`` or ``(out, in, 3, 3)``.
    frames
        ``(frame, channel, y, x)``.
    """
    channels = (*weight.shape[:2], *(one.shape[1] for one in frames))
    return set(weight.shape[2:]) == {3} and not any(one % LANES for one in channels) and runs(weight, *frames)


class Compiled:
    """The `Filter` with 3 x 3 kernels, stride 1 and zeros around, where `applies` is true.

    Parameters
    ----------
    weight
        Kernels ``(out, in, 3, 3)``; both numbers of channels are multiples of 8.
    dilation
        Distance of the kernel's pixels.
    """

    def __init__(self, weight: Tensor, dilation: int = 1) -> None:
        self.out, self.channels = weight.shape[:2]
        self.weight, self.dilation = weight, dilation
        self._kernels: dict[int, Tensor] = {}
        _address(weight)  # other formats are refused now

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
        frames = [channels_last(one) for one in frames]
        count, _, height, width = frames[0].shape
        for name, sizes, expected in (
            ("the images", {(len(one), *one.shape[2:]) for one in frames}, {(count, height, width)}),
            ("their channels", sum(one.shape[1] for one in frames), self.channels),
            ("the bias", self.out if bias is None else bias.numel(), self.out),
        ):
            if sizes != expected:
                raise ValueError(f"the size of {name} is {sizes}, expected {expected}")
        added, out = _places((count, self.out, height, width), added, out)
        bias = None if bias is None else bias.contiguous()
        edge = _edge(*(-(-size // self.dilation) for size in (height, width)))
        if edge not in self._kernels:
            self._kernels[edge] = _prepared(self.weight, edge)
        parts = len(frames)
        _run(
            "convolve",
            (c_void_p * parts)(*map(_address, frames)),
            (c_int64 * parts)(*(one.shape[1] for one in frames)),
            parts,
            *map(_address, (self._kernels[edge], bias, added, out)),
            *(count, height, width, self.out, self.dilation),
            edge,
            relu,
        )
        return out


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
    bias = None if bias is None else bias.contiguous()
    if series.shape[3] != weight.shape[1] or (bias is not None and len(bias) != out):
        raise ValueError(f"a series {tuple(series.shape)} or its bias does not fit kernels {tuple(weight.shape)}")
    result = _empty(*series.shape[:3], out)
    _run("convolve_in_time", *map(_address, (series, kernels, bias, result)), *series.shape, out, edge, circular)
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
    bias = None if bias is None else bias.contiguous()
    result = _empty(count, height, width, out).permute(0, 3, 1, 2)
    sizes = (count, height, width, channels, out, side, len(padded))
    _run("convolve_to_few", *map(_address, (frames, kernels, bias, result)), *sizes)
    return result


def _edge(*sizes: int) -> int:
    """Edge of the tiles that multiply least for images of such sizes, or for such a number of frames."""
    return min(_EDGES, key=lambda edge: math.prod(-(-size // edge) * (edge + 2) for size in sizes))


def _prepared(weight: Tensor, edge: int = _EDGES[0]) -> Tensor:
    """Kernels ``(out, in, ...)`` as the compiled code reads them for tiles with an edge; one tap needs none."""
    (out, channels), axes = weight.shape[:2], sum(size == 3 for size in weight.shape[2:])
    kernels, weight, loaded = _empty((edge + 2) ** axes * out * channels), weight.contiguous(), library()
    assert loaded is not None
    threads = torch.get_num_threads()
    loaded.onebreath_prepare(_address(weight), _address(kernels), channels, out, 3**axes, edge, threads)
    return kernels


def _run(name: str, *arguments: object) -> None:
    threads = torch.get_num_threads()
    if getattr(library(), f"onebreath_{name}")(*arguments, threads):
        raise MemoryError(f"no memory for the tiles of {threads} threads")


def _places(shape: tuple[int, ...], added: Tensor | None, out: Tensor | None) -> tuple[Tensor | None, Tensor]:
    """What is added, and where the result is written, with the channels innermost in memory."""
    for name, one in (("what is added", added), ("out", out)):
        if one is not None and one.shape != shape:
            raise ValueError(f"{name} has shape {tuple(one.shape)}, expected {shape}")
    if out is None:
        count, channels, height, width = shape
        out = _empty(count, height, width, channels).permute(0, 3, 1, 2)
    elif not out.is_contiguous(memory_format=torch.channels_last):
        raise ValueError("out must have its channels innermost in memory")
    return None if added is None else channels_last(added), out


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def channels_last(tensor: Tensor) -> Tensor:
    """``(image, channel, y, x)`` with the channels innermost in memory; a copy only if they are not."""
    return tensor.contiguous(memory_format=torch.channels_last)


def _address(tensor: Tensor | None) -> int | None:
    """Address of numbers that the compiled code reads; it cannot know what they are, so only those are let through."""
    if tensor is None:
        return None
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise TypeError(f"a tensor is {tensor.dtype} on {tensor.device}, expected torch.float32 on cpu")
    return tensor.data_ptr()
