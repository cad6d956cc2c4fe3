"""Time and memory of a training step, of drawing an example, and of preparing a slice.

    python -m benchmarks.training                          # the demo, and the shipped robust model
    python -m benchmarks.training --recipe models/recipes/crunet_mr.paper.yaml --shape 12 204 448 --steps 2

Slices are random with ten coils. Each recipe runs in a process of its own, so that peak memory is its own: the resident
memory that the process ever held, PyTorch included.
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.table import table
from onebreath.mri.coils import rss
from onebreath.training.data.scanning import ScanSettings, make_scan
from onebreath.training.data.series import ImageSeries, PreparedSlice
from onebreath.training.demo import demo_recipe
from onebreath.training.recipe import Recipe, read_recipe
from onebreath.training.state.distributed import Group
from onebreath.training.trainer import Trainer

ROBUST = Path(__file__).parents[1] / "models" / "recipes" / "crunet_mr.robust.yaml"
COILS = 10


class Measured(NamedTuple):
    """Seconds of each step and of each example, and the peak memory in GiB."""

    steps: list[float]
    examples: list[float]
    memory: float


def random_slice(shape: tuple[int, int, int]) -> PreparedSlice:
    """A slice ``(frame, y, x)`` of noise: the time of a step does not depend on the values."""
    rng = np.random.default_rng(0)
    frames, ny, nx = shape
    image = (rng.standard_normal((frames, 1, ny, nx, 2)).astype(np.float32) * 30).view(np.complex64)[..., 0]
    coils = rng.standard_normal((COILS, ny, nx, 2)).astype(np.float32).view(np.complex64)[..., 0]
    maps = coils / rss(coils, 0)
    return PreparedSlice("random", "slice", image, maps, maps, np.ones((1, ny), bool))


def measure(recipe: Recipe, shape: tuple[int, int, int], steps: int) -> Measured:
    """Run `steps` steps after one that is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        group = Group(0, 1, torch.device("cpu"))
        trainer = Trainer(recipe, [random_slice(shape)], [], Path(folder), group)
        drawn, done = [], []
        for index in range(steps + 1):
            begun = time.perf_counter()
            batch = {name: value[None] for name, value in trainer.examples[index].items()}
            drawn.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            trainer.train_step(batch)
            done.append(time.perf_counter() - begun)
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
    return Measured(done[1:], drawn[1:], memory)


def preparation_seconds() -> float:
    """Seconds to simulate the scan of one slice of 20 frames, 192 x 192."""
    images = np.abs(random_slice((20, 192, 192)).image[:, 0])
    begun = time.perf_counter()
    make_scan(ImageSeries("random", "slice", images, (1.4, 1.4)), ScanSettings(), (0,))
    return time.perf_counter() - begun


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, action="append", help="recipe to measure (default: demo and robust)")
    parser.add_argument("--shape", type=int, nargs=3, default=(20, 160, 160), metavar=("FRAMES", "Y", "X"))
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    recipes = [read_recipe(path) for path in args.recipe] if args.recipe else [demo_recipe(), read_recipe(ROBUST)]
    rows = []
    for recipe in recipes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (recipe, tuple(args.shape), args.steps))
        rows.append(
            (
                recipe.name,
                f"{min(found.steps):.2f}",
                f"{statistics.median(found.steps):.2f}",
                f"{statistics.median(found.examples):.3f}",
                f"{found.memory:.2f}",
            )
        )
    title = (
        f"Training on {torch.get_num_threads()} threads, float32; slices of {'x'.join(map(str, args.shape))}, {COILS} "
        f"coils. Simulating the scan of one slice of 20x192x192 takes {preparation_seconds():.2f} s."
    )
    columns = ("recipe", "s per step, min", "s per step, median", "s per example", "peak memory, GiB")
    print(table(title, columns, rows, ("torch", "numpy")))


if __name__ == "__main__":
    main()
