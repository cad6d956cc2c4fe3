"""The version of a model used by a scan: read and checked once, and the same for all its slices."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from onebreath.zoo.card import Card, read_card
from onebreath.zoo.last_good import LastGood
from onebreath.zoo.search import find
from onebreath.zoo.store import assemble, decode, read_weights_file
from onebreath.zoo.trial import try_out

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from onebreath.networks.shared.network import Network
    from onebreath.networks.shared.precision import Precision


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to run, with its card and folder. It is shared and must not be changed."""

    network: Network
    card: Card
    folder: Path
    compute_dtype: torch.dtype

    @cached_property
    def recorded(self) -> Network:
        """The network with CUDA graphs on a GPU; itself on a CPU, or if it is not an unrolled network."""
        from onebreath.networks.shared.cuda_graphs import CudaGraphNetwork
        from onebreath.networks.shared.unrolled import UnrolledNetwork

        if not isinstance(self.network, UnrolledNetwork) or next(self.network.parameters()).device.type != "cuda":
            return self.network
        return CudaGraphNetwork(self.network).eval()


@dataclass
class _Copies:
    """Networks with one version's weights, by device and precision."""

    made: dict[tuple[str, str], LoadedModel] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Version:
    """A model at the start of a scan, unaffected by later changes of its folder.

    Attributes
    ----------
    card, folder
        Card and folder of the model.
    warning
        Reason why the folder's current content is not used; empty if it is.
    """

    card: Card
    folder: Path
    warning: str = ""
    _state: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _copies: _Copies = field(default_factory=_Copies, repr=False)

    def on(self, device: str = "cpu", precision: Precision = "float32") -> LoadedModel:
        """Network on a torch device, made once per device and precision of convolutions."""
        key = (device, precision)
        with self._copies.lock:
            if key not in self._copies.made:
                network = assemble(self.card.architecture, self.card.arguments, self._state, self.card.name).to(device)
                dtype = network.use_precision(precision)
                self._copies.made[key] = LoadedModel(network, self.card, self.folder, dtype)
            return self._copies.made[key]


def _read(folder: Path) -> Version:
    from onebreath.networks.shared.plain import PlainSeriesNetwork

    card = read_card(folder)
    state = decode(read_weights_file(folder, card), str(folder / card.weights.file))
    version = Version(card, folder, _state=state)
    network = version.on().network  # assembling checks every parameter
    if isinstance(network, PlainSeriesNetwork):  # those of this package are tried by its tests
        try_out(network, card)
    return version


_versions = LastGood(_read, "*")


def current(name: str) -> Version:
    """The version of a model for a scan that begins now, fully checked.

    It is read again when a file in its folder changes. While the folder is invalid, the last good version in this
    process stays in force, and its `warning` says so.

    Parameters
    ----------
    name
        ``architecture.tag``.

    Raises
    ------
    ModelError
        If there is no such model, or its card, hash or parameters are invalid and no good version was seen before.
    """
    kept = _versions.get(find(name))
    return replace(kept.value, warning=kept.warning) if kept.warning else kept.value


def load(name: str, device: str = "cpu", precision: Precision = "float32") -> LoadedModel:
    """The current version of a model on a device; see `current` and `Version.on`."""
    return current(name).on(device, precision)
