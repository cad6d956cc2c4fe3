"""Feature bank: every cascade sees the features of all earlier ones, fused per level.

CRUNet-MR with a cross-cascade feature bank (ISMRM abstract; fused by convolution or channel attention). The inside of
the channel-attention fuser is not published; it follows the block of PromptMR (Xin et al. 2023).
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from onebreath.errors import ModelError
from onebreath.networks.convolution.filters import Conv
from onebreath.networks.crunet_mr.cine_unet import LevelFeatures
from onebreath.networks.shared.checkpointing import run_step
from onebreath.networks.shared.conv2plus1d import stack_frames

Fusion = Literal["none", "conv", "ca"]
AttentionStyle = Literal["cab", "se"]


class SqueezeExcite(nn.Module):
    """Channel attention of each frame from its spatial mean (squeeze-excite, Hu et al. 2018), without biases."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.excite = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Scale the channels of ``(batch * frame, channel, y, x)``."""
        return frames * self.weights(frames)

    def weights(self, frames: Tensor) -> Tensor:
        """Weights of the channels, ``(batch * frame, channel, 1, 1)``."""
        pooled = frames.mean((-2, -1), keepdim=True)
        return torch.sigmoid(self.excite(self.squeeze(pooled).relu()))


class ChannelAttentionFuser(nn.Module):
    """Channel attention over the joined maps, then a 1 x 1 convolution to the width of one.

    Parameters
    ----------
    maps
        Number of feature maps.
    channels
        Channels of each map.
    style
        ``cab``: 3 x 3, PReLU, 3 x 3 at full width, squeeze-excite, residual; its cost relative to the convolution fuser
        matches the published run times. ``se``: squeeze-excite alone, for little memory.
    reduction
        Reduction of the channels inside squeeze-excite.
    """

    def __init__(self, maps: int, channels: int, style: AttentionStyle = "cab", reduction: int = 16) -> None:
        super().__init__()
        if style not in get_args(AttentionStyle):
            raise ModelError(f"ca_style is {style!r}, expected one of {', '.join(get_args(AttentionStyle))}")
        if not 1 <= reduction <= channels:
            raise ModelError(f"ca_reduction is {reduction}, expected 1 to {channels} (channels)")
        width = maps * channels
        self.body = None
        if style == "cab":
            self.body = nn.Sequential(
                Conv(width, width, bias=False),
                nn.PReLU(),
                Conv(width, width, bias=False),
            )
        self.attention = SqueezeExcite(width, reduction)
        self.reduce = nn.Conv2d(width, channels, 1)

    def forward(self, *maps: Tensor) -> Tensor:
        """Fuse maps ``(batch * frame, channels, y, x)``."""
        frames = torch.cat(maps, dim=1)
        if self.body is None:
            return self.reduce(self.attention(frames))
        return self.reduce(frames + self.attention(self.body(frames)))


class LevelFusers(nn.Module):
    """One fuser per level, for one cascade."""

    def __init__(self, fusers: Sequence[nn.Module], checkpointing: bool) -> None:
        super().__init__()
        self.level1, self.level2, self.bottleneck = fusers
        self.checkpointing = checkpointing

    def forward(self, history: Sequence[LevelFeatures]) -> LevelFeatures:
        """Fuse the features of earlier cascades, oldest first."""
        fusers = (self.level1, self.level2, self.bottleneck)
        levels = zip(*history, strict=True)
        return LevelFeatures(*(self._fuse(fuser, maps) for fuser, maps in zip(fusers, levels, strict=True)))

    def _fuse(self, fuser: nn.Module, maps: Sequence[Tensor]) -> Tensor:
        """Fuse frame by frame: the joined maps of all frames would need several times the memory of the network."""
        frames = zip(*(series.unbind(1) for series in maps), strict=True)
        return stack_frames([run_step(fuser, *frame, checkpointing=self.checkpointing) for frame in frames])


class FeatureBank(nn.Module):
    """Fusers of all cascades but the first, which has nothing to fuse.

    Parameters
    ----------
    cascades, channels, dilations
        See `CineUNet`; the convolution fuser of a level has the level's dilation.
    fusion
        ``conv``: one 3 x 3 convolution; ``ca``: `ChannelAttentionFuser`.
    ca_style, ca_reduction
        See `ChannelAttentionFuser`.
    window
        Number of latest maps that are kept; None: all.
    checkpointing
        See `run_step`; a step is one frame of one level.
    """

    def __init__(
        self,
        cascades: int,
        channels: int,
        dilations: tuple[int, int, int],
        fusion: Fusion = "conv",
        ca_style: AttentionStyle = "cab",
        ca_reduction: int = 16,
        window: int | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if fusion not in ("conv", "ca"):
            raise ModelError(f"fusion is {fusion!r}, expected conv or ca for a network with a feature bank")
        if window is not None and window < 1:
            raise ModelError(f"bank_window is {window}, expected at least 1")
        self.window = cascades if window is None else window

        def fuser(maps: int, dilation: int) -> nn.Module:
            if fusion == "conv":
                return Conv(maps * channels, channels, dilation=dilation)
            return ChannelAttentionFuser(maps, channels, ca_style, ca_reduction)

        self.fusers = nn.ModuleList(
            LevelFusers([fuser(min(index, self.window), dilation) for dilation in dilations], checkpointing)
            for index in range(1, cascades)
        )

    def forward(self, index: int, history: Sequence[LevelFeatures]) -> LevelFeatures:
        """Fuse the kept features of earlier cascades, oldest first, for cascade `index` (1 or more)."""
        return self.fusers[index - 1](history)
