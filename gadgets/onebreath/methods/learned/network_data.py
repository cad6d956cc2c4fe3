"""Slices as input of networks: tensors on a device, and scale."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from array_api_compat import is_cupy_array, is_numpy_array

from onebreath.cancellation import checkpoint
from onebreath.errors import MethodError
from onebreath.methods.device import back, upload
from onebreath.methods.known_noise import noise_level
from onebreath.mri.fourier import ifft2c

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from onebreath.methods.base import SliceData
    from onebreath.mri import Array
    from onebreath.networks.shared.network import Network
    from onebreath.zoo.card import Card
    from onebreath.zoo.versions import LoadedModel

_stoppable: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
_lock = threading.Lock()


def to_tensor(x: Array, device: str) -> torch.Tensor:
    """Return an array as a tensor on a device, complex numbers as complex64."""
    import torch

    if is_numpy_array(x) and torch.device(device).type == "cuda":
        x = upload(x, device)
    elif is_numpy_array(x) and not x.flags.writeable:
        # torch cannot mark memory as read-only, which arrays from the wire are.
        x = x.copy()
    if is_cupy_array(x):
        x = torch.from_dlpack(x)  # the same memory, in the order of CuPy's stream
    tensor = torch.asarray(x, device=device)
    return tensor.to(torch.complex64) if tensor.is_complex() else tensor


def max_zero_filled_coil_images(kspace: torch.Tensor, mask: torch.Tensor) -> float:
    """Return the largest magnitude of all zero-filled coil images, which the training normalises to 1.

    Parameters
    ----------
    kspace : (frame, coil, y, x) complex
    mask : broadcastable to (frame, y, x)

    Raises
    ------
    MethodError
        If there is no signal.
    """
    sampled = mask.expand(kspace.shape[0], -1, -1)
    largest = max(float(ifft2c(k * m).abs().max()) for k, m in zip(kspace, sampled, strict=True))
    if largest == 0:
        raise MethodError("the sampled k-space holds nothing but zeros; check the raw data")
    return largest


def image_function(
    network: Any, data: SliceData, device: str, card: Card
) -> tuple[Callable[[Tensor], Tensor], Tensor, float]:
    """Return the images of a slice (frame, y, x) as a function of its k-space, the k-space, and the network's scale.

    Parameters
    ----------
    network
        Called with k-space, mask, maps and noise level, a batch of one.
    data
        The slice.
    device
        Where to compute.
    card
        Of the model; says along which axis the network has phase encoding.
    """
    import torch

    kspace, mask, maps = (to_tensor(x, device) for x in (data.kspace, data.mask, data.maps))
    scale = max_zero_filled_coil_images(kspace, mask)
    noise_std = torch.full((1,), noise_level(data)[0] / scale, device=kspace.device)

    if data.start is not None:
        start = to_tensor(data.start, device)[None] / scale
        network = beginning_at(network, start if card.conventions.phase_encoding == "y" else start.mT)

    def images(of: Tensor) -> Tensor:
        inputs = ((of / scale)[None], mask[None, :, None], maps[None, :1])
        if card.conventions.phase_encoding == "y":
            made: Tensor = scale * network(*inputs, noise_std)[0]
        else:
            made = scale * network(*(array.mT for array in inputs), noise_std)[0].mT
        return made

    return images, kspace, scale


def beginning_at(network: Any, image: Tensor) -> Any:
    """Return a network that begins at an image (batch, frame, y, x) where it would make an initial one; else as it is.

    One whose launches are recorded stays as it is, as it would repeat them.
    """
    from onebreath.networks.consistency.start import GivenStart
    from onebreath.networks.shared.cuda_graphs import CudaGraphNetwork
    from onebreath.networks.shared.unrolled import UnrolledNetwork

    recorded = isinstance(network, CudaGraphNetwork)
    if recorded or not isinstance(network, UnrolledNetwork) or network.start is None:
        return network
    beginning = copy.copy(network)  # with the same layers
    beginning.start = GivenStart(image)
    return beginning


def image_derivative(loaded: LoadedModel, data: SliceData, device: str) -> Callable[[Array], Array]:
    """Return the derivative of `image_function` with respect to k-space, as a function of the k-space's change."""
    from onebreath.networks.shared.derivative import directional_derivative
    from onebreath.networks.shared.precision import true_float32

    function, kspace, _ = image_function(loaded.network, data, device, loaded.card)
    change = directional_derivative(function, kspace)

    def derivative(noise: Array) -> Array:
        with true_float32(loaded.compute_dtype):
            return back(change(to_tensor(noise, device)), data.kspace)

    return derivative


def make_stoppable(network: torch.nn.Module) -> None:
    """Let a network stop between two of its layers when its time is over; see `onebreath.cancellation`."""
    with _lock:
        if network in _stoppable:
            return
        _stoppable.add(network)
    for module in network.modules():
        module.register_forward_pre_hook(lambda *_: checkpoint())


def recording(loaded: LoadedModel) -> Network:
    """The network with its launches recorded, or as it is if it cannot be: on a CPU, or without cascades.

    There is one recording of a network: all scans replay it.
    """
    with _lock:
        return loaded.recorded
