"""Inference time, peak memory and parameters of every network of the zoo, in one run.

    python -m benchmarks.networks                                     # 12 frames, 10 coils, 128 x 128, CPU
    python -m benchmarks.networks --device cuda --size 12 10 448 204 --precision auto
    python -m benchmarks.networks --only cinenet prompt_mr --runs 1

Networks have their default arguments, the published ones, and random weights; the data are random. Those for magnitude
images run once per frame. Each network runs in a process of its own, so that peak memory is its own: resident memory
on a CPU (PyTorch included), allocated memory on a GPU. Parameters are those that are learned.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.crunet_mr import GIB, make_inputs
from benchmarks.crunet_mr import Task as Series
from benchmarks.table import table
from onebreath.networks.restoration import RestorationNetwork
from onebreath.networks.series_network import SeriesNetwork
from onebreath.zoo.architectures import ARCHITECTURES, RESTORATION, build

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "crunet_mr, feature bank by convolution": ("crunet_mr", {"fusion": "conv"}),
    "crunet_mr, feature bank by attention": ("crunet_mr", {"fusion": "ca"}),
    "cinenet, shared weights": ("cinenet", {"shared": True}),
}
"""Networks beside the defaults that tables compare with."""


@dataclass(frozen=True)
class Subject:
    """A network and how to run it; `size` is frames, coils, y, x."""

    architecture: str
    arguments: dict[str, Any]
    size: tuple[int, int, int, int]
    device: str = "cpu"
    precision: str = "float32"
    runs: int = 3


@dataclass(frozen=True)
class Measured:
    """Learned parameters, seconds of each run, and peak memory in GiB."""

    parameters: int
    seconds: list[float]
    peak: float


def subjects(options: argparse.Namespace) -> dict[str, Subject]:
    """List every architecture with its defaults, and the variants."""
    named: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in ARCHITECTURES | RESTORATION}
    frames, coils, _, _ = options.size
    # The weights of A-LIKNet belong to a number of frames and coils.
    named["a_liknet"] = ("a_liknet", {"frames": frames, "coils": coils})
    common = (tuple(options.size), options.device, options.precision, options.runs)
    chosen = {name: found for name, found in (named | VARIANTS).items() if not options.only or found[0] in options.only}
    return {name: Subject(architecture, arguments, *common) for name, (architecture, arguments) in chosen.items()}


def run(subject: Subject) -> Measured:
    """Reconstruct a series in this process."""
    torch.manual_seed(0)
    network = build(subject.architecture, subject.arguments).to(subject.device).eval()
    network.use_precision(subject.precision)  # type: ignore[arg-type]
    reconstruct = _work(network, subject)
    gpu, seconds = subject.device.startswith("cuda"), []
    with torch.inference_mode():
        for _ in range(subject.runs + (subject.runs > 1)):  # the first run pays for set-up
            started = time.perf_counter()
            reconstruct()
            if gpu:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() if gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    learned = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return Measured(learned, seconds[-subject.runs :], peak / GIB)


def _work(network: torch.nn.Module, subject: Subject) -> Callable[[], Tensor | list[Tensor]]:
    """What is measured: a series of images."""
    if isinstance(network, SeriesNetwork):
        inputs = make_inputs(Series(size=subject.size, device=subject.device))
        noise = torch.full((1,), 0.01, device=subject.device)
        return lambda: network(*inputs, noise)
    assert isinstance(network, RestorationNetwork)
    frames, _, y, x = subject.size
    images = torch.rand(frames, 1, y, x, device=subject.device)
    return lambda: [network(image[None], [0], [0]) for image in images]


def report(results: dict[str, Measured], options: argparse.Namespace) -> str:
    """Write the results as a Markdown table, with what is needed to repeat them."""
    frames, coils, y, x = options.size
    gpu = options.device.startswith("cuda")
    device = torch.cuda.get_device_name() if gpu else f"{torch.get_num_threads()} threads"
    title = (
        f"Inference of a series of {frames} frames, {coils} coils, {y} x {x}, {options.precision}, on {device}; "
        "networks with their published sizes"
    )
    columns = ("network", "parameters", "seconds, min", "seconds, median", "peak memory, GiB")
    rows = [
        (
            name,
            f"{result.parameters:,}",
            f"{min(result.seconds):.2f}",
            f"{statistics.median(result.seconds):.2f}",
            f"{result.peak:.2f}",
        )
        for name, result in results.items()
    ]
    return table(title, columns, rows, ("torch",))


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=4, default=(12, 10, 128, 128), metavar=("FRAMES", "COILS", "Y", "X"))
    parser.add_argument("--only", nargs="+", default=[], choices=[*ARCHITECTURES, *RESTORATION], metavar="NETWORK")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "auto"])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    results = {}
    for name, subject in subjects(options).items():
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results[name] = pool.apply(run, (subject,))
    print(report(results, options))


if __name__ == "__main__":
    main()
