"""RAKI: a small complex-valued network that predicts missing lines of k-space from neighbouring sampled lines.

P. Dawood et al., "Image space formalism of convolutional neural networks for k-space interpolation", arXiv:2402.17410
(2024); M. Akcakaya et al., "Scan-specific robust artificial-neural-networks for k-space interpolation (RAKI)
reconstruction", Magn Reson Med 81:439 (2019). Its weights belong to one scan: they are learned from the calibration
lines. With one layer, or with slope 1, the network is linear and the prediction is GRAPPA's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.budget import KERNEL, claim
from onebreath.mri.gfactor_network import Linearisation

Border: TypeAlias = Literal["valid", "zero", "circular"]
"""Padding at the edges of k-space: none (nothing is predicted there), zeros, or wrapped around."""


class Raki(nn.Module):
    """Complex convolutions without bias, each but the last followed by a leaky ReLU on real and imaginary part.

    Parameters
    ----------
    coils
        Channels of the k-space.
    acceleration
        R, the distance of sampled lines.
    widths
        Channels between the layers.
    kernels
        Size (sampled lines, samples along the readout) of each layer's kernel; together they must span an odd number
        of samples.
    slope
        Slope of the leaky ReLU for negative numbers; 1 makes the network linear.
    targets
        ``all``: the R lines after a sampled one, including the next sampled one; ``missing``: the R - 1 unsampled ones.
    generator
        Where the first weights are drawn from; None: torch's own, which all threads share.

    Raises
    ------
    ValueError
        If the numbers of widths and kernels do not match, or the kernels span an even number of samples.
    """

    def __init__(
        self,
        coils: int,
        acceleration: int,
        widths: Sequence[int] = (128, 64),
        kernels: Sequence[tuple[int, int]] = ((2, 5), (1, 1), (1, 5)),
        slope: float = 0.5,
        targets: Literal["all", "missing"] = "all",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(kernels) != len(widths) + 1:
            raise ValueError(f"{len(widths)} widths need {len(widths) + 1} kernels, not {len(kernels)}")
        self.coils, self.acceleration, self.slope = coils, acceleration, slope
        self.targets = acceleration if targets == "all" else acceleration - 1
        self.reach = (sum(ky - 1 for ky, _ in kernels) + 1, sum(kx - 1 for _, kx in kernels) + 1)
        if self.reach[1] % 2 == 0:
            raise ValueError(f"the kernels span {self.reach[1]} samples together, which must be odd")
        channels = [coils, *widths, coils * self.targets]
        sizes = (a * b * ky * kx for (a, b), (ky, kx) in zip(pairwise(channels), kernels, strict=True))
        claim(8 * 6 * sum(sizes), "RAKI's weights, gradients and moments", advice=KERNEL)
        self.weights = nn.ParameterList(
            _default_weight(fan_out, fan_in, kernel, generator)
            for (fan_in, fan_out), kernel in zip(pairwise(channels), kernels, strict=True)
        )

    @property
    def first_target(self) -> int:
        """Distance in lines from the first source line to the first predicted line."""
        return max(self.reach[0] // 2 - 1, 0) * self.acceleration + 1

    @property
    def lines_needed(self) -> int:
        """Number of adjacent lines that hold all sources and targets of one example."""
        return max((self.reach[0] - 1) * self.acceleration + 1, self.first_target + self.targets)

    def forward(self, kspace: Tensor, spacing: int = 1) -> Tensor:
        """Predict targets, without padding the k-space.

        Parameters
        ----------
        kspace : (batch, coil, y, x) complex
            Sampled lines, or all lines.
        spacing
            Distance in y of the source lines: 1 if only sampled lines are given, R for all lines.

        Returns
        -------
        (batch, coil, target, y - (lines - 1) * spacing, x - samples + 1) complex
            Row p holds the targets of the sources in rows p, p + spacing, ...
        """
        predicted = self.layers(kspace, spacing)[-1]
        return predicted.unflatten(1, (self.coils, self.targets))

    def layers(self, kspace: Tensor, spacing: int = 1) -> list[Tensor]:
        """Output of each convolution, before its activation; arguments as in `forward`."""
        outputs: list[Tensor] = []
        numbers = kspace[..., 0, :, :].numel() * sum(len(weight) for weight in self.weights)
        claim(8 * 3 * numbers, "the outputs of RAKI's layers", advice=KERNEL)
        parts = torch.cat([kspace.real, kspace.imag], 1)
        for index, weight in enumerate(self.weights):
            if index:
                parts = F.leaky_relu(parts, self.slope)
            parts = F.conv2d(parts, _on_parts(weight), dilation=(spacing, 1))
            outputs.append(torch.complex(*parts.chunk(2, 1)))
        return outputs

    def fill(self, kspace: Tensor, offset: int, border: Border = "zero") -> tuple[Tensor, Tensor]:
        """Predict lines of undersampled k-space.

        Parameters
        ----------
        kspace : (batch, coil, y, x) complex
            Lines `offset + n R` are the sources.
        offset
            First sampled line, below R.
        border
            See `Border`; `circular` needs y to be a multiple of R.

        Returns
        -------
        filled : (batch, coil, y, x) complex
            A copy in which predicted samples replace the input.
        predicted : (y,) bool
            Predicted lines.
        """
        ny, nx = kspace.shape[-2:]
        lines, first, cut = self.sources(kspace, offset, border)
        outputs = self(lines)
        rows = first + self.acceleration * torch.arange(outputs.shape[3])[:, None] + torch.arange(self.targets)
        if border == "circular":
            rows = rows % ny
        inside = (rows >= 0) & (rows < ny)
        values = outputs.permute(0, 1, 3, 2, 4)[:, :, inside]
        filled = kspace.clone()
        filled[:, :, rows[inside], cut : nx - cut] = values
        predicted = torch.zeros(ny, dtype=torch.bool)
        predicted[rows[inside]] = True
        return filled, predicted

    def sources(self, kspace: Tensor, offset: int, border: Border) -> tuple[Tensor, int, int]:
        """Sampled lines with their border, the line of their first target, and the columns lost at either side."""
        lines = kspace[:, :, offset :: self.acceleration]
        (height, width), step = self.reach, self.acceleration
        first, half = offset + self.first_target, width // 2
        if border == "valid":
            return lines, first, half
        if border == "zero":
            return F.pad(lines, (half, half, height, height)), first - height * step, 0
        if kspace.shape[2] % step:
            raise ValueError(f"{kspace.shape[2]} lines are no multiple of R = {step}: they cannot wrap around")
        rows = torch.arange(lines.shape[2] + height - 1) % lines.shape[2]
        columns = torch.arange(-half, kspace.shape[3] + half) % kspace.shape[3]
        return lines[:, :, rows][..., columns], first, 0

    @torch.no_grad()
    def linearised(self, kspace: Tensor, offset: int) -> Linearisation:
        """Linearisation about k-space (coil, y, x) as given to `fill`, with a border of zeros; numpy arrays."""
        outputs = self.layers(self.sources(kspace[None], offset, "zero")[0])
        return Linearisation(
            weights=[weight.detach().cpu().numpy() for weight in self.weights],
            responses=[z[0].cpu().numpy() for z in outputs[:-1]],
            slope=self.slope,
            acceleration=self.acceleration,
            first_target=self.first_target,
            targets=self.targets,
        )

    def examples(self, acs: Tensor) -> tuple[Tensor, Tensor]:
        """Training examples from calibration lines.

        Parameters
        ----------
        acs : (coil, ya, x) complex
            Adjacent lines, all sampled.

        Returns
        -------
        sources : (1, coil, ya, x) complex
            Input of `forward` with spacing R; the first `positions` rows of its output are compared.
        wanted : (1, coil, target, positions, x - samples + 1) complex
            Desired output.
        """
        positions, half = acs.shape[1] - self.lines_needed + 1, self.reach[1] // 2
        rows = self.first_target + torch.arange(self.targets)[:, None] + torch.arange(positions)
        return acs[None], acs[None, :, rows, half : acs.shape[2] - half]


def clrelu(z: Tensor, slope: float) -> Tensor:
    """Leaky ReLU of the real and the imaginary part."""
    return torch.complex(F.leaky_relu(z.real, slope), F.leaky_relu(z.imag, slope))


def _on_parts(weight: Tensor) -> Tensor:
    """Real kernel on real and imaginary parts that equals a complex one: one convolution instead of four."""
    real, imag = weight.real, weight.imag
    return torch.cat([torch.cat([real, -imag], 1), torch.cat([imag, real], 1)])


def _default_weight(
    fan_out: int, fan_in: int, kernel: tuple[int, int], generator: torch.Generator | None
) -> nn.Parameter:
    """New weight whose real and imaginary parts are uniform, as torch initialises a real convolution."""
    bound = 1 / math.sqrt(fan_in * math.prod(kernel))
    parts = torch.empty(fan_out, fan_in, *kernel, 2).uniform_(-bound, bound, generator=generator)
    return nn.Parameter(torch.view_as_complex(parts))
