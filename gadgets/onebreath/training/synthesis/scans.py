"""Simulated scans and training examples, made on the training device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from onebreath.mri.coils import combine
from onebreath.mri.fourier import fft2c, ifft2c, resize
from onebreath.training.data.examples import Example
from onebreath.training.data.masks import MaskFamily, draw_mask
from onebreath.training.data.scanning import CALIBRATION_SAMPLES
from onebreath.training.data.series import ImageSeries
from onebreath.training.synthesis.calibration import coil_maps
from onebreath.training.synthesis.clips import procedural_clip
from onebreath.training.synthesis.draws import Draws, pixel_grid
from onebreath.training.synthesis.hearts import SequencePool
from onebreath.training.synthesis.motion import breathing_shift, phases
from onebreath.training.synthesis.phantoms import random_phantom, trunk
from onebreath.training.synthesis.receivers import MeasuredCoils, compressed, loop_maps, whitened
from onebreath.training.synthesis.settings import SynthesisSettings

# SNR refers to this quantile of the magnitude, which is about that of blood.
_BLOOD_QUANTILE = 0.97
# Independent streams of random numbers.
_SIZES, _SCAN, _EXAMPLE = 0, 1, 2


class Scan(NamedTuple):
    """A noise-free scan.

    Attributes
    ----------
    image
        ``(frame, y, x)`` complex; ``image * coils`` are coil images whose noise has unit deviation.
    coils, maps
        ``(coil, y, x)``: true sensitivities, and estimated maps.
    """

    image: Tensor
    coils: Tensor
    maps: Tensor


class DeviceExamples(Dataset[Example]):
    """Random examples on a device; number `index` is always the same.

    Parameters
    ----------
    series
        Measured sequences; may be empty if `settings.hearts` is 0.
    masks
        Mask families.
    settings
        See `SynthesisSettings`.
    seed
        Seed of all random numbers.
    device
        Device of the examples.
    batch
        Examples per step, which have equal sizes.
    """

    def __init__(
        self,
        series: Sequence[ImageSeries],
        masks: tuple[MaskFamily, ...],
        settings: SynthesisSettings,
        seed: int,
        device: torch.device,
        batch: int = 1,
    ) -> None:
        self.masks, self.settings, self.seed, self.device = masks, settings, seed, device
        self.same_size = math.lcm(batch, settings.crops)
        self.pool = SequencePool(series, device) if settings.hearts else None
        self.measured = MeasuredCoils(settings.measured_coils if settings.measured_share else (), device)
        self._last: tuple[int, Scan] | None = None

    def __len__(self) -> int:
        """Number of examples: more than any training takes."""
        return 2**31

    def __getitem__(self, index: int) -> Example:
        """Example number `index`, as from `onebreath.training.data.examples.Examples` but on the device."""
        number = index // self.settings.crops
        if self._last is None or self._last[0] != number:
            self._last = number, self.scan(number)
        draws = Draws(self.device, (self.seed, _EXAMPLE, index))
        return self._example(self._last[1], draws)

    def scan(self, number: int) -> Scan:
        """Scan number `number`."""
        settings, draws = self.settings, Draws(self.device, (self.seed, _SCAN, number))
        frames, shape = self._size(number)
        magnitude = self.sequence(frames, shape, draws)
        if draws.chance(settings.breathing):
            magnitude = breathing_shift(magnitude, settings.breathing_pixels, draws).real.clamp_min(0)
        # No number is drawn where none is asked for: the scans of a seed stay what they were.
        if settings.bounded and draws.chance(settings.bounded):
            magnitude = magnitude * trunk(shape, draws)
        image = magnitude * torch.exp(1j * smooth_phase(shape, draws))
        mean = image.mean(0)
        region = draws.integer(*settings.calibration_lines), min(CALIBRATION_SAMPLES, shape[1])
        coils = compressed(self._coils(magnitude.mean(0), draws), mean, settings.channels, region, draws)
        level = torch.quantile((mean.abs() * coils.abs().square().sum(0).sqrt()).flatten(), _BLOOD_QUANTILE)
        image = image * (draws.log_uniform(*settings.snr) / level.clamp_min(1e-6))
        acs = resize(fft2c(image.mean(0) * coils), region)
        acs = acs + draws.complex_normal(*acs.shape) / frames**0.5
        crop = settings.crop if draws.chance(settings.cropped) else None
        return Scan(image, coils, coil_maps(acs, shape, crop))

    def sequence(self, frames: int, shape: tuple[int, int], draws: Draws) -> Tensor:
        """Random magnitudes ``(frame, y, x)`` of a measured heart, a phantom or a procedural clip."""
        settings = self.settings
        weights = np.array([settings.hearts, settings.phantoms, settings.clips])
        kind = int(draws.rng.choice(3, p=weights / weights.sum()))
        phase = phases(frames, settings.full_cycle, draws)
        if kind == 0 and self.pool is not None:
            return self.pool.draw(shape, phase, draws)
        return (random_phantom if kind == 1 else procedural_clip)(shape, phase, draws)

    def _size(self, number: int) -> tuple[int, tuple[int, int]]:
        """Number of frames, and lines and columns, of a scan; equal for all scans of a step."""
        settings = self.settings
        group = number * settings.crops // self.same_size
        rng = np.random.default_rng([self.seed, _SIZES, group])
        frames, ny, nx = (int(rng.integers(a, b + 1)) for a, b in (settings.frames, settings.rows, settings.width))
        return frames, (ny, nx)

    def _coils(self, magnitude: Tensor, draws: Draws) -> Tensor:
        """Random whitened sensitivities before compression, ``(coil, y, x)``."""
        settings, shape = self.settings, (magnitude.shape[0], magnitude.shape[1])
        count = draws.integer(*settings.coils)
        maps = None
        if draws.chance(settings.measured_share):
            maps = self.measured.draw(count, shape, draws)
        if maps is None:
            maps = loop_maps(count, shape, draws)
        return whitened(maps, magnitude, draws.uniform(*settings.noise_correlation), draws)

    def _example(self, scan: Scan, draws: Draws) -> Example:
        frames, ny, nx = scan.image.shape
        columns = self.settings.columns or nx
        # Most crops contain the heart, which is near the middle.
        first = int(np.clip(draws.rng.normal(0.5, 0.25), 0, 1) * (nx - columns))
        window = (..., slice(first, first + columns))
        coils, maps = scan.coils[window], scan.maps[window]
        images = scan.image[window][:, None] * coils
        mask = self._mask(frames, ny, draws)
        kspace = fft2c(images)
        kspace = (kspace + draws.complex_normal(*kspace.shape)) * mask
        # Relative to the largest zero-filled coil image, as in the chain.
        scale = ifft2c(kspace).abs().amax()
        return {
            "kspace": kspace / scale,
            "mask": mask,
            "maps": maps[None],
            "target": combine(images, maps) / scale,
            "noise_std": 1 / scale,
        }

    def _mask(self, frames: int, ny: int, draws: Draws) -> Tensor:
        """Random mask of lines ``(frame, 1, y, 1)`` bool."""
        mask = np.array(np.broadcast_to(draw_mask(self.masks, frames, ny, draws.rng), (frames, ny)))
        if draws.chance(self.settings.partial_fourier):
            kept = int(np.ceil(draws.uniform(*self.settings.partial_fourier_fraction) * ny))
            mask[:, kept:] = False
            if draws.chance(0.5):
                mask = np.roll(mask[:, ::-1], 1 - ny % 2, axis=1)
        return torch.from_numpy(mask.copy()).to(self.device, non_blocking=True)[:, None, :, None]


def smooth_phase(shape: tuple[int, int], draws: Draws) -> Tensor:
    """Random phase of off-resonance and receiver in rad ``(y, x)``: a polynomial and a smooth random field."""
    y, x = pixel_grid(shape, draws.device)
    a, b, c, d, e = draws.rng.normal(0, (1.5, 1.5, 0.8, 0.8, 0.8))
    polynomial = a * y + b * x + c * y**2 + d * x**2 + e * y * x
    field = draws.smooth(1, shape, draws.uniform(3, 8))[0]
    return draws.uniform(0, 2 * np.pi) + polynomial + draws.uniform(0, 1) * field
