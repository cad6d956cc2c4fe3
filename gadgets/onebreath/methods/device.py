"""Compute devices of methods: numpy on the CPU, or torch on a GPU."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from array_api_compat import array_namespace, is_cupy_array, is_numpy_array, is_torch_array
from array_api_compat import device as array_device

from onebreath.errors import MethodError
from onebreath.methods.base import SliceData
from onebreath.mri import Array

Device: TypeAlias = Literal["auto", "cpu", "cuda"]


def place(data: SliceData, device: Device) -> tuple[SliceData, str]:
    """Move a slice to the device that reconstructs it.

    `auto` leaves torch and cupy arrays where they are, and takes numpy arrays to the GPU if torch sees one.

    Parameters
    ----------
    data
        The slice, of any array library.
    device
        What the configuration asks for.

    Returns
    -------
    tuple
        The slice there, and its description ("numpy cpu", "torch cuda:0", ...).

    Raises
    ------
    MethodError
        If `cuda` is requested and torch is missing or finds no GPU.
    """
    if device == "cuda" and not _cuda():
        raise MethodError(
            "device 'cuda' was asked for, but there is no torch that sees a CUDA device; use 'auto' or 'cpu'"
        )
    if device == "cpu" and _is_torch(data.kspace):
        data = _moved(data, lambda x: x.to("cpu"))
    elif is_numpy_array(data.kspace) and (device == "cuda" or (device == "auto" and _cuda())):
        data = _moved(data, upload)
    elif device == "cuda" and _is_torch(data.kspace):
        data = _moved(data, lambda x: x.to("cuda"))
    library = type(data.kspace).__module__.partition(".")[0]
    return data, f"{library} {getattr(data.kspace, 'device', 'cpu')}"


def back(x: Array, like: Array) -> Array:
    """Return `x` as an array of the library and on the device of `like`."""
    if _is_torch(x) and is_numpy_array(like):
        return x.cpu().numpy()
    if _is_torch(x) and is_cupy_array(like):
        return array_namespace(like).from_dlpack(x.to("cuda").contiguous())
    return array_namespace(like).asarray(x, device=array_device(like))


def as_numpy(data: SliceData) -> SliceData:
    """Return the slice as numpy arrays, for methods that only run on the CPU."""
    if is_numpy_array(data.kspace):
        return data
    return _moved(data, lambda x: x.cpu().numpy() if _is_torch(x) else x.get())


def _is_torch(x: Array) -> bool:
    """Whether an array is torch's; those of numpy are told first, as it fails while a thread imports torch."""
    return not is_numpy_array(x) and is_torch_array(x)


def _moved(data: SliceData, move: Any) -> SliceData:
    acs = None if data.acs is None else move(data.acs)
    maps = None if data.maps is None else move(data.maps)
    return replace(data, kspace=move(data.kspace), mask=move(data.mask), acs=acs, maps=maps)


def upload(x: np.ndarray, device: str = "cuda") -> Array:
    """Copy an array to a tensor on a GPU, through page-locked memory, which torch keeps for reuse.

    The transfer reads that memory directly while the caller goes on. Arrays from the wire are read-only, which torch
    does not know: they would have to be copied anyway.
    """
    import torch

    held = torch.empty(x.shape, dtype=torch.from_numpy(np.empty(0, x.dtype)).dtype, pin_memory=True)
    held.numpy()[...] = x
    return held.to(device, non_blocking=True)


def _cuda() -> bool:
    """Return whether torch is installed and finds a GPU; its import takes seconds, so it is tried only if installed."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())
