"""One page: how long Onebreath takes for what a named peer does too, in the same run, in turns, on the same threads.

A pair runs once to warm up, then in turns; seconds are medians, the ratio is the median of the turns' ratios and
believable on a machine that does other work, too. BART is a program of its own: its times include starting it and
passing the arrays through files, which is how a chain calls it. Peers that are not installed are left out, and named.

    python -m benchmarks                   # this page
    python -m benchmarks.peers --only L+S  # some of its lines
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import chain, classical, crunet_mr, gfactor, low_rank_sparse, wire
from benchmarks.gpu.chain import Chain
from benchmarks.installed import SHARED, installed
from benchmarks.table import table
from benchmarks.timing import Work, in_turns, timed
from onebreath.methods.base import method_class
from onebreath.mri.espirit import espirit
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from tests.gadgetron.real import CONFIGS, OWN_PORT, Server, serving
from tests.gadgetron.resident import both
from tests.host import processes

COLUMNS = ("what", "Onebreath, s", "peer", "peer, s", "peer / Onebreath")
BART_LLR = ("-R", "L:7:7:0.01", "-i", "50")
BART_WAVELET = ("-R", "W:3:0:0.01", "-i", "50")
EXECUTE = '<execute name="onebreath.host.entry" target="chain" type="python"/>'


@dataclass(frozen=True)
class Pair:
    """What is compared; a peer that is not there has no work, and a line without a peer has no name of one."""

    what: str
    ours: Work
    peer: str = ""
    theirs: Work | None = None


@dataclass(frozen=True)
class Sizes:
    """Sizes of everything; the defaults are those of docs/benchmarks.md, tests take small ones."""

    frames: int = 12
    ny: int = 192
    nx: int = 160
    coils: int = 12
    acquisitions: int = 3840
    network: crunet_mr.Task = field(default_factory=crunet_mr.Task)
    crop: int = 128


def pairs(sizes: Sizes, folder: Path) -> Iterator[Pair]:
    """All lines that need no server; `folder` takes files."""
    yield from wire_pairs(sizes)
    yield from classical_pairs(sizes, folder)
    yield from network_pairs(sizes)
    cine = Chain((sizes.frames, sizes.ny, sizes.nx, 16), folder)
    yield Pair(f"Onebreath_Cine.xml, {cine}: last line to last image", lambda: cine.seconds_after_the_last_line({}))


def wire_pairs(sizes: Sizes) -> Iterator[Pair]:
    """Lines over a socket, through a node in a process of its own; seconds until the node has ended."""
    header, lines = wire.scan(sizes.acquisitions, 30, 512)
    noise = list(chain.noise_lines(30, 512))
    steps = wire.configuration(chain.LINES.format(kept=12, trigger="none"))

    def seconds(start: tuple[str, str, bytes], data: list[bytes]) -> float:
        with wire.node(*start, header) as sock:
            chain.answer(sock)
            chain.warm_memory()
            return len(data) / wire.rate(sock, data)

    plain, name = partial(seconds, chain.PLAIN, lines), f"{len(lines)} lines of 30 channels"
    ours = ("benchmarks.wire", "ours", b"<configuration/>")
    yield Pair(f"pass-through, {name}", partial(seconds, ours, lines), "gadgetron package", plain)
    whiten = partial(seconds, (*chain.ENTRY, steps), noise + lines)
    yield Pair(f"prewhiten, compress to 12, sort, {name}", whiten, "gadgetron package, pass-through", plain)


def classical_pairs(sizes: Sizes, folder: Path) -> Iterator[Pair]:
    """ESPIRiT, GRAPPA, CG-SENSE and L+S."""
    ny, nx, coils = sizes.ny, sizes.nx, sizes.coils
    data = classical.cine_slice(sizes.frames, ny, nx, coils, 4, 24)
    one = replace(data, kspace=data.kspace[:1])
    calibration = np.zeros((1, coils, ny, nx), np.complex64)
    calibration[0, :, ny // 2 - 12 : ny // 2 + 12] = data.acs
    size = f"{ny} x {nx}, {coils} coils"
    ecalib = classical.bart(
        ("ecalib", "-m1", "-k6", "-r24", "kspace", "maps"), folder / "ecalib", {"kspace": calibration}
    )
    yield Pair(f"ESPIRiT, {size}, 24 lines", partial(espirit, data.acs, (ny, nx)), "bart ecalib -m1", ecalib)
    arc = method_class("grappa")(kernel="arc", arc_lines=5, arc_padding=True, gfactor=False)
    yield Pair(f"GRAPPA, 5 x 5, {size}", partial(arc, one), "pygrappa", classical.pygrappa(one))
    name = f"{sizes.frames} frames, {size}, R = 4"
    sense = method_class("cg_sense")(device="cpu", tolerance=1e-12, iterations=30)
    yield Pair(f"CG-SENSE, 30 iterations, {name}", partial(sense, data), *pics(classical.BART_L2, data, folder))
    sense = method_class("cg_sense")(device="cpu")
    words, wavelet = pics(BART_WAVELET, one, folder)
    yield Pair(f"CG-SENSE as in the configurations, {size}", partial(sense, one), f"{words} (another problem)", wavelet)
    moving, _ = low_rank_sparse.moving_slice(
        argparse.Namespace(
            frames=sizes.frames, matrix=(ny, nx), coils=coils, acceleration=8, acs=16, iterations=50, varying=False
        )
    )
    name = f"L+S, {sizes.frames} frames, {size}, R = 8"
    split, published = (
        method_class("low_rank_sparse")(device="cpu", **p) for p in ({}, {"algorithm": "published", "tolerance": 0})
    )
    yield Pair(name, partial(split, moving), "the paper's iteration, 50 times, in numpy", partial(published, moving))
    words, local = pics(BART_LLR, moving, folder)
    yield Pair(name, partial(split, moving), f"{words} (another problem)", local)


def network_pairs(sizes: Sizes) -> Iterator[Pair]:
    """CRUNet-MR, and RAKI's noise."""
    task = sizes.network
    torch.manual_seed(0)
    network = CRUNetMR(channels=task.channels, cascades=task.cascades)
    network.use_precision("float32")
    inputs = crunet_mr.make_inputs(task)

    def infer(run: Callable[..., torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode():
            return run(*inputs)

    frames, coils, y, x = task.size
    name = f"CRUNet-MR, published size, {frames} x {y} x {x}, {coils} coils, float32"
    theirs = partial(infer, partial(crunet_mr.published_forward, network))
    yield Pair(
        name, partial(infer, network), "transcription of the released code, our settings of memory and vectors", theirs
    )
    case = gfactor.make_case(7, sizes.crop, sizes.crop)
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, sizes.crop, (4, 2)))
    every = partial(extrapolated, lambda: case.by_differentiation(pixels), sizes.crop**2 / len(pixels))
    name = f"g-factor map of RAKI, {sizes.crop} x {sizes.crop}, 7 coils"
    yield Pair(name, partial(case.gfactor, 512), f"torch.autograd, each pixel (from {len(pixels)})", every)


