"""The compiled convolutions (``winograd.c``, ``to_few.c``, ``pixels.c``): which are loaded, and how they are called.

setup.py compiles them if there is a C compiler; without it, or on a processor that lacks AVX2, PyTorch's convolutions
are used. A second library is for processors with AVX-512.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from ctypes import c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger("onebreath.networks")


@functools.cache
def library(folder: Path = Path(__file__).parent) -> ctypes.CDLL | None:
    """Load the compiled code; None if it was not compiled, not for this processor, or is of another version.

    The library with the widest vectors that this processor has is taken.
    """
    return next((loaded for path in libraries(folder) if (loaded := load(path))), None)


def libraries(folder: Path = Path(__file__).parent) -> list[Path]:
    """List what was compiled, wide vectors first."""
    return sorted(folder.glob("_convolution*.so"), key=lambda path: ("avx512" not in path.name, path.name))


def load(path: Path) -> ctypes.CDLL | None:
    """Load one library; None if it is not for this processor, or of another version.

    Torch comes first: the threads of both are then those of one OpenMP.
    """
    try:
        loaded = ctypes.CDLL(str(path))
        _describe(loaded)
    except OSError:  # compiled for another processor or system; no libgomp
        return None
    except AttributeError as error:
        log.warning("%s is of another version (%s); PyTorch convolves. Install onebreath again", path, error)
        return None
    return loaded if loaded.onebreath_runs_here() else None


def _describe(loaded: ctypes.CDLL) -> None:
    """Tell ctypes what the functions take."""
    loaded.onebreath_prepare.argtypes = [c_void_p, c_void_p, c_int64, c_int64, c_int, c_int, c_int]
    loaded.onebreath_prepare.restype = None
    images: list[type[Any]] = [c_void_p, c_void_p, c_int64]
    loaded.onebreath_convolve.argtypes = [*images, c_void_p, c_int64, *[c_void_p] * 3, *[c_int64] * 5, *[c_int] * 3]
    loaded.onebreath_convolve_pixels.argtypes = [*[c_void_p] * 5, *[c_int64] * 3, *[c_int] * 2]
    loaded.onebreath_convolve_in_time.argtypes = [*[c_void_p] * 4, *[c_int64] * 5, *[c_int] * 3]
    loaded.onebreath_convolve_to_few.argtypes = [*[c_void_p] * 4, *[c_int64] * 7, c_int]


def runs(*tensors: Tensor) -> bool:
    """Whether the compiled code can take such tensors: float32 on a CPU, without derivatives or autocasting.

    Derivatives in forward mode are made without gradients, too; so inference mode is what counts.
    """
    plain = all(one.device.type == "cpu" and one.dtype == torch.float32 for one in tensors)
    asked = torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
    return plain and asked and library() is not None


def code_for(device: str, dtype: torch.dtype) -> str:
    """``compiled`` if networks convolve by this code on a device and in a format, else ``torch``."""
    return "compiled" if device == "cpu" and dtype == torch.float32 and library() is not None else "torch"


def call(name: str, *arguments: object) -> None:
    """Call ``onebreath_NAME`` with PyTorch's number of threads; raises MemoryError if their memory is short."""
    threads = torch.get_num_threads()
    if getattr(library(), f"onebreath_{name}")(*arguments, threads):
        raise MemoryError(f"no memory for the tiles of {threads} threads")


def address(tensor: Tensor | None) -> int | None:
    """Address of numbers that the compiled code reads; it cannot know what they are, so only those are let through."""
    if tensor is None:
        return None
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise TypeError(f"a tensor is {tensor.dtype} on {tensor.device}, expected torch.float32 on cpu")
    return tensor.data_ptr()
