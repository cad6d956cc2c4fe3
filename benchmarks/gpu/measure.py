"""Times on a GPU against the targets, one table row after another, within a number of seconds.

    python -m benchmarks.gpu.measure --out results --seconds 60

`benchmarks.md` is written anew after every row, so that a run that is cut off or fails keeps what it measured. Times
are medians, of the device between two synchronisations; the first runs, which set libraries up, are not counted.
Float32 is float32: TF32 is off.
"""

from __future__ import annotations

import argparse
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import classical, crunet_mr, mr_ipt, networks
from benchmarks.gpu.busy import busy
from benchmarks.gpu.chain import Chain
from benchmarks.gpu.steps import example, gradient, keep_batch, training_step
from benchmarks.table import table
from onebreath.methods.base import SliceData, method_class
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from onebreath.networks.shared.cuda_graphs import CudaGraphNetwork
from onebreath.networks.shared.precision import true_float32
from onebreath.networks.shared.series_network import SeriesNetwork
from onebreath.registry import ARCHITECTURES
from onebreath.zoo.architectures import build

ROOT = Path(__file__).parents[2]
COLUMNS = ("what", "measured", "target")
Row = tuple[str, str, str]
_NO_TIME = "not measured: time was over"
_PUBLISHED = crunet_mr.Task((12, 10, 448, 204), device="cuda")
_RESTORATION = mr_ipt.Task(batch=8, device="cuda")


@dataclass(frozen=True)
class Sizes:
    """What is measured; the defaults are those of the targets."""

    device: str = "cuda"
    product: int = 8192
    copy_mib: int = 2048
    crunet: crunet_mr.Task = _PUBLISHED
    restoration: mr_ipt.Task = _RESTORATION
    cine: tuple[int, int, int, int] = (12, 192, 160, 12)
    chain: tuple[int, int, int, int] = (12, 192, 160, 16)
    runs: int = 10
    most_batch: int = 64


TINY = Sizes(
    "cpu", 64, 4, crunet_mr.Task((3, 2, 32, 24), 4, 2),
    mr_ipt.Task(batch=2, depth=3, image=28, width=64, channels=4, window=2), (4, 64, 64, 4), (4, 64, 64, 4), 1, 2,
)  # fmt: skip
"""For a rehearsal on a CPU."""


