"""Trial run of a model's network before it is used for scans."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from onebreath.errors import ModelError, OnebreathError
from onebreath.registry import RESTORATION
from onebreath.zoo.architectures import hollow
from onebreath.zoo.card import Card

if TYPE_CHECKING:
    from onebreath.networks.shared.network import Network

_USUAL = {"frames": 4, "coils": 4, "matrix_y": 32, "matrix_x": 32}
"""Size of the trial series, if the network and its card allow it."""


def try_out(network: Network, card: Card) -> None:
    """Run a network for multi-coil series on the meta device, and on a small series of noise.

    Parameters
    ----------
    network
        Network with its weights, on the CPU. Networks for magnitude images are skipped.
    card
        Its card.

    Raises
    ------
    ModelError
        If it fails, or its result is not a finite complex series of the k-space's size.
    """
    import torch

    if card.architecture in RESTORATION:
        return
    frames, coils, y, x = size = _size(network, card)
    generator = torch.Generator().manual_seed(1)
    kspace = torch.randn(1, *size, dtype=torch.complex64, generator=generator)
    mask = torch.ones(1, frames, 1, y, x, dtype=torch.bool)
    maps = torch.full((1, 1, coils, y, x), coils**-0.5, dtype=torch.complex64)
    try:
        on_meta = hollow(card.architecture, card.arguments).requires_grad_(False)
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            on_meta.rehearse(*size)
            image = network(kspace, mask, maps, torch.full((1,), 0.01))
    except OnebreathError as error:
        raise ModelError(f"model '{card.name}' fails in a trial run: {error}") from error
    except Exception as error:
        raise ModelError(
            f"model '{card.name}' fails in a trial run on a series (frame, coil, y, x) {size}: "
            f"{type(error).__name__}: {error}"
        ) from error
    wanted = (1, frames, y, x)
    if not isinstance(image, torch.Tensor) or tuple(image.shape) != wanted or not image.is_complex():
        found = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, torch.Tensor) else type(image).__name__
        raise ModelError(
            f"model '{card.name}' makes {found} in a trial run; expected complex (batch, frame, y, x) {wanted}"
        )
    if not bool(image.isfinite().all()):
        raise ModelError(f"model '{card.name}' makes values that are not finite in a trial run on noise")


def _size(network: Network, card: Card) -> tuple[int, int, int, int]:
    """Frames, coils, rows and columns that the network and the card's domain allow."""
    chosen = []
    for name, usual in _USUAL.items():
        limits = [network.limits().get(name), getattr(card.domain, name, None)]
        for limit in limits:
            if limit is not None:
                usual = int(min(max(usual, limit[0]), limit[1]))
        chosen.append(usual)
    return chosen[0], chosen[1], chosen[2], chosen[3]
