"""3D UNet-MR: CRUNet-MR with 3-D convolutions in place of the recurrent units (baseline of the CRUNet-MR paper).

The paper gives 4.00 million parameters and no list of layers. Without side branches, and with the maps of level 2 added
instead of merged by a convolution, the count is 4,000,010 (`paper_size`).
"""

from typing import Any

import torch
from torch import Tensor, nn

from onebreath.networks.consistency.data_consistency import Kind
from onebreath.networks.crunet_mr.cine_unet import CineUNet
from onebreath.networks.shared.conv2plus1d import per_frame
from onebreath.networks.shared.recurrent import Direction
from onebreath.networks.shared.unrolled import UnrolledNetwork


class Conv3dUnit(nn.Module):
    """3 x 3 x 3 convolution and ReLU, with an optional parallel 1 x 1 convolution.

    Parameters
    ----------
    channels
        Channels in and out.
    dilation
        Dilation along y and x.
    circular_time
        Whether time wraps around.
    side_branch
        Whether there is a 1 x 1 convolution.
    """

    def __init__(self, channels: int, dilation: int, circular_time: bool, side_branch: bool) -> None:
        super().__init__()
        self.circular_time = circular_time
        self.conv = nn.Conv3d(channels, channels, 3, padding=(0, dilation, dilation), dilation=(1, dilation, dilation))
        self.side = nn.Conv2d(channels, channels, 1) if side_branch else None

    def forward(self, series: Tensor, features: Any = None) -> Tensor:
        """Convolve ``(batch, frame, channel, y, x)``; features of other cascades are ignored."""
        first, last = series[:, :1], series[:, -1:]
        ends = (last, first) if self.circular_time else (torch.zeros_like(first), torch.zeros_like(last))
        padded = torch.cat([ends[0], series, ends[1]], dim=1).transpose(1, 2)
        out = self.conv(padded.contiguous(memory_format=torch.channels_last_3d)).relu_().transpose(1, 2)
        return out if self.side is None else per_frame(self.side, series).add_(out)


class UNet3DMR(UnrolledNetwork):
    """3D UNet-MR; 4,000,010 parameters by default.

    Parameters
    ----------
    channels, cascades, dilations, circular_time, pad_multiple
        As in `CRUNetMR`.
    paper_size
        Whether side branches and the merging convolution are left out; with them, as in CRUNet-MR, there are 4,534,730
        parameters.
    data_consistency, noise_level, checkpointing
        See `UnrolledNetwork`.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        cascades: int = 5,
        dilations: tuple[int, int, int] = (1, 2, 4),
        circular_time: bool = True,
        paper_size: bool = True,
        data_consistency: Kind = "hard",
        noise_level: float | None = None,
        pad_multiple: int = 8,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(cascades, data_consistency, noise_level, checkpointing)

        def unit(_: Direction, dilation: int) -> nn.Module:
            return Conv3dUnit(channels, dilation, circular_time, side_branch=not paper_size)

        self.blocks = nn.ModuleList(
            CineUNet(unit, channels, dilations, circular_time, not paper_size, pad_multiple) for _ in range(cascades)
        )
