"""Pre- and postprocessing of a cascade's convolutions: real planes, z-score, padding."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

# Divisor for a constant series; far below the standard deviation of any image, so that others are normalised exactly.
SMALLEST_STD = 1e-12


class Normalised(NamedTuple):
    """A normalised series, and the mean and standard deviation to undo it."""

    planes: Tensor
    mean: Tensor
    std: Tensor

    def undo(self, planes: Tensor) -> Tensor:
        """Planes ``(batch, frame, 2, y, x)`` with the mean and standard deviation of the original series."""
        return planes * self.std + self.mean


def to_planes(image: Tensor) -> Tensor:
    """Real and imaginary part as channels: complex ``(batch, frame, y, x)`` to ``(batch, frame, 2, y, x)``."""
    return torch.view_as_real(image).permute(0, 1, 4, 2, 3)


def to_complex(planes: Tensor) -> Tensor:
    """Undo `to_planes`."""
    return torch.view_as_complex(planes.permute(0, 1, 3, 4, 2).contiguous())


def zscore(planes: Tensor) -> Normalised:
    """Normalise each series of a batch by the mean and the unbiased standard deviation of all its values.

    Real and imaginary parts count as separate values (CRUNet-MR). A constant series becomes zeros.

    Parameters
    ----------
    planes
        ``(batch, frame, 2, y, x)``.
    """
    axes = (1, 2, 3, 4)
    mean = planes.mean(axes, keepdim=True)
    std = planes.std(axes, keepdim=True).clamp_min(SMALLEST_STD)
    return Normalised((planes - mean) / std, mean, std)


def pad_to_multiple(array: Tensor, multiple: int, axes: int = 2) -> tuple[Tensor, tuple[slice, ...]]:
    """Pad the last axes with zeros on both sides, the larger half at the end.

    Parameters
    ----------
    array
        ``(..., y, x)``.
    multiple
        The padded sizes are multiples of this.
    axes
        Number of axes, counted from the end.

    Returns
    -------
    array, window
        The padded array, and the slices along the axes that hold the original one.
    """
    sizes = array.shape[-axes:]
    halves = [_halves(-size % multiple) for size in sizes]
    padded = F.pad(array, [width for pair in reversed(halves) for width in pair])
    return padded, tuple(slice(before, before + size) for (before, _), size in zip(halves, sizes, strict=True))


def _halves(size: int) -> tuple[int, int]:
    return size // 2, size - size // 2
