"""Overlapping windows of a fixed length along an axis of a longer series."""

from __future__ import annotations

import torch
from torch import Tensor


def window_starts(size: int, length: int, overlap: int = 0) -> list[int]:
    """Starts of the fewest evenly spread windows that cover an axis and overlap by at least `overlap`."""
    count = max(1, -(-(size - overlap) // (length - overlap)))
    return [round(index * (size - length) / max(count - 1, 1)) for index in range(count)]


def cut_windows(array: Tensor, axis: int, starts: list[int], length: int) -> Tensor:
    """Cut ``(batch, ...)`` into ``(batch * window, ...)`` along another axis; an axis of size 1 is repeated."""
    if array.shape[axis] == 1:
        return array.repeat_interleave(len(starts), dim=0)
    return torch.stack([array.narrow(axis, first, length) for first in starts], dim=1).flatten(0, 1)


def join_windows(windows: Tensor, axis: int, starts: list[int], overlap: int = 0) -> Tensor:
    """Undo `cut_windows`: a mean where windows overlap, with weights that fall towards their ends over `overlap`."""
    length = windows.shape[axis]
    cut = windows.unflatten(0, (-1, len(starts)))
    index = torch.arange(length, device=windows.device)
    weight = (torch.minimum(index, length - 1 - index) + 1).clamp(max=overlap + 1).to(windows.real.dtype)
    weight = weight.view([length if n == axis % windows.ndim else 1 for n in range(windows.ndim)])
    shape = list(cut.shape[:1] + cut.shape[2:])
    shape[axis] = starts[-1] + length
    total = cut.new_zeros(shape)
    weights = weight.new_zeros([size if n == axis % len(shape) else 1 for n, size in enumerate(shape)])
    for window, first in enumerate(starts):
        total.narrow(axis, first, length).add_(cut[:, window] * weight)
        weights.narrow(axis, first, length).add_(weight)
    return total / weights
