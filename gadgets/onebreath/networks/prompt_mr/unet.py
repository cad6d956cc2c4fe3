"""PromptUnet: a U-Net of channel attention blocks whose decoder is conditioned on a mixture of prompts.

B. Xin et al., "Fill the K-Space and Refine the Image: Prompting for Dynamic and Multi-Contrast MRI Reconstruction",
STACOM 2023; layers as in the released code (hellopipu/PromptMR).
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.errors import ModelError
from onebreath.networks.convolution.filters import Conv
from onebreath.networks.crunet_mr.feature_bank import SqueezeExcite
from onebreath.networks.shared.normalise import pad_to_multiple, to_complex, to_planes, zscore

_REDUCTION = 4


def new_slope() -> nn.Parameter:
    """New PReLU slope for negative values, initialised as by PyTorch."""
    return nn.Parameter(torch.full((1,), 0.25))


@dataclass(frozen=True)
class UNetSizes:
    """Sizes of a `PromptUNet`, level 1 (the finest) first.

    Parameters
    ----------
    channels
        Channels of the three levels and of the bottleneck.
    prompt_channels, prompt_sizes
        Channels, and pixels along each axis, of the prompts of the three levels.
    prompts
        Number of prompts that each of the three levels mixes; one number for all.
    encoder_blocks, decoder_blocks
        Number of attention blocks of the three levels.
    bottleneck_blocks
        Number of attention blocks of the bottleneck.

    Raises
    ------
    ModelError
        If a level has too few channels for the attention, or a count is below one.
    """

    channels: tuple[int, int, int, int]
    prompt_channels: tuple[int, int, int]
    prompt_sizes: tuple[int, int, int]
    prompts: int | tuple[int, int, int]
    encoder_blocks: tuple[int, int, int]
    decoder_blocks: tuple[int, int, int]
    bottleneck_blocks: int

    def __post_init__(self) -> None:
        """Check the sizes."""
        if min(self.channels) < _REDUCTION:
            raise ModelError(f"channels are {self.channels}, expected at least {_REDUCTION} on every level")
        counts = (
            *self.prompt_channels, *self.prompt_sizes, *self.prompts_of_levels, *self.encoder_blocks,
            *self.decoder_blocks,
        )  # fmt: skip
        if min(*counts, self.bottleneck_blocks) < 1:
            raise ModelError(f"a U-Net has at least 1 block, prompt and prompt channel on every level, found {self}")

    @property
    def prompts_of_levels(self) -> tuple[int, int, int]:
        """Number of prompts that each level mixes."""
        return (self.prompts,) * 3 if isinstance(self.prompts, int) else self.prompts


class AttentionBlock(nn.Module):
    """3 x 3, PReLU, 3 x 3, squeeze-excite, residual; without biases.

    The slope of the PReLU is an argument of `forward`, as nearly all blocks share one (see `PromptMR`).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels, bias=False)
        self.second = Conv(channels, channels, bias=False)
        self.attention = SqueezeExcite(channels, _REDUCTION)

    def forward(self, features: Tensor, slope: Tensor) -> Tensor:
        """Run on ``(image, channel, y, x)``."""
        inner = self.first(features)
        # Channels are innermost in memory; PReLU is three times faster if they are also the last axis.
        inner = F.prelu(inner.permute(0, 2, 3, 1), slope.to(inner.dtype)).permute(0, 3, 1, 2)
        inner = self.second(inner)
        return torch.addcmul(features, inner, self.attention.weights(inner))


class AttentionBlocks(nn.ModuleList):
    """Sequence of attention blocks."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__(AttentionBlock(channels) for _ in range(count))

    def forward(self, features: Tensor, slope: Tensor, first_slope: Tensor | None = None) -> Tensor:
        """Run on ``(image, channel, y, x)``; the first block may have a slope of its own."""
        for index, block in enumerate(self):
            features = block(features, slope if first_slope is None or index else first_slope)
        return features


class Prompts(nn.Module):
    """Mixture of prompts, weighted by the mean of the features and resized to them.

    The prompts are random and never learned, as released; they are part of the state, but not parameters.
    """

    def __init__(self, count: int, channels: int, size: int, feature_channels: int) -> None:
        super().__init__()
        self.prompts: Tensor
        self.register_buffer("prompts", torch.rand(count, channels, size, size))
        self.weigh = nn.Linear(feature_channels, count)
        self.refine = Conv(channels, channels, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Prompts ``(image, channel, y, x)`` of the size of the features."""
        weights = self.weigh(features.mean((-2, -1))).softmax(dim=1)
        mixed = torch.einsum("np,pcyx->ncyx", weights, self.prompts.to(weights.dtype))
        resized = F.interpolate(mixed, features.shape[-2:], mode="bilinear", align_corners=False)
        refined: Tensor = self.refine(resized.contiguous(memory_format=torch.channels_last))
        return refined


