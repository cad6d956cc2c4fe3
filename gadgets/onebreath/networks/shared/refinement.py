"""Base class of the learned parts of unrolled networks: normalise, add a correction, undo the normalisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from onebreath.networks.shared.normalise import Normalised, pad_to_multiple, to_complex, to_planes

Correct = Callable[[Tensor, Any], tuple[Tensor, Any]]


# Noise of a thousandth of the image's standard deviation becomes about -1 in the input of a network, equal noise +1.
_LOG_NOISE_SCALE = 0.29


class ExtraInputs(NamedTuple):
    """Inputs of a refinement besides the image.

    Attributes
    ----------
    images
        Complex images ``(batch, frame or 1, y, x)`` in the units of the image.
    in_noise
        Complex images in standard deviations of the noise.
    noise_std
        Standard deviation of the noise, ``(batch,)``, in the units of the image; None: no input.
    """

    images: tuple[Tensor, ...] = ()
    in_noise: tuple[Tensor, ...] = ()
    noise_std: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """All tensors in one list."""
        return [*self.images, *self.in_noise, *([] if self.noise_std is None else [self.noise_std])]

    def filled(self, tensors: Sequence[Tensor]) -> ExtraInputs:
        """The same inputs with other tensors, in the order of `tensors`."""
        first, second = len(self.images), len(self.images) + len(self.in_noise)
        return ExtraInputs(
            tuple(tensors[:first]),
            tuple(tensors[first:second]),
            tensors[second] if self.noise_std is not None else None,
        )

    def planes(self, like: Normalised) -> Tensor:
        """All inputs as channels ``(batch, frame, channel, y, x)`` of a normalised image."""
        frames, (y, x) = like.planes.shape[1], like.planes.shape[-2:]
        found = [to_planes(image) / like.std for image in self.images] + [to_planes(image) for image in self.in_noise]
        if self.noise_std is not None:
            ratio = self.noise_std.to(like.std).reshape(-1, 1, 1, 1, 1) / like.std
            found.append(1 + _LOG_NOISE_SCALE * ratio.clamp_min(1e-8).log())
        return torch.cat([one.expand(-1, frames, -1, y, x) for one in found], dim=2)


class Refinement(nn.Module, ABC):
    """The learned part of a cascade.

    Normalisation needs the whole image and the convolutions only a neighbourhood; they are separate methods, so that
    the convolutions can run on tiles of an image that does not fit into memory.
    """

    pad_multiple = 1
    """`correction` gets planes whose sizes along y and x are multiples of this."""

    @abstractmethod
    def normalise(self, planes: Tensor) -> Normalised:
        """Normalise ``(batch, frame, 2, y, x)``."""

    @abstractmethod
    def correction(self, planes: Tensor, features: Any) -> tuple[Tensor, Any]:
        """Correction to add to normalised planes ``(batch, frame, 2, y, x)``, and features for later cascades."""

    def forward(
        self, image: Tensor, features: Any, correct: Correct | None = None, extra: ExtraInputs | None = None
    ) -> tuple[Tensor, Any]:
        """Refine a series.

        Parameters
        ----------
        image
            ``(batch, frame, y, x)`` complex.
        features
            Features of earlier cascades; None means zeros.
        correct
            Replacement of `correction`, such as one that runs it in tiles.
        extra
            Further channels of `correction` after the two of the image.
        """
        normalised = self.normalise(to_planes(image))
        planes = normalised.planes
        if extra is not None:
            planes = torch.cat([planes, extra.planes(normalised)], dim=2)
        padded, window = pad_to_multiple(planes, self.pad_multiple)
        correction, features = (correct or self.correction)(padded, features)
        refined = normalised.planes + correction[..., window[0], window[1]]
        return to_complex(normalised.undo(refined)), features
