"""PromptMR: an unrolled network that sees a few adjacent frames at a time (B. Xin et al., STACOM 2023).

The released network reconstructs one frame from a window of five and starts anew for the next. Here all windows of a
series run together: coil maps are estimated once per frame, and instead of the k-space of all coils of all windows only
two combined images per window and frame are kept. With ``k_n = y - F S p_n + M F S q_n`` the released step

    k_(n+1) = k_n - eta M (k_n - y) - F S r_n,    r_n = UNet(S^H F^-1 k_n)

becomes ``p_(n+1) = p_n + r_n`` and ``q_(n+1) = (1 - eta) q_n + eta p_n``, since M is a projection.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from onebreath.errors import ModelError
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.prompt_mr.sensitivity import SensitivityNetwork
from onebreath.networks.prompt_mr.unet import PromptUNet, UNetSizes
from onebreath.networks.prompt_mr.windows import Combination, WindowNetwork, check_window
from onebreath.networks.shared.checkpointing import run_step
from onebreath.networks.shared.inputs import check_inputs


class Windows(NamedTuple):
    """``p`` and ``q`` of the module's docstring, each ``(batch, position in the window, frame, y, x)``."""

    everywhere: Tensor
    sampled: Tensor


class PromptMR(WindowNetwork):
    """PromptMR; by default 30,496,134 parameters and 4,561,920 prompt values, which are not learned.

    Nearly all blocks share one PReLU slope, as released; the first of each U-Net has its own.

    Parameters
    ----------
    cascades
        Number of cascades; the released models have 12, those of the CRUNet-MR paper 5.
    window
        Number of adjacent frames, odd; the cardiac cycle wraps around. 1: each frame by itself.
    channels, prompt_channels
        Channels of the cascades' U-Nets at levels 1 to 3 and the bottleneck; of the prompts of levels 1 to 3.
    sensitivity_channels, sensitivity_prompt_channels
        The same for the sensitivity network.
    prompt_sizes, prompts, encoder_blocks, decoder_blocks, bottleneck_blocks
        See `UNetSizes`.
    sensitivity_prompts
        Prompts of the sensitivity network's levels; None: as `prompts`.
    coil_maps
        ``network``: estimated by the sensitivity network from calibration lines in the data; ``given``: the `maps`
        argument, without a sensitivity network.
    acs_lines
        See `SensitivityNetwork`.
    combination
        ``rss``: root of the sum of squares of the coil images, without phase, as published; ``maps``: complex, with the
        `maps` argument.
    at_once
        Windows per batch of a U-Net, and half the coil images per batch; more need more memory.
    checkpointing
        Whether training computes the U-Nets again in the backward pass, to save memory.

    Raises
    ------
    ModelError
        If a number is out of range.
    """

    title = "PromptMR"

    def __init__(
        self,
        *,
        cascades: int = 5,
        window: int = 5,
        channels: tuple[int, int, int, int] = (48, 72, 96, 120),
        prompt_channels: tuple[int, int, int] = (24, 48, 72),
        sensitivity_channels: tuple[int, int, int, int] = (24, 36, 48, 60),
        sensitivity_prompt_channels: tuple[int, int, int] = (12, 24, 36),
        prompt_sizes: tuple[int, int, int] = (64, 32, 16),
        prompts: int | tuple[int, int, int] = 5,
        sensitivity_prompts: int | tuple[int, int, int] | None = None,
        encoder_blocks: tuple[int, int, int] = (2, 3, 3),
        decoder_blocks: tuple[int, int, int] = (2, 2, 3),
        bottleneck_blocks: int = 3,
        coil_maps: Literal["network", "given"] = "network",
        acs_lines: int | None = None,
        combination: Combination = "rss",
        at_once: int = 4,
        checkpointing: bool = False,
    ) -> None:
        if cascades < 1 or at_once < 1:
            raise ModelError(f"cascades is {cascades} and at_once {at_once}, expected at least 1")
        check_window(window)
        blocks = (encoder_blocks, decoder_blocks, bottleneck_blocks)
        sizes = UNetSizes(channels, prompt_channels, prompt_sizes, prompts, *blocks)
        networks = [PromptUNet(window, sizes) for _ in range(cascades)]
        sensitivity = None
        if coil_maps == "network":
            counts = prompts if sensitivity_prompts is None else sensitivity_prompts
            sizes = UNetSizes(sensitivity_channels, sensitivity_prompt_channels, prompt_sizes, counts, *blocks)
            sensitivity = SensitivityNetwork(sizes, acs_lines)
        super().__init__(window, networks, sensitivity, combination, checkpointing)
        self.at_once = at_once

    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Tensor:
        """Reconstruct; `noise_std` is ignored.

        Raises
        ------
        MethodError
            If an input cannot be used, there are fewer frames than in a window, or the mask lacks calibration lines
            that the network needs.
        """
        *_, image = self.cascades(kspace, mask, maps)
        return image

    def cascades(self, kspace: Tensor, mask: Tensor, maps: Tensor) -> Iterator[Tensor]:
        """Yield the image after each cascade; arguments as in `forward`."""
        check_inputs(kspace, mask, maps)
        self.check_frames(kspace.shape[1])
        estimated = self.estimate_maps(kspace, mask, maps)
        series = SampledSeries(kspace, mask, estimated)
        for windows in self.states(series, estimated):
            yield self._image(windows, series, estimated, maps)

    def estimate_maps(self, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """Coil maps of every frame; without a sensitivity network those given."""
        if self.sensitivity is None:
            return maps
        with self.reduced_precision(kspace.device):
            return self.sensitivity(kspace, mask, self.slope, 2 * self.at_once, self.checkpointing)

    def states(self, series: SampledSeries, maps: Tensor) -> Iterator[Windows]:
        """Yield the state of all windows after each cascade."""
        zero_filled = series.zero_filled()
        density = maps.abs().square().sum(dim=2)
        middle = self.window // 2
        images = [zero_filled] * self.window
        everywhere = sampled = torch.zeros((), dtype=zero_filled.dtype, device=zero_filled.device)
        for index, step in enumerate(self.steps):
            shifted = [image.roll(middle - position, dims=1) for position, image in enumerate(images)]
            with self.reduced_precision(zero_filled.device):
                refined = self._refine(index, torch.stack(shifted, dim=2).flatten(0, 1))
            refined = refined.unflatten(0, zero_filled.shape[:2])
            change = torch.stack([refined[:, :, i].roll(i - middle, dims=1) for i in range(self.window)], dim=1)
            sampled = (1 - step) * sampled + step * everywhere
            everywhere = everywhere + change
            yield Windows(everywhere, sampled.expand_as(everywhere))
            if index + 1 == len(self.steps):
                return
            images = [zero_filled - density * everywhere[:, i] for i in range(self.window)]
            if index > 0:  # after the first cascade q is still zero
                images = [image + series.normal(sampled[:, i]) for i, image in enumerate(images)]

    def _refine(self, index: int, windows: Tensor) -> Tensor:
        """Run the U-Net of a cascade on ``(window, frame, y, x)``."""
        block, parts = self.blocks[index], windows.split(self.at_once)
        return torch.cat([run_step(block, part, self.slope, checkpointing=self.checkpointing) for part in parts])

    def _image(self, windows: Windows, series: SampledSeries, estimated: Tensor, maps: Tensor) -> Tensor:
        """Combine the coil images of the frame in the middle of each window."""
        middle = self.window // 2
        coils = series.filled(windows.sampled[:, middle]) - estimated * windows.everywhere[:, middle, :, None]
        return self.combined(coils, maps)

    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run the U-Nets alone, with the state of all windows in memory."""
        windows = torch.empty(frames, self.window, y, x, dtype=torch.complex64, device=self.slope.device)
        if self.sensitivity is not None:
            self.sensitivity.refine(windows[:1, :1].expand(frames * coils, 1, y, x), self.slope, 2 * self.at_once)
        state = [torch.empty_like(windows) for _ in Windows._fields]
        for index in range(len(self.blocks)):
            state[0] = state[0] + self._refine(index, windows)