def server_pairs(hosted: ExitStack) -> Iterator[Pair]:
    """Whole runs of Gadgetron's client, cold and warm; none without a real Gadgetron and the scan."""
    scan = next((SHARED / "data/siemens_snr_r3").glob("*.h5"), None)
    if scan is None:
        print("no scan for a real Gadgetron: set ONEBREATH_SHARED", file=sys.stderr)
        return
    try:
        folder, prefix, storage = hosted.enter_context(installed())
    except SystemExit as reason:
        print(reason, file=sys.stderr)
        return
    cold = hosted.enter_context(serving(prefix, folder / "cold", storage.url))
    resident = hosted.enter_context(both(prefix, folder, storage))
    warm, port = resident.server, processes.address(resident.worker, "gadget")[1]
    grappa = (CONFIGS / "Onebreath_Static_GRAPPA.xml").read_text(encoding="utf-8")
    assert EXECUTE in grappa
    dialled = warm.add_config("grappa_dialled.xml", grappa.replace(EXECUTE, OWN_PORT.replace("18000", str(port))))

    def run(server: Server, configuration: str) -> float:
        ran = server.run(scan, configuration, folder / f"{configuration}{time.monotonic_ns()}.h5", timeout=120)
        assert ran.images, ran.text
        return ran.seconds

    name = "of a Siemens scan, whole run of Gadgetron's client"
    theirs = partial(run, cold, "Generic_Cartesian_Grappa.xml")
    for what, server, configuration in (
        (f"GRAPPA {name}, cold", cold, "Onebreath_Static_GRAPPA.xml"),
        (f"GRAPPA {name}, warm: handed over to a worker", warm, "Onebreath_Static_GRAPPA.xml"),
        (f"GRAPPA {name}, warm: `<connect>` to a worker", warm, dialled),
        (f"CG-SENSE {name}, warm: `<connect>` to a worker", warm, "Onebreath_Static_Connect.xml"),
    ):
        yield Pair(what, partial(run, server, configuration), "Generic_Cartesian_Grappa", theirs)


def pics(options: tuple[str, ...], data: classical.SliceData, folder: Path) -> tuple[str, Work | None]:
    """Name and work of `bart pics`."""
    return f"bart pics {' '.join(options)}", classical.bart_pics(options, data, folder / "pics")


def extrapolated(work: Work, factor: float) -> float:
    """Seconds of a work times a factor."""
    return factor * timed(work)


def row(pair: Pair, repeat: int) -> tuple[str, ...]:
    """Run a pair in turns; a line of the table."""
    turns = in_turns([pair.ours] + ([pair.theirs] if pair.theirs else []), repeat)
    ours = statistics.median(turn[0] for turn in turns)
    if not pair.theirs:
        return pair.what, f"{ours:.2f}", f"{pair.peer}: not installed" if pair.peer else "", "", ""
    theirs = statistics.median(turn[1] for turn in turns)
    ratio = statistics.median(turn[1] / turn[0] for turn in turns)
    return pair.what, f"{ours:.2f}", pair.peer, f"{theirs:.2f}", f"{ratio:.2g}"


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3, help="turns (default: %(default)s)")
    parser.add_argument("--only", default="", help="lines whose text holds this")
    options = parser.parse_args(arguments)
    classical.limit_threads(options.threads, "benchmarks.peers", arguments)
    torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as hosted:
        for pair in (*pairs(Sizes(), Path(folder)), *server_pairs(hosted)):
            if options.only in pair.what:
                print(pair.what, file=sys.stderr, flush=True)
                rows.append(row(pair, options.repeat))
    title = (
        f"Onebreath beside its peers: {options.threads} threads, median of {options.repeat}, in turns; load average "
    )
    title += f"{os.getloadavg()[0]:.1f}. BART {classical.bart_version()}"
    print(table(title, COLUMNS, rows, ("numpy", "scipy", "torch", "gadgetron", "pygrappa")))


if __name__ == "__main__":
    main()
