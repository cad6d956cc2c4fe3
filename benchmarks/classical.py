"""Speed of the classical methods on one cine slice, beside BART and pygrappa where they are installed.

The slice is synthetic: noise under smooth coil maps, which takes as long as anatomy does. All programs run in the same
call, on the same number of threads; the table gives the median of the repetitions. BART's time includes starting the
program and passing the arrays through files, which is how it is called from a chain.

    python -m benchmarks.classical --threads 2
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.table import table
from onebreath.methods.base import SliceData, method_class
from onebreath.mri import Array
from onebreath.mri.sampling import describe
from onebreath.threads import settle_process

BART_L2 = ("-l2", "-r", "0.001", "-i", "30")


class Row(NamedTuple):
    """One line of the table."""

    name: str
    seconds: float


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classical", description=__doc__)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--matrix", type=int, nargs=2, default=(192, 160), metavar=("Y", "X"))
    parser.add_argument("--coils", type=int, default=10)
    parser.add_argument("--acceleration", type=int, default=4)
    parser.add_argument("--acs", type=int, default=24, help="calibration lines")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)
    limit_threads(options.threads, "benchmarks.classical", arguments)
    ny, nx = options.matrix
    data = cine_slice(options.frames, ny, nx, options.coils, options.acceleration, options.acs)
    groups = [measure(data, options.repeat) for measure in (sense_rows, grappa_rows, one_frame_rows)]
    title = (
        f"Classical methods: {options.frames} frames, {ny} x {nx}, {options.coils} coils, R = {options.acceleration}, "
        f"{options.acs} ACS lines, {options.threads} threads, median of {options.repeat}; BART {bart_version()}"
    )
    columns = ("method", "seconds", "times the first of its group")
    cells = [
        (row.name, f"{row.seconds:.2f}", f"{row.seconds / rows[0].seconds:.1f}") for rows in groups for row in rows
    ]
    print(table(title, columns, cells, ("numpy", "scipy", "torch", "pygrappa")))


def limit_threads(threads: int, module: str, arguments: list[str] | None) -> None:
    """Start again with the thread limits in the environment: BLAS and FFT libraries read them when they are loaded.

    Memory, waiting threads and vectors are treated as in the worker.
    """
    wanted = str(threads)
    settle_process()
    if os.environ.get("OMP_NUM_THREADS") == wanted and os.environ.get("OPENBLAS_NUM_THREADS") == wanted:
        return
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), wanted)
    command = [sys.executable, "-m", module, *(sys.argv[1:] if arguments is None else arguments)]
    os.execve(sys.executable, command, {**os.environ, **limits})


def cine_slice(frames: int, ny: int, nx: int, coils: int, acceleration: int, acs: int) -> SliceData:
    """A slice with every R-th line and a block of calibration lines in every frame."""
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    angle = 2 * np.pi * np.arange(coils)[:, None, None] / coils
    maps = np.exp(-((y - np.sin(angle)) ** 2) - (x - np.cos(angle)) ** 2 + 1j * (angle + x * np.sin(angle)))
    maps = (maps / np.sqrt(np.sum(np.abs(maps) ** 2, axis=0))).astype(np.complex64)
    mask = np.zeros((1, ny, 1), bool)
    mask[:, ::acceleration] = True
    first = ny // 2 - acs // 2
    mask[:, first : first + acs] = True
    shape = (frames, coils, ny, nx)
    full = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    mean = full.mean(axis=0)[:, first : first + acs]
    return SliceData(full * mask[:, None], mask, mean, first, maps[None], describe(mask))


def sense_rows(data: SliceData, repeat: int) -> list[Row]:
    """CG-SENSE with 30 iterations: ours on numpy and torch, and BART's."""
    method = method_class("cg_sense")(device="cpu", tolerance=1e-12, iterations=30)
    rows = [Row("CG-SENSE, numpy", _median(partial(method, data), repeat))]
    if importlib.util.find_spec("torch"):
        import torch

        kspace, mask, maps = (torch.asarray(array) for array in (data.kspace, data.mask, data.maps))
        tensors = replace(data, kspace=kspace, mask=mask, acs=None, maps=maps)
        rows.append(Row("CG-SENSE, torch on the CPU", _median(partial(method, tensors), repeat)))
    with tempfile.TemporaryDirectory() as folder:
        if run := bart_pics(BART_L2, data, Path(folder)):
            rows.append(Row(f"bart pics {' '.join(BART_L2)} -w 1 (with start and files)", _median(run, repeat)))
    return rows


def grappa_rows(data: SliceData, repeat: int) -> list[Row]:
    """GRAPPA of all frames with both kernels."""
    rows = []
    for kernel, gfactor in ((k, g) for k in ("uniform", "arc") for g in (False, True)):
        method = method_class("grappa")(kernel=kernel, gfactor=gfactor)
        name = f"GRAPPA {kernel}{' with g-factor' if gfactor else ''}, all frames"
        rows.append(Row(name, _median(partial(method, data), repeat)))
    return rows


def one_frame_rows(data: SliceData, repeat: int) -> list[Row]:
    """One frame with the same 5 x 5 neighbourhood and calibration here and in pygrappa (which stays in k-space)."""
    one = replace(data, kspace=data.kspace[:1])
    method = method_class("grappa")(kernel="arc", arc_lines=5, arc_padding=True, gfactor=False)
    rows = [Row("GRAPPA arc 5 x 5 padded, one frame", _median(partial(method, one), repeat))]
    if run := pygrappa(one):
        rows.append(Row("pygrappa.grappa 5 x 5, one frame", _median(run, repeat)))
    return rows


def _median(run: Callable[[], object], repeat: int) -> float:
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def bart(command: Sequence[str], folder: Path, arrays: Mapping[str, Array]) -> Callable[[], None] | None:
    """Return a run of BART that writes arrays, and reads what its last argument names; None without BART."""
    if not shutil.which("bart"):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    # Without what the worker sets for itself.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}

    def run() -> None:
        for name, array in arrays.items():
            _write_cfl(folder / name, array)
        subprocess.run(["bart", *command], cwd=folder, check=True, capture_output=True, env=environment)
        np.fromfile(folder / f"{command[-1]}.cfl", np.complex64)

    return run


def bart_pics(options: Sequence[str], data: SliceData, folder: Path) -> Callable[[], None] | None:
    """Return a run of `bart pics` on a slice, without its own scaling; None without BART."""
    command = ("pics", *options, "-w", "1", "kspace", "maps", "images")
    return bart(command, folder, {"kspace": data.kspace, "maps": data.maps})


def pygrappa(data: SliceData) -> Callable[[], object] | None:
    """Return a run of pygrappa's 5 x 5 GRAPPA on the first frame; None if it is not installed."""
    if not importlib.util.find_spec("pygrappa"):
        return None
    grappa = importlib.import_module("pygrappa").grappa
    return partial(grappa, data.kspace[0], data.acs, kernel_size=(5, 5), coil_axis=0)


def bart_version() -> str:
    """Name the version of BART."""
    if not shutil.which("bart"):
        return "absent"
    return subprocess.run(["bart", "version"], capture_output=True, text=True, check=True).stdout.strip()


def _write_cfl(path: Path, array: Array) -> None:
    """Write (frame or set, coil, y, x) in BART's format: x, y, 1, coil first; frames are its dimension 10."""
    frames, coils, ny, nx = array.shape
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{nx} {ny} 1 {coils} 1 1 1 1 1 1 {frames} 1 1 1 1 1\n")
    array.astype(np.complex64).tofile(path.with_suffix(".cfl"))


if __name__ == "__main__":
    main()
