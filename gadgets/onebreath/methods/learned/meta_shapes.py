"""Results of common operations on meta tensors, by shape alone.

Torch has Python code for many of them, which imports its compiler when it first runs: seconds, for a process that
reconstructs one scan and compiles nothing. What is not listed here is left to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten


def result(function: Any, args: Sequence[Any], kwargs: dict[str, Any], composite: bool = False) -> Tensor | None:
    """Return an empty tensor with the shape of an operation's result; None if torch must run it.

    Parameters
    ----------
    function
        An overload of an operation.
    args, kwargs
        Its arguments.
    composite
        Whether operations that consist of others are taken as one.
    """
    known = _KNOWN.get(function) or (_COMPOSITE.get(function) if composite else None)
    if known is None or kwargs:
        return None
    given = args[0] if isinstance(args[0], (list, tuple)) else args
    if any(isinstance(one, Tensor) and one.device.type != "meta" for one in given):
        return None
    return known(*args)


class WithoutCompiler(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Base of dispatch modes for which torch need not import its compiler."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: to keep `__torch_dispatch__` out of its compiler, torch would have to import that."""
        return False


class OperationCount(WithoutCompiler):
    """Counts multiplications and additions as torch's `FlopCounterMode` does."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, or its parts, and count it."""
        kwargs = kwargs or {}
        count = flop_registry.get(function._overloadpacket)
        made = result(function, args, kwargs)
        if made is None and count is None:
            with self:
                made = function.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
            made = None
        if made is None:
            made = function(*args, **kwargs)
        if count is not None:
            self.total += int(count(*args, **kwargs, out_val=made))
        return made


def _unary(tensor: Tensor, *_: Any) -> Tensor | None:
    return _like(tensor, tensor.dtype) if tensor.dtype.is_floating_point else None


def _in_place(tensor: Tensor, *_: Any) -> Tensor:
    return tensor


def _binary(first: Any, second: Any) -> Tensor | None:
    dtype = torch.result_type(first, second)
    if not (dtype.is_floating_point or dtype.is_complex):
        return None
    tensors = [one for one in (first, second) if isinstance(one, Tensor)]
    shape = np.broadcast_shapes(*(one.shape for one in tensors))  # torch's own imports its compiler
    whole = next((one for one in tensors if one.shape == shape), None)  # the result lies in memory as it does
    return _empty(shape, dtype) if whole is None else _like(whole, dtype)


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    if not _alike(tensors):
        return None
    shape = list(first.shape)
    shape[dim] = sum(one.shape[dim] for one in tensors)
    channels_last = first.ndim == 4 and all(map(_is_channels_last, tensors))
    return _empty(shape, first.dtype, torch.channels_last if channels_last else torch.contiguous_format)


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    shape = list(tensors[0].shape)
    shape.insert(dim % (len(shape) + 1), len(tensors))
    return _empty(shape, tensors[0].dtype) if _alike(tensors) else None


def _alike(tensors: Sequence[Tensor]) -> bool:
    first = tensors[0]
    return all(one.dtype == first.dtype and one.ndim == first.ndim and one.numel() for one in tensors)


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def _mean(tensor: Tensor, dims: Sequence[int] | None, keepdim: bool = False) -> Tensor | None:
    if not dims or not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
        return None
    gone = {dim % tensor.ndim for dim in dims}
    sizes = [1 if axis in gone else size for axis, size in enumerate(tensor.shape) if keepdim or axis not in gone]
    return _empty(sizes, tensor.dtype)


def _std(tensor: Tensor, dims: Sequence[int] | None, unbiased: bool = True, keepdim: bool = False) -> Tensor | None:
    return _mean(tensor, dims, keepdim) if tensor.dtype.is_floating_point else None


