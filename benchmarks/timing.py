"""Seconds and peak memory of subjects that compute the same, each in a process of its own, and the table of them."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks.table import table
from onebreath.networks.shared.precision import true_float32

GIB = 2**30
Job = TypeVar("Job")
Found = TypeVar("Found")
Work = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """Seconds of each run, peak memory in GiB, the image, and seconds of the processor of each run, of all threads."""

    seconds: list[float]
    peak: float
    image: Tensor
    processor: list[float] = field(default_factory=list)


def time_runs(step: Callable[[], Tensor], runs: int, device: str) -> Result:
    """Run a step in this process; before several runs there is one more, which pays for set-up.

    Float32 is float32, without TF32. Peak memory is resident memory on a CPU (the most that the process ever held,
    PyTorch included), allocated memory on a GPU.
    """
    gpu, seconds, processor = device.startswith("cuda"), [], []
    for _ in range(runs + (runs > 1)):
        started = time.perf_counter(), time.process_time()
        with true_float32(torch.float32):
            image = step()
        if gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
    peak = torch.cuda.max_memory_allocated() if gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Result(seconds[-runs:], peak / GIB, image.cpu(), processor[-runs:])


def timed(work: Work) -> float:
    """Seconds of a work, or those that it returns."""
    begun = time.perf_counter()
    found = work()
    return found if isinstance(found, float) else time.perf_counter() - begun


def in_turns(works: Sequence[Work], repeat: int) -> list[list[float]]:
    """Seconds of each work in each of the turns, after one run of each that warms up."""
    for work in works:
        work()
    return [[timed(work) for work in works] for _ in range(repeat)]


def apart(run: Callable[[str, Job], Found], job: Job, subjects: Sequence[str]) -> dict[str, Found]:
    """Run each subject in a process of its own, so that peak memory is its own."""
    results = {}
    for who in subjects:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results[who] = pool.apply(run, (who, job))
    return results


def place(device: str) -> str:
    """Name the GPU, or the threads that PyTorch uses."""
    return torch.cuda.get_device_name() if device.startswith("cuda") else f"{torch.get_num_threads()} threads"


def comparison(title: str, results: dict[str, Result]) -> str:
    """Write results as a Markdown table; ratios and errors are to the first."""
    columns = ("who", "seconds, min", "seconds, median", "ratio of min", "relative error", "peak memory, GiB")
    base = next(iter(results.values()))
    rows = []
    for who, result in results.items():
        error = float((result.image - base.image).abs().max() / base.image.abs().max())
        best, median = min(result.seconds), statistics.median(result.seconds)
        ratio = min(base.seconds) / best
        rows.append((who, f"{best:.2f}", f"{median:.2f}", f"{ratio:.2f}", f"{error:.1e}", f"{result.peak:.2f}"))
    return table(title, columns, rows, ("torch",))


def series_arguments(text: str | None, size: Sequence[int], runs: int = 3) -> argparse.ArgumentParser:
    """Make a parser with the arguments of every benchmark of a series."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=4, default=size, metavar=("FRAMES", "COILS", "Y", "X"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=runs)
    return parser
