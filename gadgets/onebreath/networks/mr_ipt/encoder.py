"""Image encoder of MR-IPT: a vision transformer with attention in windows and, in few blocks, over the whole image.

The blocks follow Segment Anything (A. Kirillov et al., ICCV 2023) and its backbone ViTDet (Y. Li et al., ECCV 2022):
windows that do not shift, and relative positions split into rows and columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.errors import ModelError
from onebreath.networks.shared.checkpointing import run_step

EPSILON = 1e-6
PATCH = 4
"""Side of a patch in pixels; `Upscaling` undoes it."""
# From about this many tokens on, more channels cost less than a matrix of all pairs of tokens.
_MANY_TOKENS = 512
# Elements of such matrices computed at once: 64 MiB in single precision.
_BIAS_ELEMENTS = 2**24


class LayerNorm2d(nn.Module):
    """Normalise over the channels of ``(batch, channel, y, x)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel."""
        last = F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, EPSILON)
        return last.movedim(-1, 1)


class RelativeAttention(nn.Module):
    """Self-attention over a grid of tokens ``(batch, y, x, channel)`` with decomposed relative positions.

    Score of query q and key k: ``q.k / sqrt(d) + q.R_y[y_q - y_k] + q.R_x[x_q - x_k]``.

    Parameters
    ----------
    width
        Channels.
    heads
        Number of heads, a divisor of `width`.
    size
        Side of the grid of the tables; for other grids they are interpolated.
    """

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.relative_y = nn.Parameter(torch.zeros(2 * size - 1, width // heads))
        self.relative_x = nn.Parameter(torch.zeros(2 * size - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each grid; keeps the shape."""
        batch, height, width, channels = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        grid = query.unflatten(2, (height, width))
        rows = torch.einsum("bnyxd,ykd->bnyxk", grid, distances(self.relative_y, height).to(grid.dtype))
        columns = torch.einsum("bnyxd,xkd->bnyxk", grid, distances(self.relative_x, width).to(grid.dtype))
        attend = _attend_by_codes if height * width > _MANY_TOKENS else _attend_by_bias
        attended = attend(query, key, value, rows, columns)
        return self.out(attended.transpose(1, 2).reshape(batch, height, width, channels))


def distances(table: Tensor, size: int) -> Tensor:
    """Vectors of all differences of two positions, ``(size, size, d)``, from a table ``(2 n - 1, d)``.

    A table of another grid is interpolated linearly.
    """
    if len(table) != 2 * size - 1:
        table = F.interpolate(table.T[None], size=2 * size - 1, mode="linear")[0].T
    position = torch.arange(size, device=table.device)
    return table[position[:, None] - position[None, :] + size - 1]


