"""L+S on one simulated cine slice: objective and error over the iterations of three algorithms, and seconds.

`published` and `accelerated` take steps along the gradient; `split` solves the data step exactly. All minimise the same
function here; as a method, `split` has weights in units of the noise, and stops after 15 steps.

The slice is a disc that changes its radius, seen through smooth coil maps, with noise. Frames share their lines, or
with ``--varying`` shift them by one from frame to frame. Seconds are those of a whole call, wall clock and processor
time: on a machine with other work the second says more.

    OMP_NUM_THREADS=2 python -m benchmarks.low_rank_sparse
    python -m benchmarks.low_rank_sparse --backend cuda --varying
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
from array_api_compat import to_device

from benchmarks.classical import cine_slice
from benchmarks.table import table
from onebreath.methods.base import SliceData
from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.methods.low_rank_sparse.problem import Problem
from onebreath.methods.low_rank_sparse.split import exact_data_step, split_steps
from onebreath.mri import Array
from onebreath.mri.fourier import fft2c
from onebreath.mri.sampling import describe

ALGORITHMS = ("published", "accelerated", "split")
SHOWN = (1, 2, 5, 10, 15, 20, 25, 30, 40, 50)


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--matrix", type=int, nargs=2, default=(192, 160), metavar=("Y", "X"))
    parser.add_argument("--coils", type=int, default=10)
    parser.add_argument("--acceleration", type=int, default=8)
    parser.add_argument("--acs", type=int, default=16, help="calibration lines")
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--varying", action="store_true", help="every frame has lines of its own")
    parser.add_argument("--backend", choices=["numpy", "torch", "cuda"], default="numpy")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    data, truth = moving_slice(options)
    data = replace(
        data, **{name: _convert(getattr(data, name), options.backend) for name in ("kspace", "mask", "maps")}
    )
    print(seconds_table(data, options))
    print()
    print(curve_table(data, truth, options))


def moving_slice(options: argparse.Namespace) -> tuple[SliceData, Array]:
    """A slice with a disc that changes its radius, noise of 1, and its true images (frame, y, x)."""
    ny, nx = options.matrix
    plain = cine_slice(options.frames, ny, nx, options.coils, options.acceleration, options.acs)
    y, x = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    radius = 0.25 + 0.05 * np.sin(2 * np.pi * np.arange(options.frames) / options.frames)[:, None, None]
    body, heart = np.hypot(y / 0.8, x / 0.75) < 1, np.hypot(y - 0.1, x + 0.15) < radius
    truth = (100 * (body + 2 * heart) * np.exp(0.5j * x)).astype(np.complex64)
    mask = np.repeat(plain.mask, options.frames, axis=0)
    if options.varying:
        mask = np.stack([np.roll(lines, frame, axis=0) for frame, lines in enumerate(mask)])
        mask |= plain.mask & np.roll(plain.mask, 1, axis=1)  # lines beside each other: the calibration lines stay
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, *plain.kspace.shape)).astype(np.float32)
    kspace = (fft2c(plain.maps * truth[:, None]) + noise[0] + 1j * noise[1]) * mask[:, None]
    return SliceData(kspace.astype(np.complex64), mask, None, 0, plain.maps, describe(mask)), truth


def seconds_table(data: SliceData, options: argparse.Namespace) -> str:
    """Wall-clock and processor seconds of a whole call with all iterations."""
    rows = []
    for algorithm in ALGORITHMS:
        chosen = "noise" if algorithm == "split" else algorithm
        method = LowRankSparse(algorithm=chosen, iterations=options.iterations, tolerance=0)
        wall, busy = _seconds(partial(method, data), options)
        rows.append((algorithm, f"{wall:.3f}", f"{busy:.3f}", f"{1000 * wall / options.iterations:.1f}"))
    title = (
        f"L+S: {options.frames} frames, {options.matrix[0]} x {options.matrix[1]}, {options.coils} coils, "
        f"R = {options.acceleration}, {options.iterations} iterations, {options.backend}, best of {options.repeat}; "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}, load average {os.getloadavg()[0]:.1f}"
    )
    columns = ("algorithm", "seconds", "processor seconds", "ms per iteration")
    return table(title, columns, rows, ("numpy", "scipy", "torch"))


def curve_table(data: SliceData, truth: Array, options: argparse.Namespace) -> str:
    """Objective and error after some iterations, and when the accelerated form passes the published one."""
    problem = Problem.of(data)
    curves = {name: _curve(problem, name, truth, options.iterations) for name in ALGORITHMS}
    last = curves["published"][-1][0]
    reached = [next((i for i, (value, _) in enumerate(curves[one], 1) if value <= last), None) for one in ALGORITHMS]
    rows = [
        (i, *(f"{value:.4g}" for name in ALGORITHMS for value in curves[name][i - 1]))
        for i in SHOWN
        if i <= options.iterations
    ]
    title = (
        f"Objective (lambda_L fixed at its part of the largest zero-filled singular value) and relative error; "
        f"{'lines of its own in every frame' if options.varying else 'the same lines in all frames'}. The published "
        f"one's objective after {options.iterations} iterations is reached by accelerated in iteration {reached[1]}, "
        f"by split in {reached[2]}."
    )
    columns = ("iteration", *(f"{what}, {name}" for name in ALGORITHMS for what in ("objective", "error")))
    return table(title, columns, rows)


def _curve(problem: Problem, algorithm: str, truth: Array, iterations: int) -> list[tuple[float, float]]:
    """Objective and relative error after every iteration, with the default thresholds."""
    low_rank, sparse = LowRankSparse(algorithm="published").parameters.thresholds
    assert sparse is not None
    weight, curve = problem.weight(low_rank), []
    if algorithm == "split":
        penalty = problem.penalty(weight)
        steps = split_steps(problem, weight, sparse, 0.0, penalty, exact_data_step(problem, penalty))
    else:
        steps = problem.steps(algorithm, low_rank, sparse)
    for step in islice(steps, iterations):
        images = np.asarray(to_device(problem.images(step.low_rank + step.sparse)[0], "cpu")) * problem.scale
        error = float(np.linalg.norm(images - truth) / np.linalg.norm(truth))
        curve.append((problem.objective(step, weight, sparse), error))
    return curve


def _seconds(run: Callable[[], object], options: argparse.Namespace) -> tuple[float, float]:
    """Best wall-clock and best processor seconds of some runs, after one that pays for set-up."""
    wall, busy = [], []
    for _ in range(options.repeat + 1):
        started, used = time.perf_counter(), time.process_time()
        run()
        if options.backend == "cuda":
            import torch

            torch.cuda.synchronize()
        wall.append(time.perf_counter() - started)
        busy.append(time.process_time() - used)
    return min(wall[1:]), min(busy[1:])


def _convert(array: Array, backend: str) -> Array:
    if backend == "numpy":
        return array
    import torch

    return torch.asarray(array, device="cuda" if backend == "cuda" else "cpu")


if __name__ == "__main__":
    main()
