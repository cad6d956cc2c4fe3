"""Number formats of a network's convolutions; data consistency always keeps that of the k-space."""

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from onebreath.errors import ModelError
from onebreath.settings import settings

Precision = Literal["float32", "bfloat16", "auto"]


def bfloat16_is_native(device: torch.device) -> bool:
    """Whether the device computes bfloat16 convolutions in hardware (emulation is slower than float32).

    On a CPU this needs AVX512-BF16 or AMX; False if PyTorch does not report them, or if ``ONEDNN_MAX_CPU_ISA`` forbids
    them (see `onebreath.threads.narrow_vectors`).
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu" and not _forbidden() and hasattr(torch.cpu, "get_capabilities"):
        features = torch.cpu.get_capabilities()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return False


def _forbidden() -> bool:
    """Whether oneDNN is limited to instructions without bfloat16."""
    limit = settings().onednn_max_cpu_isa.upper()
    return limit not in ("DEFAULT", "ALL") and "BF16" not in limit and "AMX" not in limit


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Number format of the convolutions.

    Parameters
    ----------
    precision
        ``auto`` means bfloat16 where the device has it in hardware, else float32.
    device
        Device of the network.

    Raises
    ------
    ModelError
        If the precision is unknown, or bfloat16 is requested on a device without it.
    """
    if precision not in get_args(Precision):
        raise ModelError(f"precision is {precision!r}, expected one of {', '.join(get_args(Precision))}")
    native = precision != "float32" and bfloat16_is_native(device)
    if precision == "bfloat16" and not native and device.type == "cpu" and _forbidden():
        raise ModelError(
            "precision is 'bfloat16', but oneDNN may use no bfloat16 arithmetic, as ONEDNN_MAX_CPU_ISA is "
            f"{settings().onednn_max_cpu_isa}; set it to DEFAULT in the environment, or use 'float32' or 'auto'"
        )
    if precision == "bfloat16" and not native:
        raise ModelError(f"precision is 'bfloat16', but {device} has no bfloat16 arithmetic; use 'float32' or 'auto'")
    return torch.bfloat16 if native else torch.float32


class _WithoutTf32(AbstractContextManager[None]):
    """Context without TF32 in cuDNN, for several threads at once.

    The switch is the process's: the first who enters turns TF32 off, and the last who leaves sets it as it was.
    """

    def __init__(self) -> None:
        self._lock, self._users, self._before = threading.Lock(), 0, True

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._before = torch.backends.cudnn.allow_tf32
                torch.backends.cudnn.allow_tf32 = False
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                torch.backends.cudnn.allow_tf32 = self._before


_without_tf32 = _WithoutTf32()


def true_float32(dtype: torch.dtype) -> AbstractContextManager[None]:
    """Context in which float32 is float32: without TF32, in which GPUs round convolutions to 10 bits by default.

    Nothing changes for other formats.
    """
    return _without_tf32 if dtype == torch.float32 else nullcontext()
