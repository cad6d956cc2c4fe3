"""Training examples drawn from prepared slices: a time window, a crop, a mask, noise, and the scale of the data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy.signal import resample
from torch import Tensor
from torch.utils.data import Dataset

from onebreath.errors import ConfigError, ScanError
from onebreath.mri.coils import combine
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.names import abridged
from onebreath.training.data.masks import MaskFamily, draw_mask
from onebreath.training.data.series import PreparedSlice
from onebreath.training.data.warp import WarpSettings, warped
from onebreath.validation import CountRange, LevelRange

Example = dict[str, Tensor]
LOG = logging.getLogger("onebreath.training")
# Slices named in a message.
_NAMED = 3
# Frames from which others can be interpolated in time.
_FEWEST_FRAMES = 4
# Independent streams of random numbers.
_SIZES, _CONTENT = 0, 1


class ExampleSettings(BaseModel):
    """Settings for drawing examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(8, ge=1, description="frames of an example")
    rows: CountRange | None = Field(
        (112, 160), description="range of lines along y; slices with fewer lines than drawn are skipped; null: all"
    )
    columns: int | None = Field(
        40, ge=8, description="readout columns, which may be cropped since masks do not depend on x; null: all"
    )
    full_cycle: float = Field(0.4, ge=0, le=1, description="share of examples whose frames cover the whole cycle")
    augment: bool = Field(True, description="random windows, crops, flips and heart rate; otherwise the middle")
    warp: WarpSettings = Field(WarpSettings(), description="change of the anatomy; only with `augment`")
    noise_factor: LevelRange = Field(
        (1.0, 1.0), description="noise level relative to that of the scan; noise already measured is not removed"
    )
    scale_from: Literal["zero_filled", "full"] = Field(
        "zero_filled",
        description="coil images whose largest magnitude scales the data; in the chain it is zero_filled",
    )


FREE = ("rows", "full_cycle", "augment", "warp", "noise_factor")
"""Settings for slices that lack no lines: others keep what was measured."""


class Noise(NamedTuple):
    """Standard deviations of the noise in real and imaginary part, in SNR units: measured, and to be added."""

    own: float
    added: float


