"""DISTS: similarity of structure and texture in the features of a network trained on photographs.

K. Ding et al., "Image quality assessment: unifying structure and texture similarity", IEEE Trans Pattern Anal Mach
Intell 44:2567 (2022), equations 2 to 6. The weights are not part of the package, see `onebreath.evaluation.dists.file`;
without them there is no DISTS, as random weights would give meaningless numbers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onebreath.evaluation.metrics import Series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

CONVOLUTIONS = (
    *((3, 64), (64, 64)),
    *((64, 128), (128, 128)),
    *((128, 256), (256, 256), (256, 256)),
    *((256, 512), (512, 512), (512, 512)),
    *((512, 512), (512, 512), (512, 512)),
)
"""Channels in and out of VGG16's 3x3 convolutions."""
_STAGES = (2, 2, 3, 3, 3)
CHANNELS = (3, 64, 128, 256, 512, 512)
"""Numbers of compared channels: of the image and of each stage."""
# Normalisation of the photographs that the network was trained on.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SMALL = 1e-6
_LONGEST_SHORT_SIDE = 256


class Dists:
    """DISTS with given weights.

    Parameters
    ----------
    weights
        ``conv<0..12>.weight`` (out, in, 3, 3), ``conv<0..12>.bias`` (out,), ``alpha`` and ``beta`` (1475,).
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        total = weights["alpha"].sum() + weights["beta"].sum()
        self._alpha = (weights["alpha"] / total).split(CHANNELS)
        self._beta = (weights["beta"] / total).split(CHANNELS)

    @property
    def identity(self) -> str:
        """SHA-256 of the weights."""
        found = hashlib.sha256()
        for name, weight in sorted(self._weights.items()):
            found.update(name.encode())
            found.update(weight.contiguous().numpy().tobytes())
        return found.hexdigest()

    def similarity(self, target: Series, prediction: Series) -> NDArray[np.float64]:
        """1 - DISTS of every frame, 1 for equal images.

        Parameters
        ----------
        target, prediction
            Grey images (frame, y, x) in [0, 1]. Images whose shorter side exceeds 256 pixels are downsampled to that,
            as recommended by the authors.
        """
        import torch

        with torch.inference_mode():
            frames = zip(target, prediction, strict=True)
            return np.array([self._similarity(*(_as_colour(image) for image in pair)) for pair in frames])

    def _similarity(self, target: Tensor, prediction: Tensor) -> float:
        score = 0.0
        pairs = zip(self._features(target), self._features(prediction), strict=True)
        for (x, y), alpha, beta in zip(pairs, self._alpha, self._beta, strict=True):
            mx, my = x.mean((2, 3), keepdim=True), y.mean((2, 3), keepdim=True)
            vx, vy = ((x - mx) ** 2).mean((2, 3)), ((y - my) ** 2).mean((2, 3))
            cov = (x * y).mean((2, 3)) - (mx * my)[..., 0, 0]
            mx, my = mx[..., 0, 0], my[..., 0, 0]
            texture = (2 * mx * my + _SMALL) / (mx**2 + my**2 + _SMALL)
            structure = (2 * cov + _SMALL) / (vx + vy + _SMALL)
            score += float((alpha * texture + beta * structure).sum())
        return score

    def _features(self, image: Tensor) -> list[Tensor]:
        """The image (1, 3, y, x) and the last rectified features of each stage."""
        import torch
        from torch.nn.functional import conv2d

        x = (image - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_STD).view(3, 1, 1)
        found, layer = [image], 0
        for stage, depth in enumerate(_STAGES):
            if stage:
                x = _pooled(x)
            for _ in range(depth):
                x = conv2d(x, self._weights[f"conv{layer}.weight"], self._weights[f"conv{layer}.bias"], padding=1)
                x, layer = x.relu_(), layer + 1
            found.append(x)
        return found


def _pooled(x: Tensor) -> Tensor:
    """Features of half the size by L2 pooling with a Hann window, which unlike max pooling does not alias."""
    import torch
    from torch.nn.functional import conv2d

    hann = torch.tensor([0.5, 1.0, 0.5])
    kernel = (torch.outer(hann, hann) / 4).expand(x.shape[1], 1, 3, 3)
    return (conv2d(x**2, kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def _as_colour(image: Series) -> Tensor:
    """Grey image (y, x) as a colour image (1, 3, y, x), downsampled if large."""
    import torch
    from torch.nn.functional import interpolate

    x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).expand(1, 3, -1, -1)
    short = min(image.shape)
    if short <= _LONGEST_SHORT_SIDE:
        return x
    # The exact factor, not one recomputed from the rounded size, as for published values.
    return interpolate(x, scale_factor=_LONGEST_SHORT_SIDE / short, mode="bilinear", align_corners=False)
