"""Base class of networks that restore magnitude images: one channel in, one out, no coils, no k-space."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from onebreath.errors import MethodError
from onebreath.networks.shared.network import Network


class RestorationNetwork(Network):
    """A network from an aliased magnitude image to a clean one.

    ``forward(images, levels, types) -> images`` with real ``images (batch, 1, y, x)`` whose maximum is about 1, and for
    each the index of its acceleration level and of its mask type, which a network may ignore. Images of any size from
    `smallest` are zero padded at the lower and right border and cropped again.

    A subclass sets `multiple` and implements `restore`.

    Attributes
    ----------
    multiple
        Padded sizes are multiples of this.
    levels, types
        Accelerations and mask types that the network distinguishes; empty if it treats all scans alike.
    """

    multiple: int = 1
    levels: tuple[float, ...] = ()
    types: tuple[str, ...] = ()

    @property
    def smallest(self) -> int:
        """Smallest length of an image axis."""
        return self.multiple

    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run on one image of this size, as the frames of a series run one by one; see `Network`."""
        weights = next(self.parameters())
        image = torch.empty(1, 1, y, x, device=weights.device, dtype=weights.dtype)
        self._check(image, [0], [0])
        self.restore(self._padded(image), [0], [0], [0.0])

    def forward(
        self, images: Tensor, levels: Sequence[int], types: Sequence[int], prompt_levels: Sequence[float] | None = None
    ) -> Tensor:
        """Restore a batch.

        Parameters
        ----------
        images
            ``(batch, 1, y, x)`` real.
        levels, types
            Index of the acceleration level and of the mask type of each image.
        prompt_levels
            Level of the prompt, which may lie between two (1.5: half-way between indices 1 and 2); None: `levels`.

        Raises
        ------
        MethodError
            If the images are not magnitudes or too small, or an index is unknown; names both values.
        """
        self._check(images, levels, types)
        height, width = images.shape[-2:]
        prompts = [float(level) for level in levels] if prompt_levels is None else list(prompt_levels)
        with self.reduced_precision(images.device):
            restored = self.restore(self._padded(images), list(levels), list(types), prompts)
        return restored[..., :height, :width].to(images.dtype)

    @abstractmethod
    def restore(self, images: Tensor, levels: list[int], types: list[int], prompts: list[float]) -> Tensor:
        """Restore checked and padded images; arguments as in `forward`."""

    def _padded(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return F.pad(images, (0, -width % self.multiple, 0, -height % self.multiple))

    def _check(self, images: Tensor, levels: Sequence[int], types: Sequence[int]) -> None:
        if images.is_complex():
            raise MethodError(
                f"images are {images.dtype}, expected magnitudes of a real type; take their absolute value"
            )
        if images.ndim != 4 or images.shape[1] != 1:
            raise MethodError(f"images have the shape {tuple(images.shape)}, expected (batch, 1, y, x)")
        if min(images.shape[-2:]) < self.smallest:
            raise MethodError(
                f"images of {images.shape[-2]} x {images.shape[-1]} pixels are smaller than {self.smallest} x "
                f"{self.smallest}, the least that {type(self).__name__} can restore"
            )
        for name, indices, known in (("levels", levels, self.levels), ("types", types, self.types)):
            if len(indices) != len(images):
                raise MethodError(f"{name} has {len(indices)} entries for {len(images)} images")
            unknown = sorted({index for index in indices if not 0 <= index < len(known)}) if known else []
            if unknown:
                raise MethodError(f"{name} holds the index {unknown[0]}, known are 0 to {len(known) - 1}: {known}")
