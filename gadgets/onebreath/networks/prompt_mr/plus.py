"""PromptMR+: PromptMR whose cascades pass features on (B. Xin et al., "Rethinking deep unrolled model for accelerated
MRI reconstruction", ECCV 2024).

Beside the windows of adjacent frames each U-Net sees what earlier cascades made of them (*buffers*), and its decoders
see their own inputs in earlier cascades (*history*). Coil maps are estimated from all frames of a window together, so
that a frame has other maps in every window, and windows run one after another. Inside a window the k-space of all coils
is replaced by two combined images per frame, as in `prompt_mr`.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from onebreath.errors import ModelError
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.prompt_mr.sensitivity import SensitivityNetwork
from onebreath.networks.prompt_mr.unet import AttentionBlock, Decoder, PromptUNet, UNetSizes
from onebreath.networks.prompt_mr.windows import Combination, WindowNetwork, check_window
from onebreath.networks.shared.checkpointing import run_step
from onebreath.networks.shared.inputs import check_inputs

History = tuple[Tensor, ...]
"""Inputs of the three decoders in the last cascades, newest first, ``(window, cascade * channel, y, x)`` each."""
_FEWEST_BUFFERS = 3


class HistoryDecoder(Decoder):
    """Decoder level that mixes its input with those of earlier cascades."""

    def __init__(self, sizes: UNetSizes, level: int, history: int) -> None:
        super().__init__(sizes, level)
        channels = sizes.channels[level + 1]
        self.mix = nn.Conv2d(channels * (history + 1), channels, 1, bias=False)
        self.mixed = AttentionBlock(channels)

    def recall(self, features: Tensor, skip: Tensor, slope: Tensor, history: Tensor) -> Tensor:
        """Run on ``(image, channel, y, x)``; prompts are weighed by the features before they are mixed."""
        mixed = self.mixed(self.mix(torch.cat([features, history], dim=1)), slope)
        return self.decode(mixed, self.prompt(features), skip, slope)


class HistoryUNet(PromptUNet):
    """U-Net of a cascade of PromptMR+.

    Parameters
    ----------
    images
        Complex images that it sees and makes: frames of the window, and as many for each buffer.
    sizes
        See `UNetSizes`.
    history
        Earlier cascades whose features the decoders see; 0: none.
    """

    def __init__(self, images: int, sizes: UNetSizes, history: int) -> None:
        super().__init__(images, sizes)
        self.history = history
        if history:
            self.decoder = nn.ModuleList(HistoryDecoder(sizes, level, history) for level in (2, 1, 0))

    def recall(self, images: Tensor, slope: Tensor, *history: Tensor) -> tuple[Tensor, History]:
        """Refine complex ``(window, image, y, x)``; returns the images and the history for the next cascade.

        Without a history, as in the first cascade, its place is taken by copies of the features.
        """
        if not self.history:
            return self(images, slope), ()
        made: list[Tensor] = []

        def levels(channels: Tensor) -> Tensor:
            features, skips = self._encoded(channels, slope)
            for level, decode in enumerate(self.decoder):
                assert isinstance(decode, HistoryDecoder)
                before = history[level] if history else features.repeat(1, self.history, 1, 1)
                made.append(torch.cat([features, before[:, : -features.shape[1]]], dim=1))
                features = decode.recall(features, skips.pop(), slope, before)
            out: Tensor = self.tail(features)
            return out

        return self._normalised(images, levels), tuple(made)


class PromptMRPlus(WindowNetwork):
    """PromptMR+; the released models have the default sizes.

    Parameters
    ----------
    cascades
        Number of cascades.
    window
        Number of adjacent frames, odd; the cardiac cycle wraps around.
    buffers
        Images of each frame that a U-Net sees beside the current one: its measured part, what the last U-Net handed on,
        the zero-filled image, and the rest copies of the difference of the first and the third. 0: none.
    history
        Earlier cascades whose features the decoders see; 0: none.
    adjacent_maps
        Whether coil maps are estimated from all frames of a window together; otherwise from each frame alone.
    channels, prompt_channels, sensitivity_channels, sensitivity_prompt_channels, prompt_sizes, prompts,
    sensitivity_prompts, encoder_blocks, decoder_blocks, bottleneck_blocks, coil_maps, acs_lines, combination,
    checkpointing
        See `PromptMR`.

    Raises
    ------
    ModelError
        If a number is out of range.
    """

    title = "PromptMR+"

    def __init__(
        self,
        *,
        cascades: int = 12,
        window: int = 5,
        buffers: int = 4,
        history: int = 11,
        adjacent_maps: bool = True,
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
        checkpointing: bool = False,
    ) -> None:
        if cascades < 1 or history < 0:
            raise ModelError(f"cascades is {cascades} and history {history}, expected at least 1 and 0")
        check_window(window)
        if buffers and buffers < _FEWEST_BUFFERS:
            raise ModelError(f"buffers is {buffers}, expected 0 or at least {_FEWEST_BUFFERS}")
        blocks = (encoder_blocks, decoder_blocks, bottleneck_blocks)
        sizes = UNetSizes(channels, prompt_channels, prompt_sizes, prompts, *blocks)
        networks = [HistoryUNet(window * (1 + buffers), sizes, history) for _ in range(cascades)]
        sensitivity = None
        if coil_maps == "network":
            counts = prompts if sensitivity_prompts is None else sensitivity_prompts
            sizes = UNetSizes(sensitivity_channels, sensitivity_prompt_channels, prompt_sizes, counts, *blocks)
            sensitivity = SensitivityNetwork(sizes, acs_lines, window if adjacent_maps else 1)
        super().__init__(window, networks, sensitivity, combination, checkpointing)
        self.buffered = buffers

    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Tensor:
        """Reconstruct; `noise_std` is ignored.

        Raises
        ------
        MethodError
            If an input cannot be used, there are fewer frames than in a window, or the mask lacks calibration lines
            that the network needs.
        """
        check_inputs(kspace, mask, maps)
        frames = kspace.shape[1]
        self.check_frames(frames)
        around = torch.arange(self.window, device=kspace.device) - self.window // 2
        images = []
        for frame in range(frames):
            chosen = (frame + around) % frames
            parts = [one if one.shape[1] == 1 else one[:, chosen] for one in (mask, maps)]
            images.append(self.middle_of(kspace[:, chosen], parts[0], parts[1]))
        return torch.stack(images, dim=1)

    def middle_of(self, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """Image ``(batch, y, x)`` of the frame in the middle of a window; arguments as in `forward`."""
        estimated = maps
        if self.sensitivity is not None:
            with self.reduced_precision(kspace.device):
                estimated = self.sensitivity(kspace, mask, self.slope, kspace.shape[2], self.checkpointing)
        series = SampledSeries(kspace, mask, estimated)
        everywhere, sampled = self._cascades(series, estimated)
        middle = self.window // 2
        own = estimated[:, min(middle, estimated.shape[1] - 1)]
        coils = series.filled(sampled)[:, middle] - own * everywhere[:, middle, None]
        return self.combined(coils, maps[:, min(middle, maps.shape[1] - 1)])

    def _cascades(self, series: SampledSeries, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Run all cascades; ``p`` and ``q`` of the module `prompt_mr`, each ``(batch, frame, y, x)``."""
        zero_filled = image = series.zero_filled()
        density = maps.abs().square().sum(dim=2)
        everywhere = sampled = torch.zeros_like(zero_filled)
        buffers = [zero_filled] * self.buffered
        history: History = ()
        for index, (block, step) in enumerate(zip(self.blocks, self.steps, strict=True)):
            assert isinstance(block, HistoryUNet)
            seen = torch.cat([image, *buffers], dim=1)
            with self.reduced_precision(seen.device):
                made, history = run_step(block.recall, seen, self.slope, *history, checkpointing=self.checkpointing)
            groups = made.split(self.window, dim=1)
            sampled = (1 - step) * sampled + step * everywhere
            everywhere = everywhere + groups[0]
            if index + 1 == len(self.blocks):
                break
            of_sampled = series.normal(sampled)
            image = zero_filled - density * everywhere + of_sampled
            if self.buffered:
                measured = zero_filled - series.normal(everywhere) + of_sampled
                rest = [measured - zero_filled] * (self.buffered - _FEWEST_BUFFERS)
                buffers = [measured, groups[2], zero_filled, *rest]
        return everywhere, sampled

    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run the U-Nets of all windows, which follow each other."""
        images = torch.empty(
            1, self.window * (1 + self.buffered), y, x, dtype=torch.complex64, device=self.slope.device
        )
        for _ in range(frames):
            if self.sensitivity is not None:
                adjacent = self.sensitivity.adjacent
                coil_images = images[:, :adjacent].expand(coils * self.window // adjacent, adjacent, y, x)
                self.sensitivity.refine(coil_images, self.slope, coils)
            history: History = ()
            for block in self.blocks:
                assert isinstance(block, HistoryUNet)
                _, history = block.recall(images, self.slope, *history)
