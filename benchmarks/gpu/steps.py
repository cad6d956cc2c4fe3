"""Training steps by size of the batch: seconds, memory, and floating-point operations."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.crunet_mr import Task, make_inputs
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR

_BATCH_FILE = "batch.json"
FRAMES, LINES, COLUMNS = 12, 160, 48
"""Size of a training example: all lines, a strip of columns."""
_RUNS = 3


@dataclass(frozen=True)
class Step:
    """A training step that was measured; `flops` are those of convolutions and matrix products, both ways."""

    batch: int
    size: tuple[int, int, int]
    dtype: str
    seconds: float
    flops: float
    memory_gib: float

    @property
    def examples_per_second(self) -> float:
        """Examples a second."""
        return self.batch / self.seconds

    def __str__(self) -> str:
        """What was run."""
        return f"batch {self.batch} of {' x '.join(map(str, self.size))}, {self.dtype}"


def training_step(task: Task, most: int) -> Iterator[Step]:
    """Measure steps of AdamW with batches 1, 2, 4, ... until memory or `most` ends it.

    Parameters
    ----------
    task
        Network and device; its series size says only whether this is a rehearsal on tiny ones.
    most
        Largest batch.
    """
    gpu = task.device == "cuda"
    torch.manual_seed(0)
    network = CRUNetMR(channels=task.channels, cascades=task.cascades).to(task.device)
    dtype = str(network.use_precision("auto")).removeprefix("torch.")
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=gpu)
    one = example(task)
    size = (one[0].shape[1], *one[0].shape[3:])
    flops = _flops(network, one)
    batch = 1
    while batch <= most:
        try:
            inputs = [array.expand(batch, *array.shape[1:]).contiguous() for array in one]
            seconds, memory = _measure(network, optimiser, inputs, gpu)
        except torch.cuda.OutOfMemoryError:
            return
        finally:
            if gpu:
                torch.cuda.empty_cache()
        yield Step(batch, size, dtype, seconds, batch * flops, memory)
        if gpu and 2 * memory > torch.cuda.mem_get_info()[1] / 2**30:
            return
        batch *= 2


def keep_batch(work: Path, batch: int, task: Task) -> None:
    """Note the batch that was the fastest, and with which device and network."""
    (work / _BATCH_FILE).write_text(json.dumps({"batch": batch, **_measured_with(task)}), encoding="utf-8")


def kept_batch(work: Path, task: Task) -> int | None:
    """The batch that was measured to be the fastest; None, with a word, if that was with another device or network."""
    file = work / _BATCH_FILE
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    batch, now = int(found.pop("batch")), _measured_with(task)
    if found != now:
        print(f"batch {batch} is not used: it was measured with {found or 'what is not known'}, not {now}", flush=True)
        return None
    return batch


def _measured_with(task: Task) -> dict[str, Any]:
    device = "CPU"
    if task.device == "cuda":
        device = f"{torch.cuda.get_device_name()}, {torch.cuda.get_device_properties(0).total_memory >> 30} GiB"
    return {"device": device, "channels": task.channels, "cascades": task.cascades}


def example(task: Task) -> tuple[torch.Tensor, ...]:
    """K-space, mask and maps of one training example; on a CPU as small as the series of the task."""
    frames, coils, ny, nx = task.size
    size = (FRAMES, coils, LINES, COLUMNS) if task.device == "cuda" else (frames, coils, ny, nx)
    return make_inputs(Task(size, device=task.device))


def gradient(network: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    """Compute the gradient of a loss of the network's images."""
    network(*inputs).abs().mean().backward()


def _flops(network: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> float:
    with FlopCounterMode(display=False) as counter:
        gradient(network, inputs)
    network.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


def _measure(
    network: torch.nn.Module, optimiser: torch.optim.Optimizer, inputs: Sequence[torch.Tensor], gpu: bool
) -> tuple[float, float]:
    """Seconds of the fastest step, and the peak of the memory in GiB (0 on a CPU)."""
    found = []
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(_RUNS):
        begun = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        gradient(network, inputs)
        optimiser.step()
        if gpu:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - begun)
    return min(found), torch.cuda.max_memory_allocated() / 2**30 if gpu else 0.0