def main() -> int:
    """Measure what there is time for; 1 if something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.measure", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of benchmarks.md")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "gpu-work", help="folder that is not kept")
    parser.add_argument("--seconds", type=float, default=90.0, help="what is not begun by then is left out")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with tiny sizes")
    args = parser.parse_args()
    sizes = TINY if args.rehearse else Sizes()
    args.work.mkdir(parents=True, exist_ok=True)
    end, failed = time.monotonic() + args.seconds, 0
    rows: list[Row] = []
    for name, measure in parts(sizes, args.work).items():
        if time.monotonic() > end:
            rows.append((name, _NO_TIME, ""))
            failed += 1
            continue
        begun = time.monotonic()
        try:
            with true_float32(torch.float32):
                for row in measure():
                    rows.append(row)
                    write(rows, sizes, args)
        except Exception as error:  # noqa: BLE001 - one row must not cost the others
            traceback.print_exc()
            words = " ".join(str(error).split()).replace("|", "/")
            rows.append((name, f"failed: {type(error).__name__}: {words[:200]}", ""))
            failed += 1
        print(f"{name}: {time.monotonic() - begun:.1f} s", flush=True)
        write(rows, sizes, args)
    if any(found != _NO_TIME for _, found, _ in rows):  # else nothing is known that is worth a file of before
        write(rows, sizes, args)
    print(f"{len(rows)} rows, {failed} not measured")
    return int(failed > 0)


def parts(sizes: Sizes, work: Path) -> dict[str, Callable[[], Iterator[Row]]]:
    """What is measured, the targets first."""
    peak = Peak()
    return {
        "CRUNet-MR": partial(crunet_rows, sizes),
        "whole chain": partial(chain_rows, sizes, work),
        "peaks of the card": partial(peak_rows, sizes, peak),
        "training step": partial(training_rows, sizes, work, peak),
        "MR-IPT": partial(restoration_rows, sizes),
        "a slice handed over": partial(slice_rows, sizes),
        "kernels": partial(kernel_rows, sizes),
        "networks": partial(network_rows, sizes),
    }


def seconds(run: Callable[[], Any], sizes: Sizes) -> float:
    """Median seconds of a run, after two that are not counted."""
    found = []
    for _ in range(sizes.runs + 2):
        synchronise(sizes)
        begun = time.perf_counter()
        run()
        synchronise(sizes)
        found.append(time.perf_counter() - begun)
    return statistics.median(found[2:])


def synchronise(sizes: Sizes) -> None:
    """Wait for the device."""
    if sizes.device == "cuda":
        torch.cuda.synchronize()


@dataclass
class Peak:
    """Operations a second of the device at its best, in bfloat16; None: not measured in this run."""

    bf16_flops: float | None = None


def peak_rows(sizes: Sizes, peak: Peak) -> Iterator[Row]:
    """Matrix products in bfloat16, and copies: the ceilings that other rows are shares of."""
    n = sizes.product
    left, right = (torch.randn(n, n, device=sizes.device).bfloat16() for _ in range(2))
    rate = 2 * n**3 / seconds(lambda: left @ right, sizes)
    peak.bf16_flops = rate
    yield f"matrix product {n} x {n}, bfloat16", f"{rate / 1e12:.0f} TFLOP/s", ""
    source = torch.randn(sizes.copy_mib << 18, device=sizes.device)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * 4 / seconds(lambda: target.copy_(source), sizes)
    yield f"copy of {sizes.copy_mib} MiB, read and written", f"{moved / 1e12:.2f} TB/s", ""


def crunet_rows(sizes: Sizes) -> Iterator[Row]:
    """The published CRUNet-MR, by precision, with launches one by one and recorded."""
    task = sizes.crunet
    inputs = crunet_mr.make_inputs(task)
    torch.manual_seed(0)
    network = CRUNetMR(channels=task.channels, cascades=task.cascades).to(task.device).eval()
    frames, _, y, x = task.size
    with torch.inference_mode():
        single = network(*inputs)
        for precision in ("float32", "auto"):
            dtype = str(network.use_precision(precision)).removeprefix("torch.")
            name = f"CRUNet-MR {task.channels} x {task.cascades}, {frames} x {y} x {x}, {dtype}"
            target = "<= 50 ms" if precision == "auto" else ""
            image = network(*inputs)
            error = float((image - single).abs().max() / single.abs().max())
            yield f"{name}", f"{1e3 * seconds(lambda: network(*inputs), sizes):.1f} ms, error {error:.1e}", target
            if task.device == "cuda":
                recorded = CudaGraphNetwork(network).eval()
                error = float((recorded(*inputs) - image).abs().max() / image.abs().max())
                took = 1e3 * seconds(lambda one=recorded: one(*inputs), sizes)
                yield f"{name}, recorded", f"{took:.1f} ms, error to the line above {error:.1e}", target
                del recorded
                torch.cuda.empty_cache()


def network_rows(sizes: Sizes) -> Iterator[Row]:
    """Every network for series and its parameters, published sizes, at the matrix of a long-axis series; one run."""
    size = sizes.crunet.size
    options = argparse.Namespace(
        size=size, device=sizes.device, precision="auto", runs=1, only=list(ARCHITECTURES), rows=[]
    )
    inputs = crunet_mr.make_inputs(sizes.crunet)
    for name, subject in networks.subjects(options).items():
        network = build(subject.architecture, subject.arguments).to(sizes.device).eval()
        assert isinstance(network, SeriesNetwork)
        network.use_precision("auto")
        learned = sum(one.numel() for one in network.parameters() if one.requires_grad)
        fewest, _ = network.limits().get("frames", (1, 0))
        with torch.inference_mode():
            took = seconds(partial(network, *inputs), replace(sizes, runs=1)) if fewest <= size[0] else None
        words = f"not run, it needs {fewest} frames" if took is None else f"{took:.3f} s"
        yield f"{name}, {size[0]} x {size[2]} x {size[3]}", f"{words}; {learned:,} parameters", ""
        del network
        if sizes.device == "cuda":
            torch.cuda.empty_cache()


def restoration_rows(sizes: Sizes) -> Iterator[Row]:
    """MR-IPT of published size, by image."""
    task = sizes.restoration
    network = task.network()
    images = torch.rand(task.batch, 1, task.image, task.image, device=task.device)
    levels, types = [n // 2 % 5 for n in range(task.batch)], [n // 2 % 4 for n in range(task.batch)]
    for precision in ("float32", "auto"):
        dtype = str(network.use_precision(precision)).removeprefix("torch.")
        with torch.inference_mode():
            took = seconds(lambda: network(images, levels, types), sizes) / task.batch
        name = f"MR-IPT, {task.depth} blocks, {task.image} x {task.image}, batch {task.batch}, {dtype}"
        yield name, f"{1e3 * took:.1f} ms an image", "<= 15 ms an image" if precision == "auto" else ""


def slice_rows(sizes: Sizes) -> Iterator[Row]:
    """One slice in the CPU's memory until its images are there again, and four slices in flight."""
    frames, ny, nx, coils = sizes.cine
    data = classical.cine_slice(frames, ny, nx, coils, 4, 24)
    model = {"model": "crunet_mr.cine", "outside_domain": "allow"}
    for name, method, parameters in (
        ("default model", "unrolled", model),
        ("default model, recorded", "unrolled", {**model, "recorded": True}),
        ("default model, recorded, bfloat16", "unrolled", {**model, "recorded": True, "precision": "auto"}),
        ("L+S", "low_rank_sparse", {}),
        ("CG-SENSE", "cg_sense", {}),
    ):
        one = method_class(method)(**parameters, device=sizes.device)
        took = seconds(partial(one, data), sizes)
        together = seconds(partial(_in_flight, one, data), sizes)
        found = f"{took:.3f} s; four in flight {together:.3f} s, {4 * took / together:.2f} times the rate"
        yield f"{name}, {frames} x {ny} x {nx}, {coils} coils", found, "<= 0.5 s" if "default" in name else ""


