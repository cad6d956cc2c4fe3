"""Devices that a network may run on."""

from __future__ import annotations

from onebreath.errors import MethodError


def devices_to_try(device: str) -> list[str]:
    """List devices in the order of preference; only the named one if a device is named.

    Raises
    ------
    MethodError
        If a GPU is named that torch does not see.
    """
    import torch

    if device == "cpu":
        return ["cpu"]
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return [f"cuda:{torch.cuda.current_device()}", "cpu"] if there else ["cpu"]
    index = int(device.partition(":")[2] or 0)
    if index >= there:
        raise MethodError(f"device is '{device}', but torch sees {there} CUDA devices; use 'auto' or 'cpu'")
    return [f"cuda:{index}"]


def device_text(device: str) -> str:
    """Return the name of a device, with that of the GPU."""
    import torch

    return device if device == "cpu" else f"{device} {torch.cuda.get_device_name(device)}"
