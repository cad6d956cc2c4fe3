"""Networks that derive from nothing of this package: any module with ``forward(kspace, mask, maps)`` will do."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from onebreath.errors import MethodError, ModelError
from onebreath.networks.shared.precision import Precision


class PlainSeriesNetwork:
    """The interface `Network` for a plain module that does not have it; see `adapted`."""

    runs_in_pieces: ClassVar[bool] = False
    takes_noise: ClassVar[bool] = False
    """Whether ``forward`` takes ``noise_std`` as well."""

    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None) -> Tensor:
        """Reconstruct; see `onebreath.networks.shared.series_network.SeriesNetwork`."""
        noise = (noise_std,) if self.takes_noise else ()
        image: Tensor = super().forward(kspace, mask, maps, *noise)  # type: ignore[misc]
        return image

    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run on a series of this size that holds no numbers.

        Raises
        ------
        MethodError
            If the network cannot run on the `meta` device, so that its memory is not known.
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
        """Return nothing: the network decides nothing by itself."""
        return {}

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return nothing: no size is known that the network cannot run on."""
        return {}

    def use_precision(self, precision: Precision) -> torch.dtype:
        """Return float32, the only format that a network without this method is run in.

        Raises
        ------
        MethodError
            If another one is asked for.
        """
        if precision == "bfloat16":
            raise MethodError(f"{type(self).__name__} has no method use_precision: set precision to float32 or auto")
        return torch.float32


@cache
def adapted(network: type[nn.Module], architecture: str) -> type[Any]:
    """Return the class with what it lacks of `Network`; names of parameters, and their values, stay as they are.

    Parameters
    ----------
    network
        A subclass of `torch.nn.Module`. What it defines itself (``use_precision``, ``rehearse``, ``facts``, ``limits``)
        is used.
    architecture
        Its name, for errors.

    Raises
    ------
    ModelError
        If it is no module, or its forward does not take k-space, mask and maps.
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
