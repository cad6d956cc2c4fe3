"""Slices that stream: how long the last image of a cine scan comes after its last line, while slices are acquired.

    python -m benchmarks.streaming                          # 10 slices of 12 x 192 x 160, 16 coils, R = 4
    python -m benchmarks.streaming --slices 4 --pace 0 10

The default cine configuration in this process, over the wire. A slice alone is one that comes in a scan of its own. A
pace is the time from the first line of a slice to that of the next one, as in breath-holds; 0: lines come as fast as
they are taken. Each slice leaves `sort` when all its lines came (``trigger_dimension=auto``, the default) or when the
next one begins (``slice``), or all of them at the end of the scan (``none``).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import ismrmrd
import torch

from benchmarks import classical
from benchmarks.gpu.chain import Chain, Run, configuration
from benchmarks.table import table

TRIGGERS = ("none", "slice", "auto")
COLUMNS = (
    "k-space leaves `sort`",
    "s per slice",
    "first image after its slice, s",
    "last image after the last line, s",
    "whole scan, s",
    "slice alone, s",
    "sum of the slices' stages, s",
    "slowest stage, sum, s",
)


def stages(run: Run) -> dict[str, float]:
    """Seconds that each gadget took for the whole scan, as the last image's meta says."""
    meta = ismrmrd.Meta.deserialize(run.images[-1][1].attribute_string)
    prefix = "Onebreath_seconds_"
    return {name.removeprefix(prefix): float(meta[name]) for name in meta if name.startswith(prefix)}


def row(chain: Chain, trigger: str, pace: float, alone: float) -> tuple[str, ...]:
    """Run a scan; a line of the table."""
    run = chain.run(configuration({"sort": {"trigger_dimension": trigger}}), pace)
    spent = stages(run)
    first, last = run.images[0], run.images[-1][0]
    seconds = (first[0] - run.sent[first[1].slice], last - run.sent[-1], last - run.begun)
    after = (alone, sum(spent.values()), max(spent.values()))
    return (trigger, f"{pace:g}", *(f"{one:.1f}" for one in (*seconds, *after)))


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=4, default=(12, 192, 160, 16), metavar=("FRAMES", "Y", "X", "COILS"))
    parser.add_argument("--pace", type=float, nargs="+", default=[0, 10], help="seconds per slice")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    classical.limit_threads(options.threads, "benchmarks.streaming", arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        single = Chain(tuple(options.size), Path(folder))
        single.seconds_after_the_last_line({})
        alone = statistics.median(single.seconds_after_the_last_line({}) for _ in range(3))
        many = Chain(tuple(options.size), Path(folder), options.slices)
        rows = [row(many, trigger, pace, alone) for pace in options.pace for trigger in TRIGGERS]
    title = f"Onebreath_Cine.xml, {many}; {options.threads} threads, load average {os.getloadavg()[0]:.1f}"
    print(table(title, COLUMNS, rows, ("numpy", "torch", "ismrmrd")))


if __name__ == "__main__":
    main()
