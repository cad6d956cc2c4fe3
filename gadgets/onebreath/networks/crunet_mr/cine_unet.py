"""The U-shaped network inside a cascade of CRUNet-MR and of 3D UNet-MR."""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.errors import ModelError
from onebreath.networks.convolution.filters import Conv
from onebreath.networks.shared.conv2plus1d import (
    ConvToPlanes,
    Downsample,
    SpaceTimeConv,
    Upsample,
    per_frame,
)
from onebreath.networks.shared.normalise import Normalised, zscore
from onebreath.networks.shared.recurrent import Direction
from onebreath.networks.shared.refinement import Refinement


class LevelFeatures(NamedTuple):
    """Features for later cascades, ``(batch, frame, channel, y, x)`` each; the lower two at half the matrix size."""

    level1: Tensor
    level2: Tensor
    bottleneck: Tensor


class CineUNet(Refinement):
    """U-Net with two levels and a bottleneck; five units, made by `make_unit`, combine frames.

    CRUNet-MR paper, network figure. The bottleneck has the resolution of level 2: only its dilation is larger.

    Parameters
    ----------
    make_unit
        ``(direction, dilation) -> module`` called with a series and features; it keeps the shape of the series.
    channels
        Channels of all levels.
    dilations
        Dilations of level 1, level 2 and the bottleneck.
    circular_time
        Whether temporal convolutions wrap around.
    merge_level2
        Whether encoder and decoder of level 2 are merged by a convolution; otherwise they are added.
    pad_multiple
        Matrix sizes are padded to a multiple of this, at least 2.
    further_channels
        Input channels besides the two of the image.
    patch
        Side of the squares of pixels that become the channels of one (pixel unshuffle; K. Zhang et al., FFDNet, IEEE
        Trans Image Process 27:4608, 2018).
    starts_at_zero
        Whether the correction of new weights is zero.
    """

    def __init__(
        self,
        make_unit: Callable[[Direction, int], nn.Module],
        channels: int = 64,
        dilations: tuple[int, int, int] = (1, 2, 4),
        circular_time: bool = True,
        merge_level2: bool = True,
        pad_multiple: int = 8,
        further_channels: int = 0,
        patch: int = 1,
        starts_at_zero: bool = False,
    ) -> None:
        super().__init__()
        if len(dilations) != 3:
            raise ModelError(f"dilations is {dilations}, expected 3 values: level 1, level 2, bottleneck")
        if pad_multiple < 2 or pad_multiple % 2:
            raise ModelError(f"pad_multiple is {pad_multiple}, expected an even number: level 2 has half the matrix")
        if patch < 1 or pad_multiple % (2 * patch):
            raise ModelError(f"patch is {patch}, expected half of a divisor of pad_multiple = {pad_multiple}")
        d1, d2, d3 = dilations
        self.pad_multiple, self.patch = pad_multiple, patch
        self.head = Conv((2 + further_channels) * patch**2, channels)
        self.encoder1 = make_unit("forward", d1)
        self.down = Downsample(channels, circular_time)
        self.encoder2 = make_unit("forward", d2)
        self.refine2 = SpaceTimeConv(channels, channels, d2, circular_time)
        self.bottleneck = make_unit("both", d3)
        self.refine3 = SpaceTimeConv(channels, channels, d3, circular_time)
        self.decoder2 = make_unit("backward", d2)
        self.merge2 = SpaceTimeConv(2 * channels, channels, d2, circular_time) if merge_level2 else None
        self.up = Upsample(channels, circular_time)
        self.decoder1 = make_unit("backward", d1)
        self.merge1 = SpaceTimeConv(2 * channels, channels, 1, circular_time)
        self.tail = ConvToPlanes(channels, 2 * patch**2, 5 if patch == 1 else 3)
        if starts_at_zero:
            nn.init.zeros_(self.tail.weight)
            nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]  # the layer has one

    def normalise(self, planes: Tensor) -> Normalised:
        """Normalise by one mean and one standard deviation of the series, see `zscore`."""
        return zscore(planes)

    def correction(self, planes: Tensor, features: LevelFeatures | None) -> tuple[Tensor, LevelFeatures]:
        """Run the convolutions; None as features means zeros."""
        level1, level2, bottleneck = features if features is not None else (None, None, None)
        if self.patch > 1:
            planes = F.pixel_unshuffle(planes, self.patch)
        skip1 = self.encoder1(per_frame(self.head, planes.to(self.head.weight.dtype)), level1)
        skip2 = self.refine2(self.encoder2(self.down(skip1), level2))
        bottom = self.refine3(self.bottleneck(skip2, bottleneck))
        decoded2 = self.decoder2(bottom, level2)
        merged2 = skip2 + decoded2 if self.merge2 is None else self.merge2(skip2, decoded2)
        decoded1 = self.decoder1(self.up(merged2), level1)
        merged1 = self.merge1(skip1, decoded1)
        correction = per_frame(self.tail, merged1)
        if self.patch > 1:
            correction = F.pixel_shuffle(correction, self.patch)
        return correction, LevelFeatures(merged1, merged2, bottom)
