"""ViT-L for magnitude images: MR-IPT's encoder without its heads, tails and prompts.

The peer that shows what prompts, heads and tails bring. The papers name it only; the encoder's size and the shortcut
around the network are our reading.
"""

from __future__ import annotations

from torch import Tensor, nn

from onebreath.networks.mr_ipt_encoder import PATCH, Encoder, Upscaling
from onebreath.networks.restoration import RestorationNetwork


class ViT(RestorationNetwork):
    """A windowed vision transformer from an image to a correction of it; the defaults are those of ViT-L.

    Parameters
    ----------
    image_size, width, depth, heads, window, global_blocks, checkpointing
        See `Encoder`.
    embedding
        Channels of the embedding.
    channels
        Features at the size of the image.

    Raises
    ------
    ModelError
        If the sizes do not fit together.
    """

    def __init__(
        self,
        image_size: int = 224,
        width: int = 1024,
        depth: int = 24,
        heads: int = 16,
        window: int = 14,
        global_blocks: tuple[int, ...] = (5, 11, 17, 23),
        embedding: int = 256,
        channels: int = 64,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.multiple = PATCH
        self.encoder = Encoder(1, image_size, width, depth, heads, window, global_blocks, embedding, checkpointing)
        self.upscaling = Upscaling(embedding, channels)
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)

    def restore(self, images: Tensor, levels: list[int], types: list[int], prompts: list[float]) -> Tensor:
        """Restore images; see `RestorationNetwork`. Levels and types make no difference."""
        restored: Tensor = images + self.tail(self.upscaling(self.encoder(images)))
        return restored
