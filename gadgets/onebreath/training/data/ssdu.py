"""Self-supervised training (SSDU): part of the acquired lines is hidden from the network and used for the loss.

B. Yaman et al., "Self-supervised learning of physics-guided reconstruction neural networks without fully sampled
reference data", Magn Reson Med 84:3172 (2020).
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.utils.data import Dataset

from onebreath.errors import ScanError
from onebreath.mri.fourier import fft2c


class SplitSettings(BaseModel):
    """Settings for dividing acquired lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: float = Field(0.4, gt=0, lt=1, description="fraction of the acquired lines used for the loss only")
    width: float = Field(0.25, gt=0, description="width of their Gaussian density as a fraction of the matrix")
    keep_centre: int = Field(4, ge=0, description="lines around the centre that are never hidden")


def divide(mask: Tensor, settings: SplitSettings, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Divide the acquired lines of every frame at random into those shown to the network and those hidden from it.

    Parameters
    ----------
    mask
        ``(batch, frame, 1, y, 1)`` bool.
    settings
        Fraction and density of the hidden lines.
    generator
        Random numbers.

    Returns
    -------
    shown, hidden
        Masks of the shape of `mask`; disjoint, together `mask`.

    Raises
    ------
    ScanError
        If no line is hidden, so that there would be nothing to compare with.
    """
    rows = mask.shape[-2]
    distance = (torch.arange(rows) - rows // 2) / rows
    density = torch.exp(-0.5 * (distance / settings.width) ** 2)
    density[torch.arange(rows).sub(rows // 2).abs() < (settings.keep_centre + 1) // 2] = 0
    lines = mask[:, :, 0, :, 0].flatten(0, 1).cpu()
    hidden = torch.zeros_like(lines)
    for one, out in zip(lines, hidden, strict=True):
        weights = density * one
        wanted = min(round(float(one.sum()) * settings.hidden), int((weights > 0).sum()))
        if wanted > 0:
            out[torch.multinomial(weights, wanted, generator=generator)] = True
    if not hidden.any():
        raise ScanError(
            f"no line can be held back for the loss: a frame has {int(lines.sum(1).max())} acquired lines, and the "
            f"middle {settings.keep_centre} lines never are; lower self_supervised.keep_centre or raise "
            "self_supervised.hidden"
        )
    hidden = hidden.unflatten(0, mask.shape[:2])[:, :, None, :, None].to(mask.device)
    return mask & ~hidden, hidden


class HeldBack(Dataset[dict[str, Tensor]]):
    """Examples with a mask ``hidden`` of the lines that are held back from the network, the same every time.

    Parameters
    ----------
    examples
        Examples of slices that lack lines.
    settings
        Fraction and density of the hidden lines.
    seed
        Seed of the division.
    """

    def __init__(self, examples: Dataset[dict[str, Tensor]], settings: SplitSettings, seed: int) -> None:
        self.examples, self.settings, self.seed = examples, settings, seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Example number `index` with ``hidden (frame, 1, y, 1)``; errors as for `divide`."""
        example = self.examples[index]
        seed = np.random.SeedSequence([self.seed, index]).generate_state(1)[0]
        _, hidden = divide(example["mask"][None], self.settings, torch.Generator().manual_seed(int(seed)))
        return {**example, "hidden": hidden[0]}


def hidden_loss(image: Tensor, kspace: Tensor, maps: Tensor, hidden: Tensor) -> Tensor:
    """Normalised l1 plus l2 error on the hidden lines (their eq. 9).

    Parameters
    ----------
    image
        Prediction ``(batch, frame, y, x)``.
    kspace
        Measured ``(batch, frame, coil, y, x)``.
    maps
        ``(batch, 1, coil, y, x)``.
    hidden
        Mask of the lines to compare.
    """
    predicted = fft2c(image[:, :, None] * maps) * hidden
    measured = kspace * hidden
    error = predicted - measured
    relative_l2 = error.abs().square().sum().sqrt() / measured.abs().square().sum().sqrt()
    return relative_l2 + error.abs().sum() / measured.abs().sum()
