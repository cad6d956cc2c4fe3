"""Speed of training: steps and examples of each recipe, and their share of what the processor can do.

    python -m benchmarks.training                          # the networks whose weights are shipped
    python -m benchmarks.training --recipe models/recipes/crunet_mr.paper.yaml --shape 12 204 448 --steps 2

Data are random, or made from phantoms and clips where a recipe makes its own: no file is needed, and a step takes as
long. Each recipe runs in a process of its own, so that peak memory is its own: the resident memory that the process
ever held, PyTorch included. Operations are those of convolutions, matrix products and attention, forward and backward;
what a processor can do is the rate of its best product of two 2048 x 2048 matrices in the precision of the training.
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.utils.data import default_collate
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.table import table
from onebreath.mri.coils import rss
from onebreath.training.data.scanning import ScanSettings, make_scan
from onebreath.training.data.series import ImageSeries, PreparedSlice
from onebreath.training.recipe import Recipe, read_recipe
from onebreath.training.restoration import StoredImages
from onebreath.training.state.distributed import Group
from onebreath.training.trainer import Trainer

RECIPES = Path(__file__).parents[1] / "models" / "recipes"
SHIPPED = (
    "crunet_mr.noise_aware", "crunet_mr.small", "crunet_mr.small_bank_conv", "crunet_mr.small_bank_ca",
    "crnn_mri.small", "cinenet.small", "unet3d_mr.small", "prompt_mr.small", "a_liknet.small", "mr_ipt.small",
    "unet.small", "vit.small",
)  # fmt: skip
COILS = 10
SIDE = 2048
"""Of the matrices whose product tells what the processor can do."""


class Measured(NamedTuple):
    """Seconds of each step and example, operations of a step, the processor's rate, peak memory in GiB, precision."""

    steps: list[float]
    examples: list[float]
    operations: float
    rate: float
    memory: float
    precision: str


def random_slice(shape: tuple[int, int, int], coils: int = COILS) -> PreparedSlice:
    """A slice ``(frame, y, x)`` of noise: the time of a step does not depend on the values."""
    rng = np.random.default_rng(0)
    frames, ny, nx = shape
    image = (rng.standard_normal((frames, 1, ny, nx, 2)).astype(np.float32) * 30).view(np.complex64)[..., 0]
    maps = rng.standard_normal((coils, ny, nx, 2)).astype(np.float32).view(np.complex64)[..., 0]
    maps = maps / rss(maps, 0)
    return PreparedSlice("random", "slice", image, maps, maps, np.ones((1, ny), bool))


def material(recipe: Recipe, shape: tuple[int, int, int], folder: Path) -> list[Any]:
    """What the recipe's examples are made of; nothing if it makes them itself."""
    if recipe.synthesis is not None:
        return []
    if recipe.restoration is not None:
        file, count, size = folder / "images.safetensors", 4, recipe.restoration.size
        save_file({"images": np.random.default_rng(0).random((count, size, size), np.float32)}, file)
        return [StoredImages("random", "images", file, count)]
    return [random_slice(shape, recipe.network.arguments.get("coils", COILS))]


def without_files(recipe: Recipe) -> Recipe:
    """The recipe with examples that need no measured hearts and coils."""
    if recipe.synthesis is None:
        return recipe
    return recipe.model_copy(
        update={"synthesis": recipe.synthesis.model_copy(update={"hearts": 0.0, "measured_coils": ()})}
    )


def measure(recipe: Recipe, shape: tuple[int, int, int], steps: int) -> Measured:
    """Run `steps` steps after one whose operations are counted."""
    recipe = without_files(recipe)
    with tempfile.TemporaryDirectory() as folder:
        group = Group(0, 1, torch.device("cpu"))
        trainer = Trainer(recipe, material(recipe, shape, Path(folder)), [], Path(folder), group)
        drawn, done = [], []
        for step in range(steps + 1):
            begun = time.perf_counter()
            batch = default_collate([trainer.examples[step * recipe.batch + i] for i in range(recipe.batch)])
            drawn.append((time.perf_counter() - begun) / recipe.batch)
            if step == 0:
                with FlopCounterMode(display=False) as counter:
                    trainer.train_step(batch)
                continue
            begun = time.perf_counter()
            trainer.train_step(batch)
            done.append(time.perf_counter() - begun)
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
    dtype = trainer.compute_dtype
    return Measured(done, drawn, counter.get_total_flops(), processor_rate(dtype), memory, str(dtype).split(".")[1])


def processor_rate(dtype: torch.dtype) -> float:
    """Operations a second of a matrix product with the threads and the precision of the training."""
    one, times = torch.rand(SIDE, SIDE).to(dtype), []
    for _ in range(5):
        begun = time.perf_counter()
        one @ one
        times.append(time.perf_counter() - begun)
    return 2 * SIDE**3 / min(times)


def preparation_seconds() -> float:
    """Seconds to simulate the scan of one slice of 20 frames, 192 x 192."""
    images = np.abs(random_slice((20, 192, 192)).image[:, 0])
    begun = time.perf_counter()
    make_scan(ImageSeries("random", "slice", images, (1.4, 1.4)), ScanSettings(), (0,))
    return time.perf_counter() - begun


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, action="append", help="recipe to measure (default: those shipped)")
    parser.add_argument("--shape", type=int, nargs=3, default=(20, 160, 160), metavar=("FRAMES", "Y", "X"))
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    recipes = [read_recipe(path) for path in args.recipe or (RECIPES / f"{name}.yaml" for name in SHIPPED)]
    rows = []
    for recipe in recipes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(row(recipe, pool.apply(measure, (recipe, tuple(args.shape), args.steps))))
    title = (
        f"Training on {torch.get_num_threads()} threads; slices of {'x'.join(map(str, args.shape))}, {COILS} coils. "
        f"Simulating the scan of one slice of 20x192x192 takes {preparation_seconds():.2f} s."
    )
    columns = (
        "recipe", "precision", "examples/s", "s per step, min", "s per step, median", "s per example to make it",
        "GFLOP per step", "share of the processor", "peak memory, GiB",
    )  # fmt: skip
    print(table(title, columns, rows, ("torch", "numpy")))


def row(recipe: Recipe, found: Measured) -> tuple[str, ...]:
    """One line of the table."""
    step, example = statistics.median(found.steps), statistics.median(found.examples)
    return (
        recipe.name,
        found.precision,
        f"{recipe.batch / (step + recipe.batch * example):.2f}",
        f"{min(found.steps):.3f}",
        f"{step:.3f}",
        f"{example:.3f}",
        f"{found.operations / 1e9:.1f}",
        f"{100 * found.operations / step / found.rate:.0f} %",
        f"{found.memory:.2f}",
    )


if __name__ == "__main__":
    main()
