"""Training of networks that restore magnitude images (MR-IPT and its peers): settings, images and examples.

As in the paper, k-space is simulated from magnitude images, undersampled, and its magnitude given to the network.
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

_STREAM = 2
"""Of random numbers; the others are those of `onebreath.training.data.examples`."""


class RestorationSettings(BaseModel):
    """Settings for making examples from magnitude images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(224, ge=8, description="side of the examples in pixels")
    crop: int | None = Field(
        None, ge=8, description="side of the middle of an image that is used, before it is brought to `size`; null: all"
    )
    frames: int = Field(2, ge=1, description="largest number of frames of a series, evenly chosen")
    samples: int | None = Field(None, ge=1, description="train on this many images only, chosen by the seed; null: all")
    types: Annotated[tuple[ImageMask, ...], Field(min_length=1)] = Field(IMAGE_MASKS, description="mask types to draw")
    accelerations: Annotated[tuple[float, ...], Field(min_length=1)] = Field(
        (2.0, 4.0, 6.0, 8.0, 10.0), description="accelerations to draw, centre included"
    )
    official_equispaced: bool = Field(False, description="equispaced masks as released, see `image_mask`")
    scale_from: Literal["zero_filled", "full"] = Field(
        "zero_filled",
        description="whose maximum becomes 1: that of the network's input, all that is known at a scanner, or (as "
        "published) that of the true image",
    )
    flip: bool = Field(True, description="mirror images at random")
    phase: bool = Field(False, description="give images a smooth phase, without which k-space is symmetric")
    noise: tuple[float, float] = Field(
        (0.0, 0.0), description="range of the noise's standard deviation over the maximum of the image"
    )
    ssim: float = Field(0.0, ge=0, description="weight of 1 - SSIM beside the mean absolute error")


@dataclass(frozen=True)
class StoredImages:
    """Images of one series in a file of the cache, brought to size and with maximum 1.

    Attributes
    ----------
    patient, name
        As in `onebreath.training.data.series.ImageSeries`.
    file
        safetensors with ``images (image, y, x)``.
    count
        How many.
    """

    patient: str
    name: str
    file: Path
    count: int

    def read(self, index: int) -> np.ndarray:
        """Read one image ``(y, x)`` float32; nothing else of the file.

        Raises
        ------
        ScanError
            If the file is damaged.
        """
        try:
            with safe_open(self.file, framework="np") as content:
                return np.asarray(content.get_slice("images")[index])
        except (OSError, SafetensorError) as error:
            raise ScanError(f"prepared images {self.file} are damaged ({error}); delete them") from error


def to_size(images: np.ndarray, size: int, crop: int | None) -> np.ndarray:
    """Bring magnitude images ``(image, y, x)`` to ``size x size``, each with maximum 1; those of zeros are left out.

    The middle `crop` x `crop` pixels, or the whole image with zeros around its shorter side, are resampled bilinearly.
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
    """Endless examples; number `index` is the same in every process and after every restart.

    Parameters
    ----------
    stored
        Images to draw from.
    settings
        See `RestorationSettings`.
    seed
        Of everything random.
    validating
        Take the images in turn, unflipped; all of them, whatever `samples` says.
    """

    def __init__(
        self, stored: Sequence[StoredImages], settings: RestorationSettings, seed: int, validating: bool = False
    ) -> None:
        places = [(one, index) for one in stored for index in range(one.count)]
        if not places:
            raise ScanError("there is no image to train on: the split leaves none, or the sources are empty")
        order = np.random.default_rng([seed, _STREAM]).permutation(len(places))
        self.places = [places[n] for n in order[: None if validating else settings.samples]]
        self.settings, self.seed, self.validating = settings, seed, validating

    def __len__(self) -> int:
        """Number of examples."""
        return 2**31

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Draw an example.

        Returns
        -------
        dict
            ``image`` and ``target (1, y, x)``, ``level`` and ``type ()``: positions in the settings.
        """
        rng = np.random.default_rng([self.seed, _STREAM, index])
        s = self.settings
        one, number = self.places[index % len(self.places) if self.validating else int(rng.integers(len(self.places)))]
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
    """Simulate the k-space ``(y, x)`` complex64 of a magnitude image with maximum 1, zero where the mask is False.

    Parameters
    ----------
    image, mask
        ``(y, x)``, or ``(y, 1)`` for the mask.
    rng
        For phase and noise.
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
