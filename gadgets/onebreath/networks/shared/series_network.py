"""Interface of networks for multi-coil series, as used by the method `unrolled` and by training."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from onebreath.networks.shared.network import Network


class SeriesNetwork(Network):
    """A network from multi-coil k-space to a series of images.

    ``forward(kspace, mask, maps) -> image`` with complex ``kspace (batch, frame, coil, y, x)``, zero where not sampled,
    ``mask (batch, frame, 1, y, x)`` or broadcastable, ``maps (batch, 1 or frame, coil, y, x)`` with unit sum of squares
    over coils, and ``image (batch, frame, y, x)`` of the type of the k-space.
    """

    @abstractmethod
    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Tensor:
        """Reconstruct.

        Parameters
        ----------
        kspace, mask, maps
            See the class.
        noise_std
            Standard deviation of the noise, for noise-aware networks; see `DataConsistency.forward`.

        Raises
        ------
        MethodError
            If an input cannot be used; names the argument and both values.
        """
