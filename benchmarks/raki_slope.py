"""What picking RAKI's slope by the scan itself gains over the fixed one, of which the truth tells.

    python -m benchmarks.raki_slope
    python -m benchmarks.raki_slope --sources brain16ch:0 --snr 20

PSNR of the magnitude with every slope of the grid, the slope that `slope=auto` picks, and its gain over the fixed one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import Kept
from benchmarks.static_scans import AS_MEASURED, Source, scanned
from benchmarks.table import table
from benchmarks.thresholds import psnr
from onebreath.methods.raki.parameters import USUAL_SLOPE
from onebreath.methods.raki.raki import Raki
from onebreath.methods.raki.slope import GRID

SOURCES, SNR, ACCELERATION, ACS = ("brain7ch:0", "simulator:0"), (8.0, 20.0, 60.0), 4, 40


def measure(key: str, source: Source, snr: float, acceleration: int) -> dict[str, Any]:
    """Reconstruct a scan with every slope, and let the scan pick one."""
    case = scanned(source, snr, acceleration, ACS, 1.0)
    found: dict[str, Any] = {"key": key, "psnr": {}, "seconds": {}}
    for slope in (*sorted(GRID), "auto"):
        begun = time.process_time()
        made = Raki(slope=slope, gfactor="none", device="cpu")(case.imaging)
        found["seconds"][str(slope)] = round(time.process_time() - begun, 2)
        found["psnr"][str(slope)] = round(psnr(np.asarray(made.images), case.truth), 2)
        found["picked"] = str(made.facts.get("slope"))
    return found


def rows(found: list[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    """One row for each scan, and the means."""
    gains, best = [], []
    for one in found:
        levels, picked = one["psnr"], one["picked"].split(";")[0]
        fixed = levels[str(USUAL_SLOPE)]
        gains.append(levels["auto"] - fixed)
        best.append(max(levels.values()) - fixed)
        cells = [f"{levels[str(slope)]:.2f}" for slope in sorted(GRID)]
        times = one["seconds"]["auto"] / one["seconds"][str(USUAL_SLOPE)]
        yield one["key"], *cells, picked, f"{gains[-1]:+.2f}", f"{best[-1]:+.2f}", f"{times:.0f}"
    yield "mean", *[""] * len(GRID), "", f"{np.mean(gains):+.2f}", f"{np.mean(best):+.2f}", ""


def main() -> None:
    """Measure what is not measured yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), help="name:number; simulator: the phantom")
    parser.add_argument("--snr", nargs="+", type=float, default=list(SNR), help="0: as measured")
    parser.add_argument("--acceleration", type=int, default=ACCELERATION)
    parser.add_argument("--keep", type=Path, default=Path("runs/raki_slope.jsonl"), help="file of results")
    options = parser.parse_args()
    kept, found = Kept(options.keep), []
    for text in options.sources:
        source = Source.named(text)
        for snr in options.snr:
            level = f"SNR {snr:g}" if snr != AS_MEASURED else "SNR as measured"
            key = f"{text}, {level}, R = {options.acceleration}"
            found.append(kept.get(key, partial(measure, key, source, snr, options.acceleration)))
    print(
        table(
            f"RAKI with the slopes of the grid and with slope=auto: PSNR in dB, {ACS} calibration lines; gain over "
            f"{USUAL_SLOPE:g} and the largest gain possible; time of one slice with auto over that of a fixed slope",
            ("scan", *(f"{slope:g}" for slope in sorted(GRID)), "picked", "gain", "possible", "times"),
            rows(found),
            ("numpy", "torch"),
        )
    )


if __name__ == "__main__":
    main()
