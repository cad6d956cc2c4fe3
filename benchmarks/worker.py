"""Latency of a scan on each way into the chain, side by side: what the resident worker saves, and what it costs.

The driver plays the Gadgetron server or its client. It sends the same simulated cine on every way in turns, so that all
meet the same load, and measures with its own clock:

- whole scan: from the moment the server starts (or dials) the node to the end of its answer;
- first image: from CLOSE, which follows the last acquisition, to the first image.

The code is compiled first, as pip and `onebreath install` do. A row shows the hand-over where pyFFTW is not installed:
the `gadgetron` package then takes NumPy's transforms, and is spared SciPy, which pyFFTW's interfaces import.

    OMP_NUM_THREADS=2 python -m benchmarks.worker
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import wire
from benchmarks.choosing import NAME, save_untrained
from benchmarks.scans import METHODS, Answer, Scan, exchange, make_scan
from benchmarks.table import table
from onebreath.commands.install import PACKAGE, compile_code
from onebreath.errors import OnebreathError
from onebreath.host.handover import ask, hand_over, wait_until_done
from onebreath.host.server import start_gadget_service

NETWORK = (8, 2)
"""Channels and cascades: a small one, as the time of the reconstruction is not the subject."""
TARGET = 0.4  # seconds that a scan which is handed over may take longer than one that is there already


@contextmanager
def worker(folder: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a resident worker as a process; it answers at ``worker.sock`` in the folder."""
    path = folder / "worker.sock"
    places = ["--port", "0", "--gadget-port", "0", "--socket", str(path), "--state", str(folder / "state")]
    process = subprocess.Popen(
        [sys.executable, "-m", "onebreath.cli", "serve", *places, *more],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(wire.ROOT / "gadgets"), "ONEBREATH_LOG_LEVEL": "ERROR"},
    )
    try:
        while True:
            try:
                ask(path, "status")
                break
            except OSError as error:
                if process.poll() is not None:
                    raise OnebreathError("the worker did not start") from error
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def address(folder: Path, side: str) -> tuple[str, int]:
    """Where the worker of a folder listens."""
    text = ask(folder / "worker.sock", "status")["listens"][side]
    host, _, port = text.rpartition(":")
    return host, int(port)


def executed(scan: Scan, path: str) -> Answer:
    """Run a scan as an ``<execute>`` node does."""
    os.environ["ONEBREATH_WORKER"] = path
    begun = time.perf_counter()
    with wire.node("onebreath.host.entry", "chain", scan.config, scan.header) as sock:
        return exchange(sock, scan.lines, begun)


def without_fftw(scan: Scan, path: str, folder: Path) -> Answer:
    """Run a scan as an ``<execute>`` node does in a Python that has no pyFFTW."""
    with hidden_fftw(folder):
        return executed(scan, path)


@contextmanager
def hidden_fftw(folder: Path) -> Iterator[None]:
    """Let processes that start in the body find no pyFFTW: what stands in its place cannot be imported."""
    (folder / "pyfftw.py").write_text("raise ImportError('hidden')\n")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def dialled(where: tuple[str, int], data: bytes) -> Answer:
    """Run a scan at a service that runs already."""
    begun = time.perf_counter()
    with socket.create_connection(where) as sock:
        return exchange(sock, data, begun)


def handed_over(path: Path, scan: Scan) -> float:
    """Seconds until a worker has taken a socket; the scan on it is empty."""
    os.environ["ONEBREATH_WORKER"] = str(path)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        begun = time.perf_counter()
        control, _ = hand_over(ours, "chain", scan.config, scan.header)
        seconds = time.perf_counter() - begun
        theirs.sendall(wire.CLOSE)
        wait_until_done(control)
    return seconds


def ways(folder: Path, scan: Scan, embedded: tuple[str, int]) -> dict[str, Callable[[], Answer]]:
    """All ways into the chain."""
    gadget, client = address(folder, "gadget"), address(folder, "client")
    path = str(folder / "worker.sock")
    return {
        "`<execute>`, no worker (cold)": lambda: executed(scan, "off"),
        "`<execute>`, handed over": lambda: executed(scan, path),
        "`<execute>`, handed over, no pyFFTW installed": lambda: without_fftw(scan, path, folder),
        "`<connect>` to the worker": lambda: dialled(gadget, scan.for_node()),
        "client of the worker": lambda: dialled(client, scan.for_host()),
        "embedded, warm: the reconstruction itself": lambda: dialled(embedded, scan.for_node()),
    }