class Decoder(nn.Module):
    """One decoder level: prompts are joined, the size is doubled, and the skip connection is added."""

    def __init__(self, sizes: UNetSizes, level: int) -> None:
        super().__init__()
        channels, out = sizes.channels[level + 1], sizes.channels[level]
        prompted = channels + sizes.prompt_channels[level]
        self.prompt = Prompts(
            sizes.prompts_of_levels[level], sizes.prompt_channels[level], sizes.prompt_sizes[level], channels
        )
        self.fuse = AttentionBlocks(prompted, sizes.decoder_blocks[level])
        self.reduce = nn.Conv2d(prompted, channels, 1, bias=False)
        self.narrow = nn.Conv2d(channels, out, 1, bias=False)
        self.skip = AttentionBlock(out)
        self.merge = AttentionBlock(out)

    def forward(self, features: Tensor, skip: Tensor, slope: Tensor) -> Tensor:
        """Run on ``(image, channel, y, x)``; `skip` has twice the size."""
        return self.decode(features, self.prompt(features), skip, slope)

    def decode(self, features: Tensor, prompt: Tensor, skip: Tensor, slope: Tensor) -> Tensor:
        """Join features with a prompt of their size, double it, and add the skip connection."""
        fused = self.fuse(torch.cat([features, prompt], dim=1), slope)
        # A 1 x 1 convolution commutes with the interpolation, and before it there are a quarter of the pixels.
        narrow = self.narrow(self.reduce(fused))
        wide = F.interpolate(narrow, skip.shape[-2:], mode="bilinear", align_corners=False)
        merged: Tensor = self.merge(wide + self.skip(skip, slope), slope)
        return merged


class PromptUNet(nn.Module):
    """U-Net with three levels and a bottleneck on windows of complex frames.

    Parameters
    ----------
    frames
        Frames in a window; real and imaginary part are a channel each.
    sizes
        See `UNetSizes`.
    """

    def __init__(self, frames: int, sizes: UNetSizes) -> None:
        super().__init__()
        channels = sizes.channels
        self.head = Conv(2 * frames, channels[0], bias=False)
        self.encoder = nn.ModuleList(
            AttentionBlocks(a, n) for a, n in zip(channels[:-1], sizes.encoder_blocks, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(channels))
        self.bottleneck = AttentionBlocks(channels[-1], sizes.bottleneck_blocks)
        self.decoder = nn.ModuleList(Decoder(sizes, level) for level in (2, 1, 0))
        self.tail = nn.Conv2d(channels[0], 2 * frames, 5, padding=2, bias=False)
        self.first_slope = new_slope()

    def forward(self, images: Tensor, slope: Tensor) -> Tensor:
        """Refine windows of frames, complex ``(window, frame, y, x)``.

        Each window is normalised by its mean and standard deviation, which is undone in the end.
        """
        return self._normalised(images, lambda channels: self._levels(channels, slope))

    def _normalised(self, images: Tensor, levels: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `levels` to the normalised real and imaginary parts of complex images, padded to whole squares of 8."""
        normalised = zscore(to_planes(images))
        padded, (rows, columns) = pad_to_multiple(normalised.planes, 8)
        # All real parts come before all imaginary ones.
        channels = padded.transpose(1, 2).flatten(1, 2).to(self.head.weight.dtype)
        out = levels(channels.contiguous(memory_format=torch.channels_last))[..., rows, columns]
        planes = out.unflatten(1, (2, -1)).transpose(1, 2).to(normalised.planes.dtype)
        return to_complex(normalised.undo(planes))

    def _encoded(self, features: Tensor, slope: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features of the bottleneck, and those of the levels for the skip connections, the finest first."""
        features = self.head(features)
        skips: list[Tensor] = []
        first_slope: Tensor | None = self.first_slope
        for encode, down in zip(self.encoder, self.down, strict=True):
            skips.append(encode(features, slope, first_slope))
            features, first_slope = down(skips[-1]), None
        return self.bottleneck(features, slope), skips

    def _levels(self, features: Tensor, slope: Tensor) -> Tensor:
        features, skips = self._encoded(features, slope)
        for decode in self.decoder:
            features = decode(features, skips.pop(), slope)
        out: Tensor = self.tail(features)
        return out
