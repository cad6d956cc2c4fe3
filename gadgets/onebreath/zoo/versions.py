"""The version of a model that a scan uses: read and checked once, then the same from the first slice to the last."""

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
    """A network ready to run, with its card and folder. It is shared: never change it."""

    network: Network
    card: Card
    folder: Path
    compute_dtype: torch.dtype

    @cached_property
    def recorded(self) -> Network:
        """The network as it replays its launches on a GPU; itself on a CPU, and where it has no cascades."""
        from onebreath.networks.shared.cuda_graphs import CudaGraphNetwork
        from onebreath.networks.shared.unrolled import UnrolledNetwork

        if not isinstance(self.network, UnrolledNetwork) or next(self.network.parameters()).device.type != "cuda":
            return self.network
        return CudaGraphNetwork(self.network).eval()


@dataclass
class _Copies:
    """Networks made of one version's weights, by device and precision."""

    made: dict[tuple[str, str], LoadedModel] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Version:
    """A model as it stood when a scan began; a change of its folder does not reach it.

    Attributes
    ----------
    card, folder
        Of the model.
    warning
        Why this is not what the folder holds now; empty: it is.
    """

    card: Card
    folder: Path
    warning: str = ""
    _state: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _copies: _Copies = field(default_factory=_Copies, repr=False)

    def on(self, device: str = "cpu", precision: Precision = "float32") -> LoadedModel:
        """Return the network on a device, as torch names it, made once per device and precision of convolutions."""
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
    """Return the version of a model that a scan beginning now uses, checked number for number.

    It is read again when a file in its folder changes. While the folder is wrong, the last version that was good in
    this process stays in force, and its `warning` says so.

    Parameters
    ----------
    name
        ``architecture.tag``.

    Raises
    ------
    ModelError
        If there is no such model, or its card, hash or parameters are wrong and none was good before.
    """
    kept = _versions.get(find(name))
    return replace(kept.value, warning=kept.warning) if kept.warning else kept.value


def load(name: str, device: str = "cpu", precision: Precision = "float32") -> LoadedModel:
    """Load the current version of a model; see `current` and `Version.on`."""
    return current(name).on(device, precision)
