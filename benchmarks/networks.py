"""Inference time, peak memory and parameters of every network of the zoo, in one run.

    python -m benchmarks.networks                                     # 12 frames, 10 coils, 128 x 128, CPU
    python -m benchmarks.networks --device cuda --size 12 10 448 204 --precision auto
    python -m benchmarks.networks --only cinenet prompt_mr --runs 1   # with their variants
    python -m benchmarks.networks --rows "crunet_mr, feature bank by attention" --runs 1

Networks have their default arguments, the published ones, and random weights; the data are random. Those for magnitude
images run once per frame. Each network runs in a process of its own, see ``benchmarks/timing.py``. Parameters are those
that are learned. CPU seconds are those of all threads together, and do not depend on what else runs on the machine.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.crunet_mr import Task as Series
from benchmarks.crunet_mr import make_inputs
from benchmarks.table import table
from benchmarks.timing import apart, place, series_arguments, time_runs
from onebreath.networks.restoration.restoration import RestorationNetwork
from onebreath.networks.shared.series_network import SeriesNetwork
from onebreath.registry import ARCHITECTURES, RESTORATION
from onebreath.zoo.architectures import build

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
    """Learned parameters, seconds of each run, peak memory in GiB, and seconds of the processor of each run."""

    parameters: int
    seconds: list[float]
    peak: float
    processor: list[float]


def subjects(options: argparse.Namespace) -> dict[str, Subject]:
    """List every architecture with its defaults, and the variants."""
    named: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in (*ARCHITECTURES, *RESTORATION)}
    frames, coils, _, _ = options.size
    # The weights of A-LIKNet belong to a number of frames and coils.
    named["a_liknet"] = ("a_liknet", {"frames": frames, "coils": coils})
    common = (tuple(options.size), options.device, options.precision, options.runs)
    chosen = {
        name: found
        for name, found in (named | VARIANTS).items()
        if (not options.only or found[0] in options.only) and (not options.rows or name in options.rows)
    }
    return {name: Subject(architecture, arguments, *common) for name, (architecture, arguments) in chosen.items()}


def run(subject: Subject) -> Measured:
    """Reconstruct a series in this process."""
    torch.manual_seed(0)
    network = build(subject.architecture, subject.arguments).to(subject.device).eval()
    network.use_precision(subject.precision)  # type: ignore[arg-type]
    reconstruct = _work(network, subject)
    with torch.inference_mode():
        result = time_runs(reconstruct, subject.runs, subject.device)
    learned = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return Measured(learned, result.seconds, result.peak, result.processor)


def _named(name: str, found: dict[str, Subject]) -> Measured:
    return run(found[name])


def _work(network: torch.nn.Module, subject: Subject) -> Callable[[], Tensor]:
    """What is measured: a series of images."""
    if isinstance(network, SeriesNetwork):
        inputs = make_inputs(Series(size=subject.size, device=subject.device))
        noise = torch.full((1,), 0.01, device=subject.device)
        return lambda: network(*inputs, noise)
    assert isinstance(network, RestorationNetwork)
    frames, _, y, x = subject.size
    images = torch.rand(frames, 1, y, x, device=subject.device)
    return lambda: torch.cat([network(image[None], [0], [0]) for image in images])


def report(results: dict[str, Measured], options: argparse.Namespace) -> str:
    """Write the results as a Markdown table, with what is needed to repeat them."""
    frames, coils, y, x = options.size
    title = (
        f"Inference of a series of {frames} frames, {coils} coils, {y} x {x}, {options.precision}, on "
        f"{place(options.device)}; networks with their published sizes"
    )
    columns = ("network", "parameters", "seconds, min", "seconds, median", "CPU s, min", "peak memory, GiB")
    rows = [
        (
            name,
            f"{result.parameters:,}",
            f"{min(result.seconds):.2f}",
            f"{statistics.median(result.seconds):.2f}",
            f"{min(result.processor):.2f}",
            f"{result.peak:.2f}",
        )
        for name, result in results.items()
    ]
    return table(title, columns, rows, ("torch",))


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = series_arguments(__doc__, (12, 10, 128, 128))
    parser.add_argument("--only", nargs="+", default=[], choices=[*ARCHITECTURES, *RESTORATION], metavar="NETWORK")
    parser.add_argument(
        "--rows", nargs="+", default=[], choices=[*ARCHITECTURES, *RESTORATION, *VARIANTS], metavar="ROW"
    )
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "auto"])
    options = parser.parse_args()
    found = subjects(options)
    print(report(apart(_named, found, list(found)), options))


if __name__ == "__main__":
    main()