def _in_flight(method: Callable[[SliceData], Any], data: SliceData) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(method, [replace(data, kspace=data.kspace * 1) for _ in range(4)]))


def kernel_rows(sizes: Sizes) -> Iterator[Row]:
    """How busy the device is in the published CRUNet-MR; the log says with what."""
    task = sizes.crunet
    inputs = crunet_mr.make_inputs(task)
    network = CRUNetMR(channels=task.channels, cascades=task.cascades).to(task.device).eval()
    network.use_precision("auto")
    with torch.inference_mode():
        yield "CRUNet-MR, one reconstruction", str(busy(lambda: network(*inputs), task.device)), ""
    step = example(task)
    yield "CRUNet-MR, one gradient of one example", str(busy(lambda: gradient(network, step), task.device)), ""


def chain_rows(sizes: Sizes, work: Path) -> Iterator[Row]:
    """The default cine configuration over the wire, from the last line to the last image, the model loaded before."""
    chain = Chain(sizes.chain, work)
    for name, properties in chain.variants(sizes.device).items():
        first, *others = (chain.seconds_after_the_last_line(properties) for _ in range(min(sizes.runs, 3) + 1))
        words = f"{statistics.median(others):.2f} s (first scan of the process {first:.2f} s)"
        yield f"{name}: {chain}, last line to last image", words, "<= 0.5 s"


def training_rows(sizes: Sizes, work: Path, peak: Peak) -> Iterator[Row]:
    """Training steps of the published CRUNet-MR: the batch with most examples a second, and its share of the peak."""
    best = 0.0
    for found in training_step(sizes.crunet, sizes.most_batch):
        rate = found.flops / found.seconds
        share = "peak not measured" if peak.bf16_flops is None else f"{100 * rate / peak.bf16_flops:.1f} % of the peak"
        words = f"{found.seconds:.3f} s, {found.examples_per_second:.2f} examples/s, {share}"
        yield f"training step, {found}", f"{words}, {found.memory_gib:.1f} GiB", ">= 30 % of the peak"
        if found.examples_per_second > best:
            best = found.examples_per_second
            keep_batch(work, found.batch, sizes.crunet)


def write(rows: list[Row], sizes: Sizes, args: argparse.Namespace) -> None:
    """Write the table of what was measured so far."""
    card = torch.cuda.get_device_name() if sizes.device == "cuda" else "CPU, tiny sizes: no number means anything"
    text = table(f"On {card}; float32 without TF32", COLUMNS, rows, ("torch", "numpy", "cupy-cuda13x", "cupy-cuda12x"))
    (args.out / "benchmarks.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