def measure(scan: Scan, method: str, repeats: int) -> Iterator[tuple[str, str, str, str]]:
    """Rows of the table: medians over the repeats, and how much longer than the warm reconstruction itself."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        os.environ["ONEBREATH_MODELS"] = name
        save_untrained(folder, *NETWORK)
        stack.enter_context(worker(folder, "--model", NAME))
        service = stack.enter_context(start_gadget_service())
        chosen = ways(folder, scan, service.address)
        answers: dict[str, list[Answer]] = {title: [] for title in chosen}
        for run in range(1 + repeats):
            for title, way in chosen.items():
                answer = way()
                if run:  # the first one warms up what is to be warm
                    answers[title].append(answer)
        handed = [handed_over(folder / "worker.sock", scan) for _ in range(repeats)]
    own = [answer.whole for answer in list(answers.values())[-1]]
    for title, found in answers.items():
        whole, first = (statistics.median(getattr(one, part) for one in found) for part in ("whole", "first"))
        over = statistics.median(one.whole - base for one, base in zip(found, own, strict=True))
        target = f" (target <= {TARGET})" if "handed over" in title else ""
        yield f"{method}: {title}", f"{whole:.2f}", f"{first:.2f}", f"{over:+.2f}{target}"
    yield f"{method}: the hand-over itself: offer, answer, socket", f"{statistics.median(handed):.4f}", "", ""


IMPORTS = {
    "the interpreter": "pass",
    "NumPy": "import numpy",
    "ismrmrd (h5py, xsdata)": "import ismrmrd, ismrmrd.xsd",
    "the `gadgetron` package without pyFFTW": "import sys; sys.modules['pyfftw'] = None; import gadgetron",
    "the `gadgetron` package": "import gadgetron",
    "the shim": "import gadgetron, onebreath.host.entry",
    "the chain (scipy, pydantic)": "import gadgetron, onebreath.host.running; "
    "from onebreath.registry import GADGETS; [GADGETS.load(name) for name in GADGETS]",
    "CG-SENSE": "import gadgetron, onebreath.host.running; from onebreath.chain.gadget import *; "
    "[gadget_class(name) for name in GADGETS]; from onebreath.methods.base import *; method_class('cg_sense')",
    "PyTorch, for a network": "import gadgetron, onebreath.host.running; from onebreath.chain.gadget import *; "
    "[gadget_class(name) for name in GADGETS]; import torch",
}


def parts(repeats: int) -> Iterator[tuple[str, str, str, str]]:
    """Rows of the table: how long a fresh process needs until each part is imported."""
    for title, code in IMPORTS.items():
        seconds = []
        for _ in range(repeats):
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", code],
                check=True,
                env={**os.environ, "PYTHONPATH": str(wire.ROOT / "gadgets")},
            )
            seconds.append(time.perf_counter() - begun)
        yield f"a fresh process up to and with {title}", f"{statistics.median(seconds):.2f}", "", ""


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="runs of each way (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="(default: both)")
    parser.add_argument("--matrix", type=int, default=128, help="(default: %(default)s)")
    args = parser.parse_args(arguments)
    rows = []
    compile_code(PACKAGE)
    for method in args.methods:
        rows += measure(make_scan("cine", method, args.matrix), method, args.repeats)
    rows += parts(max(1, args.repeats // 2))
    title = (
        f"One cine slice of 12 frames, {args.matrix} x {args.matrix}, 12 channels, R = 4; CG-SENSE, and CRUNet-MR "
        f"({NETWORK[1]} cascades, {NETWORK[0]} channels); sent at full speed, median of {args.repeats} runs in turns"
    )
    columns = ("way", "whole scan, s", "first image after the last acquisition, s", "whole scan above warm, s")
    print(table(title, columns, rows, ("numpy", "torch", "gadgetron", "ismrmrd")))


if __name__ == "__main__":
    main()
