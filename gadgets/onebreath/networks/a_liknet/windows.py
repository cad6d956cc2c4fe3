"""Windows of a fixed number of frames in a series of more."""

from __future__ import annotations

import torch
from torch import Tensor


def window_starts(frames: int, length: int) -> list[int]:
    """First frames of the fewest windows that hold every frame, evenly spread from the first frame to the last."""
    count = -(-frames // length)
    return [round(index * (frames - length) / max(count - 1, 1)) for index in range(count)]


def cut_windows(array: Tensor, frames: int, length: int) -> Tensor:
    """Cut ``(batch, frame or 1, ...)`` of a series of `frames` into ``(batch * window, length or 1, ...)``."""
    starts = window_starts(frames, length)
    if array.shape[1] == 1:
        return array.repeat_interleave(len(starts), dim=0)
    return torch.stack([array[:, first : first + length] for first in starts], dim=1).flatten(0, 1)


def join_windows(windows: Tensor, frames: int) -> Tensor:
    """Undo `cut_windows` for a series of `frames`, with the mean where windows overlap."""
    length = windows.shape[1]
    starts = window_starts(frames, length)
    cut = windows.unflatten(0, (-1, len(starts)))
    total = cut.new_zeros(cut.shape[0], frames, *cut.shape[3:])
    count = cut.real.new_zeros(frames)
    for index, first in enumerate(starts):
        total[:, first : first + length] += cut[:, index]
        count[first : first + length] += 1
    return total / count.view(-1, *[1] * (total.ndim - 2))
