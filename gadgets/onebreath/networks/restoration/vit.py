"""ViT-L for magnitude images: MR-IPT's encoder without its heads, tails and prompts.

The baseline that shows the benefit of prompts, heads and tails. The papers only name it; the encoder's size and the
shortcut around the network are our choice.
"""

from __future__ import annotations

from torch import Tensor, nn

from onebreath.networks.mr_ipt.encoder import PATCH, VIT_L, Encoder, EncoderSizes, Upscaling
from onebreath.networks.restoration.restoration import RestorationNetwork


class ViT(RestorationNetwork):
    """Windowed vision transformer that predicts a correction of the image; the defaults are those of ViT-L.

    Parameters
    ----------
    channels
        Channels at the size of the image.
    checkpointing
        See `Encoder`.
    sizes
        Sizes of the encoder; a card gives each by its own name.
    """

    def __init__(self, channels: int = 64, checkpointing: bool = False, sizes: EncoderSizes = VIT_L) -> None:
        super().__init__()
        self.multiple = PATCH
        self.encoder = Encoder(1, sizes, checkpointing)
        self.upscaling = Upscaling(sizes.embedding, channels)
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)

    def restore(self, images: Tensor, levels: list[int], types: list[int], prompts: list[float]) -> Tensor:
        """Restore images; see `RestorationNetwork`. Levels and types are ignored."""
        restored: Tensor = images + self.tail(self.upscaling(self.encoder(images)))
        return restored
