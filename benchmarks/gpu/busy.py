"""How busy a device is during a run, and with what: whether launches or kernels take the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_ROWS = 15


@dataclass(frozen=True)
class Busy:
    """Seconds of a run, seconds of them in kernels, and how many kernels there were."""

    seconds: float
    kernels: float
    count: int

    def __str__(self) -> str:
        """In words."""
        share = 100 * self.kernels / self.seconds
        return f"{self.count} kernels, {1e3 * self.kernels:.1f} ms of {1e3 * self.seconds:.1f} ms ({share:.0f} %)"


def busy(run: Callable[[], Any], device: str) -> Busy:
    """Profile a run after one that is not counted; prints where most time went.

    On a CPU operators stand in for kernels.
    """
    gpu = device == "cuda"
    run()
    _wait(gpu)
    begun = time.perf_counter()
    run()
    _wait(gpu)
    seconds = time.perf_counter() - begun
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as found:
        run()
        _wait(gpu)
    averages = found.key_averages()
    key = "self_device_time_total" if gpu else "self_cpu_time_total"
    print(averages.table(sort_by=key, row_limit=_ROWS, max_name_column_width=70), flush=True)
    on_device = [one for one in averages if one.device_type == torch.autograd.DeviceType.CUDA] if gpu else averages
    return Busy(seconds, sum(getattr(one, key) for one in on_device) / 1e6, sum(one.count for one in on_device))


def _wait(gpu: bool) -> None:
    if gpu:
        torch.cuda.synchronize()
