"""Prompts and decoder of MR-IPT: tokens of the scan's level and type, and attention between them and the image.

After the mask decoder of Segment Anything (A. Kirillov et al., ICCV 2023), without the parts that MR-IPT never uses.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.networks.mr_ipt.encoder import Upscaling


class PromptEncoder(nn.Module):
    """Learned tokens of acceleration levels and mask types, and position codes of the image tokens.

    Parameters
    ----------
    levels, types
        Number of acceleration levels and of mask types.
    width
        Channels of a token.
    """

    frequencies: Tensor

    def __init__(self, levels: int, types: int, width: int) -> None:
        super().__init__()
        self.level_tokens = nn.Parameter(torch.randn(levels, width))
        self.type_tokens = nn.Parameter(torch.randn(types, width))
        self.register_buffer("frequencies", torch.randn(2, width // 2))

    def forward(self, levels: Sequence[float], types: Sequence[int]) -> Tensor:
        """Tokens ``(batch, 2, width)``, level first; a fractional level interpolates between two tokens."""
        device = self.level_tokens.device
        level = torch.tensor(levels, device=device).clamp(0, len(self.level_tokens) - 1)
        below = level.floor().long()
        above = (below + 1).clamp_max(len(self.level_tokens) - 1)
        share = (level - below).to(self.level_tokens.dtype)[:, None]
        mixed = torch.lerp(self.level_tokens[below], self.level_tokens[above], share)
        return torch.stack([mixed, self.type_tokens[torch.tensor(types, device=device)]], dim=1)

    def positions(self, height: int, width: int) -> Tensor:
        """Random Fourier features ``(1, y x, width)`` of the patches' centres (M. Tancik et al., NeurIPS 2020)."""
        y, x = (
            2 * (torch.arange(n, device=self.frequencies.device, dtype=self.frequencies.dtype) + 0.5) / n - 1
            for n in (height, width)
        )
        coordinates = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
        phase = 2 * torch.pi * coordinates @ self.frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=-1)[None]


class Attention(nn.Module):
    """Multi-head attention of ``(batch, token, channel)`` with separate projections of query, key and value."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Sum of `value`, weighted by the attention of `query` to `key`."""
        parts = (self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value)))
        attended = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        result: Tensor = self.out(attended)
        return result

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves and to the image, then the image attends to the tokens.

    Parameters
    ----------
    width, heads, hidden
        Channels, heads, and hidden channels of the tokens' perceptron.
    first
        Whether this is the first block, in which self-attention has no shortcut, as released.
    """

    def __init__(self, width: int, heads: int, hidden: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attention, self.to_image, self.to_tokens = (Attention(width, heads) for _ in range(3))
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, image: Tensor, tokens: Tensor, positions: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Update image tokens and prompt tokens; `positions` and `prompts` are added to their queries and keys."""
        if self.first:
            tokens = self.norm1(self.self_attention(tokens, tokens, tokens))
        else:
            query = tokens + prompts
            tokens = self.norm1(tokens + self.self_attention(query, query, tokens))
        placed = image + positions
        tokens = self.norm2(tokens + self.to_image(tokens + prompts, placed, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.to_tokens(placed, tokens + prompts, tokens))
        return image, tokens


class Decoder(nn.Module):
    """Decoder from an embedding ``(batch, width, y, x)`` and prompts to features ``(batch, out, 4 y, 4 x)``.

    Parameters
    ----------
    width, heads, hidden
        See `TwoWayBlock`.
    out
        Channels of the result.
    depth
        Number of two-way blocks.
    """

    def __init__(self, width: int, heads: int, hidden: int, out: int, depth: int = 2) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TwoWayBlock(width, heads, hidden, index == 0) for index in range(depth))
        self.upscaling = Upscaling(width, out)

    def forward(self, embedding: Tensor, prompts: Tensor, positions: Tensor) -> Tensor:
        """Features from an embedding; `positions` and `prompts` as in `TwoWayBlock`."""
        image = self.attend(embedding, prompts, positions)
        features: Tensor = self.upscaling(image.transpose(1, 2).unflatten(2, embedding.shape[-2:]))
        return features

    def attend(self, embedding: Tensor, prompts: Tensor, positions: Tensor) -> Tensor:
        """Image tokens ``(batch, y x, width)`` after the two-way blocks."""
        image, tokens = embedding.flatten(2).transpose(1, 2), prompts
        for block in self.blocks:
            image, tokens = block(image, tokens, positions, prompts)
        return image