class Examples(Dataset[Example]):
    """Random examples; number `index` is the same in every process and after every restart.

    Parameters
    ----------
    slices
        Prepared slices.
    masks
        Mask families.
    settings
        See `ExampleSettings`.
    seed
        Seed of all random numbers.
    batch
        Examples per step, which have equal sizes.
    length
        Number of examples.

    Raises
    ------
    ScanError
        If there are no slices, or they do not fit together or the settings.
    ConfigError
        If a batch has no common size.
    """

    def __init__(
        self,
        slices: Sequence[PreparedSlice],
        masks: tuple[MaskFamily, ...],
        settings: ExampleSettings,
        seed: int,
        batch: int = 1,
        length: int = 2**31,
    ) -> None:
        if not slices:
            raise ScanError("there is no slice to train on: the split leaves none, or the sources are empty")
        self.slices, self.masks, self.settings = slices, masks, settings
        self.seed, self.batch, self.length = seed, batch, length
        self.most_rows = max(one.shape[0] for one in slices)
        self.incomplete = self._any_incomplete()
        self._check_frames()
        self._check_sizes()

    def __len__(self) -> int:
        """Number of examples."""
        return self.length

    def _check_sizes(self) -> None:
        rows, columns = self.settings.rows, self.settings.columns
        narrowest = min(one.shape[1] for one in self.slices)
        if columns is not None and narrowest < columns:
            raise ScanError(f"examples have {columns} columns, but a slice has only {narrowest}")
        if self.batch > 1 and (rows is None or columns is None):
            raise ConfigError("a batch of whole slices has no common shape; give rows and columns, or set batch to 1")
        fewest = 0 if rows is None or self.incomplete else 2 * (min(rows[0], self.most_rows) // 2)
        if unused := [f"{one.patient} {one.name}" for one in self.slices if one.shape[0] < fewest]:
            LOG.warning(
                "%d of %d slices have fewer lines than examples.rows (%d) and are never used: %s",
                len(unused), len(self.slices), fewest, abridged(unused, _NAMED),
            )  # fmt: skip

    def _check_frames(self) -> None:
        """Raise ScanError if the frames of an example would be copies of measured ones, noise included."""
        wanted = self.settings.frames
        for one in self.slices:
            measured = one.noisy or len(one.image[0]) > 1
            if measured and not self.incomplete and len(one.image) < min(_FEWEST_FRAMES, wanted):
                raise ScanError(
                    f"{one.patient} {one.name} has {len(one.image)} measured frames, and examples of {wanted} would "
                    f"hold copies of them, which no scan does; set examples.frames to {len(one.image)}"
                )

    def _any_incomplete(self) -> bool:
        """Whether the slices lack lines; ScanError if only some do, or a batch of such slices has several shapes."""
        incomplete = [one for one in self.slices if not one.lines.all()]
        if incomplete and len(incomplete) < len(self.slices):
            raise ScanError(
                f"{incomplete[0].patient} {incomplete[0].name} lacks lines and other slices are complete; use "
                "complete slices, or undersampled ones with self_supervised, not both"
            )
        shapes = {(one.image.shape[0], one.maps.shape) for one in incomplete}
        if self.batch > 1 and len(shapes) > 1:
            raise ScanError(f"undersampled slices of {len(shapes)} shapes do not fit into a batch; set batch to 1")
        return bool(incomplete)

    def __getitem__(self, index: int) -> Example:
        """Example number `index`.

        Returns
        -------
        dict
            ``kspace (frame, coil, y, x)``, ``mask (frame, 1, y, 1)``, ``maps (1, coil, y, x)``,
            ``target (frame, y, x)`` and ``noise_std ()``, in the units of the network: the largest zero-filled coil
            image has magnitude 1. Slices that lack lines have no true image, so their examples have no ``target``.
        """
        rng = np.random.default_rng([self.seed, _CONTENT, index])
        if self.incomplete:
            return self._undersampled(rng)
        rows = self._rows(index // self.batch)
        large_enough = [one for one in self.slices if one.shape[0] >= rows]
        one = large_enough[int(rng.integers(len(large_enough)))]
        images, maps = self._cut(one, (rows or one.shape[0], self.settings.columns or one.shape[1]), rng)
        mask = draw_mask(self.masks, len(images), images.shape[-2], rng)[:, None, :, None]
        level = rng.uniform(*self.settings.noise_factor)
        own = 1.0 if one.noisy else 0.0
        noise = Noise(own, np.sqrt(max(level**2 - own**2, 0.0)))
        return as_example(images, maps, mask, noise, rng, self.settings.scale_from)

    def _undersampled(self, rng: np.random.Generator) -> Example:
        """Example of a slice that was measured with missing lines, whose rows and mask are therefore fixed."""
        one = self.slices[int(rng.integers(len(self.slices)))]
        frames = min(self.settings.frames, len(one.image))
        chosen = (np.arange(frames) + int(rng.integers(len(one.image)))) % len(one.image)
        columns = self.settings.columns or one.shape[1]
        first = int(rng.integers(one.shape[1] - columns + 1))
        window = (..., slice(first, first + columns))
        lines = one.lines[chosen] if len(one.lines) > 1 else one.lines
        images = one.image[chosen][window] * one.coils[window]
        example = as_example(
            images, one.maps[window], lines[:, None, :, None], Noise(1.0, 0.0), rng, self.settings.scale_from
        )
        del example["target"]  # the zero-filled image, aliasing included
        return example

    def _rows(self, step: int) -> int:
        """Number of lines of all examples of a step; 0: as many as the slice has."""
        if self.settings.rows is None:
            return 0
        low, high = (min(rows, self.most_rows) for rows in self.settings.rows)
        return 2 * int(np.random.default_rng([self.seed, _SIZES, step]).integers(low // 2, high // 2 + 1))

    def _cut(
        self, one: PreparedSlice, shape: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Coil images ``(frame, coil, y, x)`` and maps ``(coil, y, x)`` of a window in time and space."""
        spare = np.array(one.shape) - shape
        if self.settings.augment:
            first = [int(rng.integers(n + 1)) for n in spare]
            # Most crops contain the heart, which is near the middle.
            first[1] = int(np.clip(rng.normal(0.5, 0.2), 0, 1) * spare[1])
        else:
            first = [int(n // 2) for n in spare]
        window = (..., slice(first[0], first[0] + shape[0]), slice(first[1], first[1] + shape[1]))
        warp = self.settings.warp
        if self.settings.augment and warp.share > 0 and not one.noisy and rng.random() < warp.share:
            changed = warped(one.image[:, 0], (first[0], first[1]), shape, warp, rng)
            image = self._window_in_time(changed[:, None], rng)
        else:
            image = self._window_in_time(one.image[window], rng)
        images, maps = image * one.coils[window], one.maps[window]
        if self.settings.augment:
            for axis in (-2, -1):
                if rng.random() < 0.5:
                    images, maps = np.flip(images, axis), np.flip(maps, axis)
            images = images * np.exp(2j * np.pi * rng.random()).astype(np.complex64)
        return images, maps

    def _window_in_time(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Frames of a whole cycle or a part of it, at another heart rate."""
        frames = self.settings.frames
        if not self.settings.augment:
            return image[np.arange(frames) % len(image)]
        if rng.random() < 0.3:
            image = image[::-1]
        image = np.roll(image, int(rng.integers(len(image))), axis=0)
        if len(image) < _FEWEST_FRAMES:
            return image[np.arange(frames) % len(image)]
        cycle = frames if rng.random() < self.settings.full_cycle else int(rng.integers(frames, 3 * frames + 1))
        return resample(image, cycle, axis=0)[:frames].astype(np.complex64) if cycle != len(image) else image[:frames]


def as_example(
    images: np.ndarray,
    maps: np.ndarray,
    mask: np.ndarray,
    noise: Noise,
    rng: np.random.Generator,
    scale_from: Literal["zero_filled", "full"] = "zero_filled",
) -> Example:
    """Example of coil images, undersampled and in the units of the network.

    Parameters
    ----------
    images
        ``(frame, coil, y, x)`` in SNR units.
    maps
        ``(coil, y, x)``.
    mask
        ``(frame or 1, 1, y, 1)`` bool.
    noise
        Noise in the images, and noise to add.
    rng
        Random numbers for the noise.
    scale_from
        See `ExampleSettings`.

    Raises
    ------
    ScanError
        If the sampled data are all zero.
    """
    target = combine(images, maps)
    kspace = fft2c(np.ascontiguousarray(images, dtype=np.complex64))
    if noise.added > 0:
        parts = rng.standard_normal((2, *kspace.shape), dtype=np.float32)
        kspace = kspace + np.float32(noise.added) * (parts[0] + 1j * parts[1])
    sampled = np.where(mask, kspace, np.complex64(0))
    scale = np.float32(np.abs(ifft2c(sampled if scale_from == "zero_filled" else kspace)).max())
    if not scale > 0:
        raise ScanError("an example is zero everywhere: its slice holds no signal where the mask samples")
    return {
        "kspace": torch.from_numpy(sampled / scale),
        "mask": torch.from_numpy(np.array(np.broadcast_to(mask, (len(images), *mask.shape[1:])))),
        "maps": torch.from_numpy(np.ascontiguousarray(maps, dtype=np.complex64)[None]),
        "target": torch.from_numpy(np.ascontiguousarray(target / scale, dtype=np.complex64)),
        "noise_std": torch.tensor(np.hypot(noise.own, noise.added) / scale, dtype=torch.float32),
    }
