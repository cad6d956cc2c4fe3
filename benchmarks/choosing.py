"""What the safety around models costs before a scan: rules, card, domain, weights.

    python -m benchmarks.choosing

A scan's method is chosen as with ``model=auto``: the rules are matched with the header and the lines, the card is
compared with both, and the weights are read, hashed and put into the network. Warm: in a process that has done so
before and looks again whether anything has changed. Cold: in fresh processes, where PyTorch is to be imported as well.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from benchmarks.table import table
from benchmarks.wire import ROOT

if TYPE_CHECKING:
    from onebreath.methods.base import SliceData

NAME = "crunet_mr.untrained"
SHAPE = (12, 10, 128, 128)  # frames, coils, y, x
WARM_S, COLD_S = 0.05, 2.0


def save_untrained(root: Path, channels: int = 24, cascades: int = 3) -> None:
    """Put a model into a folder: its weights are random, which changes no time."""
    import torch

    from onebreath import zoo
    from onebreath.zoo.architectures import build

    arguments = {"channels": channels, "cascades": cascades}
    torch.manual_seed(0)
    details = {
        "name": NAME, "version": "1", "summary": "random weights", "architecture": "crunet_mr", "arguments": arguments,
        "training": {"data": "none"}, "licence": "MIT", "intended_use": "measuring time", "score_limit": 1e6,
        "domain": {"acceleration": [1, 24], "acs_lines": [0, 64], "frames": [4, 64], "coils": [2, 64]},
    }  # fmt: skip
    zoo.save(build("crunet_mr", arguments).state_dict(), details, root)


def save_rules(root: Path) -> None:
    """Put rules into a folder of models; the last of them fires."""
    others = [{"name": f"site-{n}", "when": {"protocol": [f"*perf{n}*"], "frames": [9, 99]}, "model": NAME}
              for n in range(20)]  # fmt: skip
    rules = [*others, {"name": "cine", "when": {"frames": [4, 64], "acs_lines": [8, 64]}, "model": NAME}]
    (root / "protocols.yaml").write_text(yaml.safe_dump({"rules": rules}), encoding="utf-8")


def choose() -> float:
    """Choose, check and load for one scan; seconds."""
    from onebreath.chain.gadget import parse_properties
    from onebreath.gadgets.reconstruct.reconstruct import Reconstruct
    from onebreath.methods.learned.unrolled import Unrolled
    from onebreath.methods.scan import scan_of
    from onebreath.simulation.options import ScanOptions
    from onebreath.simulation.scan import simulate

    header = simulate(ScanOptions(matrix=(32, 32), phases=SHAPE[0], slices=1, coils=4)).header
    data = some_slice()
    begun = time.perf_counter()
    wanted = {"method": "unrolled", "model": "auto", "device": "cpu"}
    chooser = Reconstruct(header, parse_properties(Reconstruct, wanted)).chooser
    method = chooser.guard(data).wanted
    assert isinstance(method, Unrolled)
    method.card.domain.judge(scan_of(data, method.scan))
    method.model.on("cpu")
    return time.perf_counter() - begun


def some_slice() -> SliceData:
    """A slice of noise, every fourth line and 24 in the middle."""
    from onebreath.methods.base import SliceData
    from onebreath.mri.sampling import describe

    frames, coils, ny, nx = SHAPE
    rng = np.random.default_rng(0)
    kspace = (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)).astype(np.complex64)
    mask = np.zeros((frames, ny, 1), bool)
    mask[:, ::4] = mask[:, ny // 2 - 12 : ny // 2 + 12] = True
    maps = np.full((1, coils, ny, nx), coils**-0.5, np.complex64)
    return SliceData(kspace, mask, kspace.mean(0)[:, ny // 2 - 12 : ny // 2 + 12], ny // 2 - 12, maps, describe(mask))


def fresh(models: Path) -> dict[str, float]:
    """What a process of its own says; see `be_fresh`."""
    environment = {**os.environ, "ONEBREATH_MODELS": str(models), "PYTHONPATH": str(ROOT / "gadgets")}
    command = [sys.executable, "-m", "benchmarks.choosing", "--fresh"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def be_fresh() -> None:
    """Choose for a first scan, and for many after it; print the seconds as JSON."""
    begun = time.perf_counter()
    import torch  # noqa: F401 - its import is what is measured

    imported = time.perf_counter() - begun
    first = choose()
    later = [choose() for _ in range(20)]
    print(json.dumps({"torch": imported, "first": first, "median": statistics.median(later), "longest": max(later)}))


def rows(repeats: int) -> Iterator[tuple[str, str, str]]:
    """Rows of the table, in seconds."""
    with tempfile.TemporaryDirectory() as name:
        save_untrained(Path(name))
        save_rules(Path(name))
        found = [fresh(Path(name)) for _ in range(repeats)]
    cold = [one["torch"] + one["first"] for one in found]
    middle = {key: statistics.median(one[key] for one in found) for key in found[0]}
    yield "warm, median of 20 scans", f"{middle['median']:.4f}", f"<= {WARM_S}"
    yield "warm, longest of 20", f"{middle['longest']:.4f}", f"<= {WARM_S}"
    yield "cold: first scan of a process", f"{statistics.median(cold):.2f}", f"<= {COLD_S}"
    yield "... of that, importing PyTorch", f"{middle['torch']:.2f}", ""
    yield "... of that, modules, rules, card, sha256, weights, network", f"{middle['first']:.2f}", ""


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.choosing", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="be one of them")
    args = parser.parse_args(arguments)
    if args.fresh:
        be_fresh()
        return
    title = (
        f"Choosing, checking and loading a model before a scan: 21 rules, CRUNet-MR with 3 cascades of 24 channels, a "
        f"slice of {SHAPE} (frame, coil, y, x), CPU; median of {args.repeats} fresh processes"
    )
    print(table(title, ("what", "seconds", "target"), rows(args.repeats), ("torch", "numpy")))


if __name__ == "__main__":
    main()
