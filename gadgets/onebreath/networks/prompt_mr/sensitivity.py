"""Sensitivity network of PromptMR: coil maps from the lines in the centre of k-space."""

import torch
from torch import Tensor, nn

from onebreath.errors import MethodError
from onebreath.mri.fourier import ifft2c
from onebreath.networks.prompt_mr.unet import PromptUNet, UNetSizes
from onebreath.networks.shared.checkpointing import run_step

_FEWEST_LINES = 4
"""Fewest lines in the centre from which coil maps are estimated."""


class SensitivityNetwork(nn.Module):
    """Coil maps of every frame: a U-Net refines each coil's image, then the sum of squares over coils is set to 1.

    Parameters
    ----------
    sizes
        Sizes of the U-Net.
    acs_lines
        Number of calibration lines to use; None: all that the mask samples without a gap around the centre.
    adjacent
        Frames that the U-Net sees at once; the series then has as many.
    """

    def __init__(self, sizes: UNetSizes, acs_lines: int | None = None, adjacent: int = 1) -> None:
        super().__init__()
        self.unet = PromptUNet(adjacent, sizes)
        self.acs_lines, self.adjacent = acs_lines, adjacent

    def forward(self, kspace: Tensor, mask: Tensor, slope: Tensor, at_once: int, checkpointing: bool = False) -> Tensor:
        """Estimate coil maps ``(batch, frame, coil, y, x)``.

        Parameters
        ----------
        kspace, mask
            As in `onebreath.networks.shared.inputs.check_inputs`.
        slope
            See `AttentionBlock`.
        at_once
            Coil images per batch.
        checkpointing
            See `run_step`.

        Raises
        ------
        MethodError
            If the mask has too few lines in the centre.
        """
        images = ifft2c(kspace * centre_lines(mask, kspace.shape[-2:], self.acs_lines))
        by_coil = images.transpose(1, 2)
        windows = by_coil.reshape(-1, self.adjacent, *images.shape[-2:])
        refined = self.refine(windows, slope, at_once, checkpointing).reshape(by_coil.shape).transpose(1, 2)
        norm = torch.linalg.vector_norm(refined, dim=2, keepdim=True)
        return refined / norm.clamp_min(torch.finfo(norm.dtype).tiny)

    def refine(self, images: Tensor, slope: Tensor, at_once: int, checkpointing: bool = False) -> Tensor:
        """Run the U-Net on coil images ``(image, adjacent frame, y, x)``."""
        parts = images.split(at_once)
        return torch.cat([run_step(self.unet, part, slope, checkpointing=checkpointing) for part in parts])


def centre_lines(mask: Tensor, shape: tuple[int, ...], wanted: int | None = None) -> Tensor:
    """Selection of the lines around the centre that all frames sample, half of them before it.

    Parameters
    ----------
    mask
        ``(batch, frame, 1, y, x)`` or broadcastable; lines run along x unless the mask varies along x alone.
    shape
        Matrix along y and x.
    wanted
        Number of lines; None: as many as there are without a gap.

    Returns
    -------
    Tensor
        Bool, ``(batch, 1, 1, y, 1)`` or ``(batch, 1, 1, 1, x)``.

    Raises
    ------
    MethodError
        If there are fewer than `wanted`, or too few for coil maps; says how many there are.
    """
    sampled = (mask != 0).expand(*mask.shape[:3], *shape)
    across = -1 if bool((sampled == sampled[..., :1, :]).all()) else -2
    lines = sampled.any(dim=-3 - across, keepdim=True).all(dim=1, keepdim=True)
    size, centre = lines.shape[across], lines.shape[across] // 2
    index = torch.arange(size, device=mask.device).reshape([-1 if axis == across else 1 for axis in range(-5, 0)])
    # Lines are numbered outwards from the centre: 0 is the centre and the line before it.
    distance = torch.where(index < centre, centre - 1 - index, index - centre)
    gap = torch.where(lines, size, distance).amin(dim=across, keepdim=True)
    found = 2 * gap.clamp_max(min(centre, size - centre))
    count = found.clamp_min(_FEWEST_LINES) if wanted is None else torch.full_like(found, wanted)
    first = centre - count // 2
    selected = (index >= first) & (index < first + count)
    if bool((selected & ~lines).any()):
        raise MethodError(
            f"the mask samples {int(found.min())} lines without a gap around the centre of k-space in all frames, the "
            f"sensitivity network needs {int(count.min())}. Acquire calibration lines, or use a model that takes coil "
            "maps from the calibrate gadget"
        )
    return selected
