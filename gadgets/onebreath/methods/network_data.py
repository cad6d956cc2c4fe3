"""Slices as networks take them: tensors on a device, a scale, and convolutions in the precision that was asked for."""

from __future__ import annotations

import threading
import weakref
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from array_api_compat import is_numpy_array

from onebreath.errors import MethodError
from onebreath.methods.deadline import checkpoint
from onebreath.mri.fourier import ifft2c

if TYPE_CHECKING:
    import torch

    from onebreath.mri import Array

_stoppable: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
_lock = threading.Lock()


def to_tensor(x: Array, device: str) -> torch.Tensor:
    """The array as a tensor, numbers as complex64, on a device."""
    import torch

    if is_numpy_array(x) and not x.flags.writeable:
        # torch cannot mark memory as read-only, which arrays from the wire are.
        x = x.copy()
    tensor = torch.asarray(x, device=device)
    return tensor.to(torch.complex64) if tensor.is_complex() else tensor


def max_zero_filled_coil_images(kspace: torch.Tensor, mask: torch.Tensor) -> float:
    """Largest magnitude of the zero-filled coil images of all frames: what the models were trained to see as 1.

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


def true_float32(dtype: torch.dtype) -> AbstractContextManager[None]:
    """Keep convolutions in float32 from being rounded to 10 bits (TF32), as GPUs do by default."""
    import torch

    if dtype != torch.float32 or not torch.cuda.is_available():
        return nullcontext()
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    )


def make_stoppable(network: torch.nn.Module) -> None:
    """Let a network end between two of its layers once its time is over; see `onebreath.methods.deadline`."""
    with _lock:
        if network in _stoppable:
            return
        _stoppable.add(network)
    for module in network.modules():
        module.register_forward_pre_hook(lambda *_: checkpoint())