def _pixel_unshuffle(tensor: Tensor, factor: int) -> Tensor | None:
    *outer, channels, rows, columns = tensor.shape
    if rows % factor or columns % factor:
        return None  # torch has words for it
    return _empty((*outer, channels * factor**2, rows // factor, columns // factor), tensor.dtype)


def _pixel_shuffle(tensor: Tensor, factor: int) -> Tensor | None:
    *outer, channels, rows, columns = tensor.shape
    if channels % factor**2:
        return None
    return _empty((*outer, channels // factor**2, rows * factor, columns * factor), tensor.dtype)


def _padded(tensor: Tensor, widths: Sequence[int], _: float = 0) -> Tensor | None:
    shape = list(tensor.shape)
    for axis, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True), 1):
        shape[-axis] += before + after
    return torch.empty_strided(shape, _strides(tensor, shape), dtype=tensor.dtype, device="meta")


def _convolution(
    tensor: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor | None:
    if tensor.ndim != weight.ndim or tensor.shape[1] != weight.shape[0 if transposed else 1] * (
        1 if transposed else groups
    ):
        return None  # torch has words for it
    extents = [step * (size - 1) + 1 for step, size in zip(dilation, weight.shape[2:], strict=True)]
    axes = zip(tensor.shape[2:], extents, stride, padding, output_padding, strict=True)
    if transposed:
        sizes = [(size - 1) * step - 2 * edge + extent + more for size, extent, step, edge, more in axes]
    else:
        sizes = [(size + 2 * edge - extent) // step + 1 for size, extent, step, edge, _ in axes]
    if min(sizes) < 1:
        return None
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    form = torch.channels_last if tensor.ndim == 4 and _is_channels_last(tensor) else torch.contiguous_format
    return _empty((tensor.shape[0], channels, *sizes), tensor.dtype, form)


def _conv2d(
    tensor: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] | str = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor | None:
    if isinstance(padding, str) or tensor.ndim != 4 or min(map(len, (stride, padding, dilation))) < 2:
        return None
    return _convolution(tensor, weight, bias, stride, padding, dilation, False, (0, 0), groups)


def _conv_transpose2d(
    tensor: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Tensor | None:
    if tensor.ndim != 4 or min(map(len, (stride, padding, output_padding, dilation))) < 2:
        return None
    return _convolution(tensor, weight, bias, stride, padding, dilation, True, output_padding, groups)


def _like(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """An empty tensor with the axes in the same order in memory; `torch.empty_like` imports the compiler."""
    return torch.empty_strided(tensor.shape, _strides(tensor, tensor.shape), dtype=dtype, device="meta")


def _strides(tensor: Tensor, shape: Sequence[int]) -> list[int]:
    """Return strides of a dense shape, with the axis order of a tensor in memory."""
    strides, step = [1] * tensor.ndim, 1
    for axis in sorted(range(tensor.ndim), key=lambda axis: (tensor.stride(axis), -axis)):
        strides[axis], step = step, step * shape[axis]
    return strides


def _empty(shape: Sequence[int], dtype: torch.dtype, form: torch.memory_format = torch.contiguous_format) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta", memory_format=form)


_KNOWN: dict[Any, Callable[..., Tensor | None]] = {
    _aten.relu.default: _unary,
    _aten.sqrt.default: _unary,
    _aten.log.default: _unary,
    _aten.square.default: _unary,
    _aten.clamp_min.default: _unary,
    _aten.relu_.default: _in_place,
    _aten.add_.Tensor: _in_place,
    _aten.add.Tensor: _binary,
    _aten.sub.Tensor: _binary,
    _aten.mul.Tensor: _binary,
    _aten.div.Tensor: _binary,
    _aten.cat.default: _cat,
    _aten.stack.default: _stack,
    _aten.mean.dim: _mean,
    _aten.sum.dim_IntList: _mean,
    _aten.std.dim: _std,
    _aten.constant_pad_nd.default: _padded,
    _aten.pixel_shuffle.default: _pixel_shuffle,
    _aten.pixel_unshuffle.default: _pixel_unshuffle,
    _aten.convolution.default: _convolution,
}

_COMPOSITE: dict[Any, Callable[..., Tensor | None]] = {
    _aten.conv2d.default: _conv2d,
    _aten.conv_transpose2d.input: _conv_transpose2d,
}
