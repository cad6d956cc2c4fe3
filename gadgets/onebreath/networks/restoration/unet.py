"""U-Net for magnitude images, as in fastMRI; with 128 channels UNet128, the baseline of MR-IPT.

O. Ronneberger et al., "U-Net", MICCAI 2015; J. Zbontar et al., "fastMRI", arXiv:1811.08839, section 5.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.errors import ModelError
from onebreath.networks.restoration.restoration import RestorationNetwork

_SLOPE = 0.2


class ConvBlock(nn.Sequential):
    """Two 3 x 3 convolutions without bias, each with instance normalisation and a leaky ReLU."""

    def __init__(self, channels: int, out: int) -> None:
        layers: list[nn.Module] = []
        for width in (channels, out):
            layers += [nn.Conv2d(width, out, 3, padding=1, bias=False), nn.InstanceNorm2d(out), nn.LeakyReLU(_SLOPE)]
        super().__init__(*layers)


class UpBlock(nn.Sequential):
    """Transposed convolution without bias that doubles the size, instance normalisation and a leaky ReLU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(channels, out, 2, 2, bias=False), nn.InstanceNorm2d(out), nn.LeakyReLU(_SLOPE)
        )


class UNet(RestorationNetwork):
    """U-Net from one image to one image; the defaults are those of UNet128.

    Parameters
    ----------
    channels
        Channels of the first level; each further level has twice as many.
    pools
        Number of levels below the first.
    """

    def __init__(self, channels: int = 128, pools: int = 4) -> None:
        super().__init__()
        if channels < 1 or pools < 1:
            raise ModelError(f"channels is {channels} and pools {pools}, expected at least 1")
        self.multiple = 2**pools
        widths = [channels * 2**level for level in range(pools + 1)]
        self.down = nn.ModuleList(ConvBlock(a, b) for a, b in zip([1, *widths[:-2]], widths[:-1], strict=True))
        self.bottom = ConvBlock(widths[-2], widths[-1])
        self.up = nn.ModuleList(UpBlock(2 * width, width) for width in reversed(widths[:-1]))
        self.merge = nn.ModuleList(ConvBlock(2 * width, width) for width in reversed(widths[:-1]))
        self.tail = nn.Conv2d(channels, 1, 1)

    @property
    def smallest(self) -> int:
        """Smallest image axis: two pixels on the lowest level, as instance normalisation needs a variance."""
        return self.multiple + 1

    def restore(self, images: Tensor, levels: list[int], types: list[int], prompts: list[float]) -> Tensor:
        """Restore images; see `RestorationNetwork`. Levels and types are ignored."""
        kept, x = [], images
        for block in self.down:
            kept.append(block(x))
            x = F.avg_pool2d(kept[-1], 2)
        x = self.bottom(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([up(x), kept.pop()], dim=1))
        restored: Tensor = self.tail(x)
        return restored
