"""The low-rank branch: singular values of space-time patches are shrunk by a learned, smooth threshold."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.errors import MethodError

BLOCKS = 4
"""Number of patches along y and along x."""
SMALLEST_IMAGE = 2 * BLOCKS
"""Fewest lines and columns that can be cut into different patches."""
_FRAMES = 5
"""Preferred number of frames of a patch; the nearest divisor of the number of frames is used."""
_FIRST_COEFFICIENT = -2.0
# The smooth threshold leaves a small remainder of vanishing singular values. Below this fraction of the largest one the
# gain is bounded, as it would amplify rounding errors and gradients without limit.
_FLOOR = 1e-3
# Eigenvalues closer than this fraction of the largest count as equal in derivatives.
_EQUAL = 1e-9


def chunk_length(frames: int) -> int:
    """Frames of a patch: the divisor of `frames` above 1 nearest to 5, the smaller one of two equally near."""
    divisors = [size for size in range(2, frames + 1) if frames % size == 0] or [1]
    return min(divisors, key=lambda size: (abs(size - _FRAMES), size))


def block_size(size: int) -> tuple[int, int]:
    """Length of the overlapping blocks of an axis, and their distance."""
    overlap = size % BLOCKS + BLOCKS
    length = (size + (BLOCKS - 1) * overlap) // BLOCKS
    return length, length - overlap


def cut_patches(image: Tensor, frames: int) -> Tensor:
    """Cut ``(batch, frame, y, x)`` into ``(batch, patch, frame, y, x)``: 16 blocks of every `frames` frames.

    Patches are ordered by time, then y, then x.

    Raises
    ------
    MethodError
        If the image is too small.
    """
    for axis, size in zip("yx", image.shape[-2:], strict=True):
        if size < SMALLEST_IMAGE:
            raise MethodError(
                f"kspace has size {size} along {axis}, the low-rank branch needs {SMALLEST_IMAGE} or more"
            )
    blocks = image.unflatten(1, (-1, frames))
    height, width = image.shape[-2:]
    blocks = blocks.unfold(3, *block_size(height)).unfold(4, *block_size(width))
    return blocks.permute(0, 1, 3, 4, 2, 5, 6).flatten(1, 3)


def join_patches(patches: Tensor, shape: tuple[int, int]) -> Tensor:
    """Undo `cut_patches`, averaging where blocks overlap.

    Parameters
    ----------
    patches
        ``(batch, patch, frame, y, x)``.
    shape
        Shape of the image, ``(y, x)``.
    """
    (height, down), (width, right) = (block_size(size) for size in shape)
    frames = patches.shape[2]
    planes = torch.view_as_real(patches).unflatten(1, (-1, BLOCKS**2))
    # (batch, chunk, block, frame, y, x, part) to columns (batch * chunk * frame * part, y * x, block).
    columns = planes.permute(0, 1, 3, 6, 4, 5, 2).flatten(4, 5).flatten(0, 3)

    def put(columns: Tensor) -> Tensor:
        return F.fold(columns, shape, (height, width), stride=(down, right))[:, 0]

    mean = put(columns) / put(torch.ones_like(columns[:1]))
    series = mean.view(patches.shape[0], -1, frames, 2, *shape).flatten(1, 2)
    return torch.view_as_complex(series.permute(0, 1, 3, 4, 2).contiguous())


class LowRank(nn.Module):
    """``D(x)``: smooth singular value thresholding of space-time patches.

    A singular value s becomes ``ReLU(s - t) + t sigmoid(s - t)``, where the threshold t is a learned fraction of the
    patch's largest one. Singular vectors are computed from the small Gram matrix of the frames of a patch, so the long
    ones are never formed.

    Parameters
    ----------
    frames
        Number of frames of the series.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = chunk_length(frames)
        self.coefficients = nn.Parameter(torch.full((frames // self.frames * BLOCKS**2,), _FIRST_COEFFICIENT))

    def forward(self, image: Tensor) -> Tensor:
        """Lower the rank of a complex series ``(batch, frame, y, x)``.

        Raises
        ------
        MethodError
            If the image is too small, or singular values do not converge.
        """
        patches = cut_patches(image, self.frames)
        height, width = image.shape[-2:]
        return join_patches(shrink(patches.flatten(3), self.coefficients).view(patches.shape), (height, width))


def shrink(patches: Tensor, coefficients: Tensor) -> Tensor:
    """Shrink the singular values of matrices ``(batch, patch, frame, pixel)``.

    Parameters
    ----------
    patches
        Complex matrices.
    coefficients
        The threshold is the sigmoid of this times the largest singular value; ``(patch,)``.

    Raises
    ------
    MethodError
        If singular values do not converge.
    """
    double = patches.to(torch.complex128)
    gram = double @ double.mH
    values, vectors = _eigen(gram.detach())
    # With the vectors held fixed this is exact to first order, and stays so for equal eigenvalues: the divided
    # differences below are the derivative of a function of a matrix (Y. Daleckii and S. Krein, 1965).
    rotated = vectors.mH @ gram @ vectors if gram.requires_grad else torch.diag_embed(values).to(gram.dtype)
    values = rotated.diagonal(dim1=-2, dim2=-1).real
    gains = _gain(values, values[..., -1:], coefficients.double()[:, None])
    core = torch.diag_embed(gains).to(gram.dtype)
    if gram.requires_grad:
        core = core + _differences(values.detach(), gains.detach(), coefficients.detach().double()) * rotated
    return (vectors @ core @ vectors.mH @ double).to(patches.dtype)


def _eigen(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors; a MethodError that counts the broken patches if there are none."""
    try:
        values, vectors = torch.linalg.eigh(gram)
    except torch.linalg.LinAlgError as error:
        bad = int((~gram.isfinite()).flatten(2).any(-1).sum())
        raise MethodError(
            f"the singular values of image patches do not converge; {bad} of {gram.shape[0] * gram.shape[1]} patches "
            "hold values that are not finite. The weights do not suit these data, or the data are damaged"
        ) from error
    return values, vectors


def _gain(values: Tensor, largest: Tensor, coefficients: Tensor) -> Tensor:
    """Ratio of the new to the old singular value, from eigenvalues of the Gram matrix."""
    tiny = torch.finfo(values.dtype).tiny
    top = largest.clamp_min(tiny).sqrt()
    singular = values.clamp_min(tiny).sqrt()
    threshold = torch.sigmoid(coefficients) * top
    above = singular - threshold
    return (torch.relu(above) + threshold * torch.sigmoid(above)) / torch.maximum(singular, _FLOOR * top)


def _differences(values: Tensor, gains: Tensor, coefficients: Tensor) -> Tensor:
    """Divided differences of the gains between all pairs of different eigenvalues; 0 on the diagonal."""
    distance = values[..., :, None] - values[..., None, :]
    equal = distance.abs() <= _EQUAL * values[..., -1:, None]
    with torch.enable_grad():
        middle = (values[..., :, None] + values[..., None, :]) / 2
        middle.requires_grad_()
        gain = _gain(middle, values[..., -1:, None], coefficients[:, None, None])
        (slope,) = torch.autograd.grad(gain.sum(), middle)
    quotient = (gains[..., :, None] - gains[..., None, :]) / torch.where(equal, torch.ones_like(distance), distance)
    differences = torch.where(equal, slope, quotient)
    return differences - torch.diag_embed(differences.diagonal(dim1=-2, dim2=-1))
