"""Base of the learned parts of unrolled networks: normalise an image, add a residual, undo the normalisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from onebreath.networks.shared.normalise import Normalised, pad_to_multiple, to_complex, to_planes

Correct = Callable[[Tensor, Any], tuple[Tensor, Any]]


# Noise of a thousandth of the image's spread becomes about -1 in the input of a network, noise as large as it +1.
_LOG_NOISE_SCALE = 0.29


class Beside(NamedTuple):
    """Inputs of a refinement beside the image.

    Attributes
    ----------
    images
        Complex images ``(batch, frame or 1, y, x)`` in the units of the image.
    in_noise
        Complex images in standard deviations of the noise.
    noise_std
        Standard deviation of the noise, ``(batch,)``, in the units of the image; None: not shown.
    """

    images: tuple[Tensor, ...] = ()
    in_noise: tuple[Tensor, ...] = ()
    noise_std: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """All tensors in one list."""
        return [*self.images, *self.in_noise, *([] if self.noise_std is None else [self.noise_std])]

    def filled(self, tensors: Sequence[Tensor]) -> Beside:
        """Others in the places of these."""
        first, second = len(self.images), len(self.images) + len(self.in_noise)
        return Beside(
            tuple(tensors[:first]),
            tuple(tensors[first:second]),
            tensors[second] if self.noise_std is not None else None,
        )

    def planes(self, like: Normalised) -> Tensor:
        """Bring all into ``(batch, frame, channel, y, x)`` beside a normalised image."""
        frames, (y, x) = like.planes.shape[1], like.planes.shape[-2:]
        found = [to_planes(image) / like.std for image in self.images] + [to_planes(image) for image in self.in_noise]
        if self.noise_std is not None:
            ratio = self.noise_std.to(like.std).reshape(-1, 1, 1, 1, 1) / like.std
            found.append(1 + _LOG_NOISE_SCALE * ratio.clamp_min(1e-8).log())
        return torch.cat([one.expand(-1, frames, -1, y, x) for one in found], dim=2)


class Refinement(nn.Module, ABC):
    """The learned part of a cascade.

    Normalisation looks at the whole image and the convolutions only at a neighbourhood; they stand apart, so that the
    convolutions can run on pieces of an image that does not fit into memory.
    """

    pad_multiple = 1
    """`correction` gets planes whose sizes along y and x are multiples of this."""

    @abstractmethod
    def normalise(self, planes: Tensor) -> Normalised:
        """Normalise ``(batch, frame, 2, y, x)``."""

    @abstractmethod
    def correction(self, planes: Tensor, features: Any) -> tuple[Tensor, Any]:
        """Give what is added to normalised planes ``(batch, frame, 2, y, x)``, and the features handed over."""

    def forward(
        self, image: Tensor, features: Any, correct: Correct | None = None, beside: Beside | None = None
    ) -> tuple[Tensor, Any]:
        """Refine a series.

        Parameters
        ----------
        image
            ``(batch, frame, y, x)`` complex.
        features
            Of earlier cascades; None stands for zeros.
        correct
            Another way to run `correction`.
        beside
            What `correction` gets as further channels after the two of the image.
        """
        normalised = self.normalise(to_planes(image))
        planes = normalised.planes
        if beside is not None:
            planes = torch.cat([planes, beside.planes(normalised)], dim=2)
        padded, window = pad_to_multiple(planes, self.pad_multiple)
        correction, features = (correct or self.correction)(padded, features)
        refined = normalised.planes + correction[..., window[0], window[1]]
        return to_complex(normalised.undo(refined)), features
