"""Training of networks that restore magnitude images (MR-IPT and its baselines): settings, images and examples.

As in the paper, k-space is simulated from magnitude images and undersampled; the network gets the magnitude of its
zero-filled image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import Dataset

from onebreath.errors import ScanError
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.training.data.image_masks import IMAGE_MASKS, ImageMask, image_mask
from onebreath.training.data.scanning import smooth_phase
from onebreath.validation import LevelRange

_STREAM = 2
"""Stream of random numbers, other than those of `onebreath.training.data.examples`."""


class RestorationSettings(BaseModel):
    """Settings for making examples from magnitude images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(224, ge=8, description="side of the examples in pixels")
    crop: int | None = Field(
        None, ge=8, description="side of the central square of an image, before it is resized to `size`; null: all"
    )
    frames: int = Field(2, ge=1, description="largest number of frames of a series, evenly chosen")
    samples: int | None = Field(None, ge=1, description="number of images to train on, chosen by the seed; null: all")
    types: Annotated[tuple[ImageMask, ...], Field(min_length=1)] = Field(IMAGE_MASKS, description="mask types")
    accelerations: Annotated[tuple[Annotated[float, Field(gt=1)], ...], Field(min_length=1)] = Field(
        (2.0, 4.0, 6.0, 8.0, 10.0), description="accelerations, centre included"
    )
    official_equispaced: bool = Field(False, description="equispaced masks as released, see `image_mask`")
    scale_from: Literal["zero_filled", "full"] = Field(
        "zero_filled",
        description="image whose maximum is scaled to 1: the network's input, which is all that is known at a scanner, "
        "or (as published) the true image",
    )
    flip: bool = Field(True, description="mirror images at random")
    phase: bool = Field(False, description="give images a smooth phase, without which k-space is symmetric")
    noise: LevelRange = Field(
        (0.0, 0.0), description="range of the noise's standard deviation relative to the maximum of the image"
    )
    ssim: float = Field(0.0, ge=0, description="weight of 1 - SSIM, added to the mean absolute error")


@dataclass(frozen=True)
class StoredImages:
    """Resized images of one series with maximum 1, in a file of the cache.

    Attributes
    ----------
    patient, name
        As in `onebreath.training.data.series.ImageSeries`.
    file
        File with ``images (image, y, x)`` as safetensors.
    count
        Number of images.
    """

    patient: str
    name: str
    file: Path
    count: int

    def read(self, index: int) -> np.ndarray:
        """One image ``(y, x)`` float32, without reading the rest of the file.

        Raises
        ------
        ScanError
            If the file is damaged.
        """
        try:
            with safe_open(self.file, framework="np") as content:
                return np.asarray(content.get_slice("images")[index : index + 1])[0]
        except (OSError, SafetensorError) as error:
            raise ScanError(f"prepared images {self.file} are damaged ({error}); delete them") from error


def to_size(images: np.ndarray, size: int, crop: int | None) -> np.ndarray:
    """Magnitude images ``(image, y, x)`` resized to ``size x size`` with maximum 1; images of zeros are dropped.

    The central `crop` x `crop` pixels, or the whole image zero padded to a square, are resampled bilinearly.
    """
    images = images[images.any(axis=(1, 2))]
    side = crop or max(images.shape[1:])
    spare = [side - n for n in images.shape[1:]]
    before = [n // 2 for n in spare]
    border = (before[1], spare[1] - before[1], before[0], spare[0] - before[0])
    square = F.pad(torch.from_numpy(np.ascontiguousarray(images, np.float32))[:, None], border)
    if side != size:
        square = F.interpolate(square, size=(size, size), mode="bilinear", antialias=True)
    largest = square.amax(dim=(1, 2, 3))
    return np.asarray((square[largest > 0] / largest[largest > 0][:, None, None, None])[:, 0])


class RestorationExamples(Dataset[dict[str, Tensor]]):
    """Random examples; number `index` is the same in every process and after every restart.

    Parameters
    ----------
    stored
        Prepared images.
    settings
        See `RestorationSettings`.
    seed
        Seed of all random numbers.
    validating
        Whether to use all images in turn, unflipped, regardless of `samples`.

    Raises
    ------
    ScanError
        If there are no images.
    """

    def __init__(
        self, stored: Sequence[StoredImages], settings: RestorationSettings, seed: int, validating: bool = False
    ) -> None:
        images = [(one, index) for one in stored for index in range(one.count)]
        if not images:
            raise ScanError("there is no image to train on: the split leaves none, or the sources are empty")
        order = np.random.default_rng([seed, _STREAM]).permutation(len(images))
        self.images = [images[n] for n in order[: None if validating else settings.samples]]
        self.settings, self.seed, self.validating = settings, seed, validating

    def __len__(self) -> int:
        """Number of examples."""
        return 2**31

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Example number `index`.

        Returns
        -------
        dict
            ``image`` and ``target (1, y, x)``, ``level`` and ``type ()``: indices in the settings.
        """
        rng = np.random.default_rng([self.seed, _STREAM, index])
        s = self.settings
        one, number = self.images[index % len(self.images) if self.validating else int(rng.integers(len(self.images)))]
        target = one.read(number)
        if s.flip and not self.validating:
            target = target[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        kind, level = int(rng.integers(len(s.types))), int(rng.integers(len(s.accelerations)))
        mask = image_mask(
            s.types[kind], target.shape, s.accelerations[level], rng, official_equispaced=s.official_equispaced
        )
        aliased = np.abs(ifft2c(undersampled(target, mask, rng, s.phase, rng.uniform(*s.noise))))
        scale = np.float32(aliased.max() if s.scale_from == "zero_filled" else 1.0)
        return {
            "image": torch.from_numpy(aliased / scale)[None],
            "target": torch.from_numpy(np.ascontiguousarray(target) / scale)[None],
            "level": torch.tensor(level),
            "type": torch.tensor(kind),
        }


def undersampled(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, phase: bool = False, noise: float = 0.0
) -> np.ndarray:
    """Simulated k-space ``(y, x)`` complex64 of a magnitude image with maximum 1, zero where the mask is False.

    Parameters
    ----------
    image, mask
        ``(y, x)``, or ``(y, 1)`` for the mask.
    rng
        Random numbers for phase and noise.
    phase
        Whether the image gets a smooth phase.
    noise
        Standard deviation in the real and in the imaginary part of a pixel.
    """
    kspace = fft2c((image * np.exp(1j * smooth_phase(image.shape, rng)) if phase else image).astype(np.complex64))
    if noise:
        parts = rng.standard_normal((2, *image.shape), dtype=np.float32)
        kspace = kspace + np.float32(noise) * (parts[0] + 1j * parts[1])
    return np.where(mask, kspace, np.complex64(0))
