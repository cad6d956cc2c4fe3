"""Compiled convolutions beside PyTorch's, of the shapes that CRUNet-MR and the default model have.

    python -m benchmarks.convolutions
    python -m benchmarks.convolutions --threads 2

In turns; the best of several runs. Errors are largest differences from double precision, relative to the largest value.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.table import table
from benchmarks.timing import in_turns
from onebreath.networks.convolution.filters import Direct, filter_with
from onebreath.networks.convolution.loading import library
from onebreath.networks.shared.conv2plus1d import ConvToPlanes, TemporalConv
from onebreath.threads import settle_process

SPATIAL = (
    (12, (64,), 64, 128, 128, 1), (1, (64,), 64, 128, 128, 1), (1, (64, 64, 64), 64, 128, 128, 1),
    (12, (64, 64), 64, 128, 128, 1), (12, (64,), 64, 64, 64, 2), (12, (24,), 24, 192, 160, 1),
    (1, (48,), 48, 96, 80, 1),
)  # fmt: skip
"""Images, channels of the parts that are joined, channels out, y, x, dilation."""
SERIES = ((12, 64, 128, 128), (12, 64, 64, 64), (12, 24, 192, 160))
"""Frames, channels, y, x: along time, and with 5 x 5 kernels to two planes."""

Step = Callable[[], Tensor]


def images(count: int, channels: int, y: int, x: int) -> Tensor:
    """Random images without negative pixels, channels innermost in memory."""
    return torch.randn(count, channels, y, x).relu_().contiguous(memory_format=torch.channels_last)


def error(found: Tensor, exact: Tensor) -> str:
    """Largest difference over the largest value."""
    return f"{float((found - exact).abs().max() / exact.abs().max()):.1e}"


def row(name: str, torch_step: Step, compiled_step: Step, exact: Tensor, runs: int) -> tuple[str, ...]:
    """One line of the table."""
    turns = in_turns([torch_step, compiled_step], runs)
    theirs, ours = (1e3 * min(seconds) for seconds in zip(*turns, strict=True))
    return (
        name,
        f"{theirs:.2f}",
        f"{ours:.2f}",
        f"{theirs / ours:.2f}",
        error(torch_step(), exact),
        error(compiled_step(), exact),
    )


def rows(runs: int) -> Iterator[tuple[str, ...]]:
    """Convolve all shapes."""
    for count, parts, out, y, x, dilation in SPATIAL:
        given = [images(count, channels, y, x) for channels in parts]
        weight, bias = torch.randn(out, sum(parts), 3, 3) / sum(parts) ** 0.5, torch.randn(out)
        exact = F.conv2d(
            torch.cat(given, 1).double(), weight.double(), bias.double(), padding=dilation, dilation=dilation
        )
        compiled, direct = filter_with(weight, dilation, given), Direct(weight, dilation)
        name = f"{count} x {y} x {x}, {' + '.join(map(str, parts))} to {out}" + (
            f", dilation {dilation}" if dilation > 1 else ""
        )
        yield row(name, lambda: direct(given, bias), lambda: compiled(given, bias), exact, runs)  # noqa: B023
    for kind in (TemporalConv, ConvToPlanes):
        for frames, channels, y, x in SERIES:
            layer: nn.Module = TemporalConv(channels) if kind is TemporalConv else ConvToPlanes(channels, 2, 5)
            given_series = images(frames, channels, y, x)
            whole = given_series[None] if kind is TemporalConv else given_series
            exact = layer.double()(whole.double())
            layer.float()
            name = f"{frames} x {y} x {x}, {channels} channels, " + (
                "along time" if kind is TemporalConv else "5 x 5 to 2"
            )
            yield row(name, lambda: without(layer, whole), lambda: layer(whole), exact, runs)  # noqa: B023


def without(layer: nn.Module, whole: Tensor) -> Tensor:
    """Run a layer with PyTorch's convolutions: compiled code is not for tensors without inference mode."""
    with torch.inference_mode(False), torch.no_grad():
        result: Tensor = layer(whole)
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    settle_process()
    torch.set_num_threads(options.threads)
    if library() is None:
        parser.error("the convolutions were not compiled: pip install . with a C compiler at hand")
    with torch.inference_mode():
        found = list(rows(options.runs))
    columns = ("convolution", "PyTorch, ms", "compiled, ms", "ratio", "error, PyTorch", "error, compiled")
    print(
        table(
            f"Convolutions in float32, {options.threads} thread(s), best of {options.runs}", columns, found, ("torch",)
        )
    )


if __name__ == "__main__":
    main()