def _attend_by_codes(query: Tensor, key: Tensor, value: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Attention whose scores of positions are part of the inner product, so that no matrix of all pairs is made.

    The query holds its scores of all rows and of all columns, the key says by ones and zeros where it is.
    """
    channels, (height, width) = query.shape[-1], rows.shape[2:4]
    y = torch.eye(height, dtype=key.dtype, device=key.device).repeat_interleave(width, dim=0)
    x = torch.eye(width, dtype=key.dtype, device=key.device).repeat(height, 1)
    codes = torch.cat([y, x], dim=-1).expand(*key.shape[:2], -1, -1)
    queries = torch.cat([query / math.sqrt(channels), rows.flatten(2, 3), columns.flatten(2, 3)], dim=-1)
    keys = torch.cat([key, codes], dim=-1)
    # Fused kernels want as many channels of the values, and those of GPUs a multiple of eight.
    aligned = keys.shape[-1] + -keys.shape[-1] % 8
    queries, keys, values = (F.pad(part, (0, aligned - part.shape[-1])) for part in (queries, keys, value))
    return F.scaled_dot_product_attention(queries, keys, values, scale=1.0)[..., :channels]


def _attend_by_bias(query: Tensor, key: Tensor, value: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Attention with a matrix of the scores of positions, of few batch entries at a time."""
    entries = max(1, _BIAS_ELEMENTS // (query.shape[1] * query.shape[2] ** 2))
    pieces = zip(*(part.split(entries) for part in (query, key, value, rows, columns)), strict=True)
    attended = [
        F.scaled_dot_product_attention(q, k, v, (y[..., :, None] + x[..., None, :]).flatten(4, 5).flatten(2, 3))
        for q, k, v, y, x in pieces
    ]
    return attended[0] if len(attended) == 1 else torch.cat(attended)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block on ``(batch, y, x, channel)``.

    Parameters
    ----------
    width, heads
        As in `RelativeAttention`.
    grid
        Side of the whole grid of tokens.
    window
        Side of the windows in tokens; 0: attention over all tokens.
    """

    def __init__(self, width: int, heads: int, grid: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.attention = RelativeAttention(width, heads, window or grid)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Apply attention and perceptron, each with a shortcut."""
        normed = self.norm1(x)
        x = x + (self._in_windows(normed) if self.window else self.attention(normed))
        return x + self.mlp(self.norm2(x))

    def _in_windows(self, x: Tensor) -> Tensor:
        """Attend within windows; zeros that fill them at the border are attended to, as released."""
        batch, height, width, channels = x.shape
        side = self.window
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        windows = x.reshape(batch, rows, side, columns, side, channels).transpose(2, 3).flatten(0, 2)
        attended = self.attention(windows).reshape(batch, rows, columns, side, side, channels).transpose(2, 3)
        return attended.reshape(batch, rows * side, columns * side, channels)[:, :height, :width]


@dataclass(frozen=True)
class EncoderSizes:
    """Sizes of an `Encoder`; the defaults are those of ViT-L.

    Parameters
    ----------
    image_size
        Side of the images of the position tables, in pixels.
    width, depth, heads
        Channels, number of blocks, heads per block.
    window, global_blocks
        Side of the windows in tokens; indices of the blocks that attend to all tokens instead.
    embedding
        Channels of the embedding.

    Raises
    ------
    ModelError
        If the sizes do not fit together.
    """

    image_size: int = 224
    width: int = 1024
    depth: int = 24
    heads: int = 16
    window: int = 14
    global_blocks: tuple[int, ...] = (5, 11, 17, 23)
    embedding: int = 256

    def __post_init__(self) -> None:
        """Check that the sizes fit together."""
        if self.image_size % PATCH or self.width % self.heads:
            raise ModelError(
                f"patch {PATCH} must divide image_size {self.image_size}, and heads {self.heads} width {self.width}"
            )
        if any(not 0 <= block < self.depth for block in self.global_blocks):
            raise ModelError(f"global_blocks is {self.global_blocks}, expected numbers from 0 to {self.depth - 1}")


VIT_L = EncoderSizes()


class Encoder(nn.Module):
    """Encoder from features ``(batch, channels, y, x)`` to an embedding ``(batch, embedding, y / 4, x / 4)``.

    Parameters
    ----------
    channels
        Channels of the input.
    sizes
        All other sizes.
    checkpointing
        Whether training computes each block again in the backward pass: less memory for about a third more time.
    """

    def __init__(self, channels: int, sizes: EncoderSizes, checkpointing: bool = False) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        grid, width, out = sizes.image_size // PATCH, sizes.width, sizes.embedding
        self.patches = nn.Conv2d(channels, width, PATCH, PATCH)
        self.positions = nn.Parameter(torch.zeros(1, grid, grid, width))
        windows = [0 if index in sizes.global_blocks else sizes.window for index in range(sizes.depth)]
        self.blocks = nn.ModuleList(EncoderBlock(width, sizes.heads, grid, window) for window in windows)
        self.neck = nn.Sequential(
            nn.Conv2d(width, out, 1, bias=False),
            LayerNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            LayerNorm2d(out),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Embedding of features."""
        x = self.patches(features).movedim(1, -1)
        x = x + self._positions(x.shape[1], x.shape[2])
        for block in self.blocks:
            x = run_step(block, x, checkpointing=self.checkpointing)
        embedded: Tensor = self.neck(x.movedim(-1, 1))
        return embedded

    def _positions(self, height: int, width: int) -> Tensor:
        if self.positions.shape[1:3] == (height, width):
            return self.positions
        table = self.positions.movedim(-1, 1)
        return F.interpolate(table, size=(height, width), mode="bicubic", antialias=True).movedim(1, -1)


class Upscaling(nn.Sequential):
    """Two transposed convolutions from an embedding to features of four times its size."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(width, width // 2, 2, 2),
            LayerNorm2d(width // 2),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, out, 2, 2),
            nn.GELU(),
        )
