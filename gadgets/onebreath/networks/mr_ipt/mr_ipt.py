"""MR-IPT: one transformer for many sampling patterns.

G. Shen et al., "Magnetic Resonance Image Processing Transformer for General Accelerated Image Reconstruction". Each
group of scans has its own head and tail; all share an encoder and a decoder that receives the acceleration level and
the mask type. The network restores magnitude images: no coils, no k-space, no phase.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from onebreath.errors import ModelError
from onebreath.networks.mr_ipt.decoder import Decoder, PromptEncoder
from onebreath.networks.mr_ipt.encoder import PATCH, VIT_L, Encoder, EncoderSizes
from onebreath.networks.restoration.restoration import RestorationNetwork

Variant = Literal["type", "level", "split"]
LEVELS = (2.0, 4.0, 6.0, 8.0, 10.0)
TYPES = ("random", "equispaced", "gaussian_1d", "gaussian_2d")


class ResidualBlock(nn.Module):
    """Two convolutions with a ReLU between them and a shortcut, without normalisation."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.second = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Refine features."""
        return x + self.second(torch.relu(self.first(x)))


class Head(nn.Sequential):
    """Head from an image to features."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(1, channels, 3, padding=1), ResidualBlock(channels, 5), ResidualBlock(channels, 5))


class MRIPT(RestorationNetwork):
    """MR-IPT; the defaults are the published size.

    Parameters
    ----------
    variant
        Whether there is a head and a tail per mask type, per acceleration level, or per pair of both (`split`).
    levels, types
        Accelerations and mask types, in the order of their indices.
    channels
        Channels of heads and tails.
    decoder_heads, decoder_hidden
        Heads and hidden channels of the decoder.
    checkpointing
        See `Encoder`.
    sizes
        Sizes of the encoder; a card gives each by its own name. The prompts have as many channels as the embedding.

    Raises
    ------
    ModelError
        If the sizes do not fit together.
    """

    def __init__(
        self,
        variant: Variant = "type",
        levels: tuple[float, ...] = LEVELS,
        types: tuple[str, ...] = TYPES,
        channels: int = 64,
        decoder_heads: int = 8,
        decoder_hidden: int = 2048,
        checkpointing: bool = False,
        sizes: EncoderSizes = VIT_L,
    ) -> None:
        super().__init__()
        embedding = sizes.embedding
        if embedding % (2 * decoder_heads):
            raise ModelError(
                f"embedding is {embedding}, expected a multiple of 2 * decoder_heads = {2 * decoder_heads}"
            )
        self.variant, self.levels, self.types, self.multiple = variant, tuple(levels), tuple(types), PATCH
        groups = {"type": len(types), "level": len(levels), "split": len(types) * len(levels)}[variant]
        self.heads = nn.ModuleList(Head(channels) for _ in range(groups))
        self.encoder = Encoder(channels, sizes, checkpointing)
        self.prompts = PromptEncoder(len(levels), len(types), embedding)
        self.decoder = Decoder(embedding, decoder_heads, decoder_hidden, channels)
        self.tails = nn.ModuleList(nn.Conv2d(channels, 1, 3, padding=1) for _ in range(groups))

    def group(self, level: int, kind: int) -> int:
        """Index of the head and tail of a level and a type."""
        return {"type": kind, "level": level, "split": kind * len(self.levels) + level}[self.variant]

    def restore(self, images: Tensor, levels: list[int], types: list[int], prompts: list[float]) -> Tensor:
        """Restore images; see `RestorationNetwork`."""
        groups = [self.group(level, kind) for level, kind in zip(levels, types, strict=True)]
        features = by_group(lambda group, part: self.heads[group](part), groups, images)
        embedded = self.encoder(features)
        positions = self.prompts.positions(*embedded.shape[-2:])
        decoded = self.decoder(embedded, self.prompts(prompts, types), positions)
        return by_group(lambda group, part: self.tails[group](part), groups, decoded + features)


def by_group(run: Callable[[int, Tensor], Tensor], groups: Sequence[int], batch: Tensor) -> Tensor:
    """Results of a batch whose groups are computed separately, each in one call.

    Parameters
    ----------
    run
        Computes a group from its index and its entries.
    groups
        Group of each entry.
    batch
        Entries along the first axis.
    """
    members: dict[int, list[int]] = {}
    for entry, group in enumerate(groups):
        members.setdefault(group, []).append(entry)
    if len(members) == 1:
        return run(groups[0], batch)
    order = torch.tensor([entry for found in members.values() for entry in found], device=batch.device)
    parts = torch.cat([run(group, batch[found]) for group, found in members.items()])
    return parts[order.argsort()]
