"""What the learned parts of all unrolled networks share: normalise an image, add a residual, undo the normalisation."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from onebreath.networks.shared.normalise import Normalised, pad_to_multiple, to_complex, to_planes

Correct = Callable[[Tensor, Any], tuple[Tensor, Any]]


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

    def forward(self, image: Tensor, features: Any, correct: Correct | None = None) -> tuple[Tensor, Any]:
        """Refine a series.

        Parameters
        ----------
        image
            ``(batch, frame, y, x)`` complex.
        features
            Of earlier cascades; None stands for zeros.
        correct
            Another way to run `correction`.
        """
        normalised = self.normalise(to_planes(image))
        padded, window = pad_to_multiple(normalised.planes, self.pad_multiple)
        correction, features = (correct or self.correction)(padded, features)
        refined = normalised.planes + correction[..., window[0], window[1]]
        return to_complex(normalised.undo(refined)), features
