"""Adapter for networks without a base class of this package: any module with ``forward(kspace, mask, maps)``."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from onebreath.errors import MethodError, ModelError
from onebreath.networks.shared.precision import Precision


class PlainSeriesNetwork:
    """Mixin that gives a plain module the interface `Network`; see `adapted`."""

    can_be_tiled: ClassVar[bool] = False
    takes_noise: ClassVar[bool] = False
    """Whether ``forward`` takes ``noise_std``."""

    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Tensor:
        """Reconstruct; see `onebreath.networks.shared.series_network.SeriesNetwork`."""
        noise = (noise_std,) if self.takes_noise else ()
        image: Tensor = super().forward(kspace, mask, maps, *noise)  # type: ignore[misc]
        return image

    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run on a series of this size on the device of the weights.

        Raises
        ------
        MethodError
            If the network cannot run there; on the `meta` device its memory is then unknown.
        """
        device = next(self.parameters()).device  # type: ignore[attr-defined]
        kspace = torch.zeros(1, frames, coils, y, x, dtype=torch.complex64, device=device)
        mask = torch.ones(1, frames, 1, y, x, dtype=torch.bool, device=device)
        try:
            self(kspace, mask, kspace[:, :1], torch.ones(1, device=device))  # type: ignore[operator]
        except (RuntimeError, NotImplementedError) as error:
            raise MethodError(
                f"{type(self).__name__} cannot run without numbers (torch's meta device), so the memory it needs is "
                f"not known: {error}. Let forward decide nothing by values of tensors, or write a method rehearse."
            ) from error

    def facts(self, frames: int) -> dict[str, str | int]:
        """No facts: a plain network reports no decisions."""
        return {}

    def limits(self) -> dict[str, tuple[int, int]]:
        """No limits: a plain network declares none."""
        return {}

    def use_precision(self, precision: Precision) -> torch.dtype:
        """float32, the only format of a network without its own method.

        Raises
        ------
        MethodError
            If another format is requested.
        """
        if precision == "bfloat16":
            raise MethodError(f"{type(self).__name__} has no method use_precision: set precision to float32 or auto")
        return torch.float32


@cache
def adapted(network: type[nn.Module], architecture: str) -> type[Any]:
    """Subclass of a network that adds what it lacks of `Network`; parameters keep their names.

    Parameters
    ----------
    network
        A subclass of `torch.nn.Module`. Methods of its own (``use_precision``, ``rehearse``, ``facts``, ``limits``)
        are used.
    architecture
        Its name, for errors.

    Raises
    ------
    ModelError
        If it is not a module, or its forward does not take k-space, mask and maps.
    """
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise ModelError(f"{architecture}: {network!r} is no subclass of torch.nn.Module")
    parameters = [p for p in inspect.signature(network.forward).parameters.values() if p.name != "self"]
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    takes = {p.name for p in parameters}
    if len(parameters) < 3 or len(needed) > 3 + ("noise_std" in takes):
        shown = ", ".join(p.name for p in parameters)
        raise ModelError(
            f"{architecture}: {network.__name__}.forward({shown}) must take (kspace, mask, maps), and noise_std if it "
            "uses the noise"
        )
    names = [name for name in ("rehearse", "facts", "limits", "use_precision") if hasattr(network, name)]
    own = {name: getattr(network, name) for name in names}
    return type(network.__name__, (PlainSeriesNetwork, network), {"takes_noise": "noise_std" in takes, **own})
