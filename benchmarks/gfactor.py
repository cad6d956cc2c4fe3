"""g-factor maps of RAKI: time, memory and error of the closed form, beside automatic differentiation per pixel.

The slice is a disc seen by smooth coils, with noise; the network has the published size (128 and 64 channels, kernels
2 x 5, 1 x 1 and 1 x 5, slope 0.5), its last layer solved by least squares. Both ways differentiate the same network at
the same data, on the same crop, in the same run. Full maps are computed from a draw of samples, each in a process of
its own, so that its peak memory is its own; their error is measured at pixels drawn at random, where automatic
differentiation gives the exact value. Of the memory, about 0.3 GiB are Python and torch.

    python -m benchmarks.gfactor --threads 2
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from benchmarks.table import table
from onebreath.methods.raki.calibration import solve_last_layer
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.mri.gfactor_network import GfactorMap, network_gfactor
from onebreath.networks.raki.raki import Raki
from onebreath.networks.shared.derivative import pixel_noise

Result = TypeVar("Result")

ACCELERATION = 4
COLUMNS = ("map", "seconds", "CPU seconds", "peak memory", "stated error", "measured error", "mean g")


@dataclass(frozen=True)
class Case:
    """A slice and its network."""

    network: Raki
    kspace: torch.Tensor
    maps: np.ndarray
    acquired: np.ndarray

    def gfactor(self, samples: int) -> GfactorMap:
        """The closed form from so many samples; 0: all."""
        linear = self.network.linearised(self.kspace, 0)
        return network_gfactor(linear, 0, ~self.acquired, self.acquired, self.maps, "exact", samples)

    def combined(self, kspace: torch.Tensor) -> torch.Tensor:
        """The image (y, x)."""
        filled = self.network.fill(kspace[None], 0)[0][0]
        images = ifft2c(torch.where(torch.from_numpy(self.acquired)[:, None], kspace, filled))
        return (torch.from_numpy(self.maps).conj() * images).sum(0)

    def by_differentiation(self, pixels: torch.Tensor) -> np.ndarray:
        """The g-factor of single pixels, of their magnitude."""
        mask = torch.from_numpy(self.acquired)[:, None]
        return pixel_noise(self.combined, self.kspace, mask, pixels).numpy() / np.sqrt(ACCELERATION)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gfactor", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=512, help="drawn for the full maps; 0: all")
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--pixels", type=int, default=24, help="for automatic differentiation")
    parser.add_argument("--full", type=int, nargs=3, metavar=("COILS", "Y", "X"), help="measure only one full map")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.full:
        print("|".join(full_map(options.full, options.samples, options.pixels)))
        return
    rows = crop_rows(options.crop, options.samples, options.pixels)
    rows += [_in_own_process(sizes, options) for sizes in (("7", "256", "216"), ("16", "320", "320"))]
    title = f"g-factor of RAKI, R = {ACCELERATION}, exact derivative, {options.threads} threads"
    print(table(title, COLUMNS, rows, ("numpy", "scipy", "torch")))


def crop_rows(size: int, samples: int, pixels: int) -> list[list[str]]:
    """Automatic differentiation of every pixel of a crop with 7 coils, and the closed form from all samples and some.

    Every pixel takes a backward pass of the same length, so some are timed and stand for all.
    """
    case, name = make_case(7, size, size), f"crop {size} x {size}, 7 coils"
    chosen = np.random.default_rng(1).integers(0, size, (pixels, 2))
    case.by_differentiation(torch.from_numpy(chosen[:1]))  # what libraries do on their first call is not measured
    case.gfactor(16)
    _, first = _timed(lambda: case.by_differentiation(torch.from_numpy(chosen[:1])))
    exact, some = _timed(lambda: case.by_differentiation(torch.from_numpy(chosen)))
    automatic = [one + (all_ - one) * (size**2 - 1) / (pixels - 1) for one, all_ in zip(first, some, strict=True)]
    by_pixel = f"{name}, automatic, each pixel (from {pixels})"
    rows = [[by_pixel, *_seconds(automatic), "", "0", "0", f"{exact.mean():.3f}"]]
    for used in (0, samples):
        found, closed = _timed(partial(case.gfactor, used))
        values = found.gfactor[tuple(chosen.T)]
        error = np.sqrt(np.mean((values / exact - 1) ** 2))
        words = f"{name}, {used or 'all'} samples ({automatic[1] / closed[1]:.0f} times less CPU)"
        rows.append([words, *_seconds(closed), "", f"{found.error:.1%}", f"{error:.1%}", f"{values.mean():.3f}"])
    return rows


def full_map(sizes: Sequence[int], samples: int, pixels: int) -> list[str]:
    """Cells of the row of a full map with sizes (coil, y, x)."""
    coils, ny, nx = sizes
    case = make_case(coils, ny, nx)
    found, spent = _timed(lambda: case.gfactor(samples))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    inside = np.argwhere(np.hypot(*_grid(ny, nx)) < 0.7)
    chosen = inside[np.random.default_rng(1).choice(len(inside), pixels, replace=False)]
    exact = case.by_differentiation(torch.from_numpy(chosen))
    error = np.sqrt(np.mean((found.gfactor[tuple(chosen.T)] / exact - 1) ** 2))
    name = f"full {ny} x {nx}, {coils} coils, {samples or 'all'} samples"
    return [name, *_seconds(spent), f"{peak:.1f} GiB", f"{found.error:.1%}", f"{error:.1%}", f"{exact.mean():.3f}"]


def make_case(coils: int, ny: int, nx: int) -> Case:
    """A disc seen by coils around it, every R-th line sampled, the network calibrated on the central lines."""
    y, x = _grid(ny, nx)
    angle = 2 * np.pi * np.arange(coils)[:, None, None] / coils
    maps = np.exp(-((y - np.sin(angle)) ** 2) - (x - np.cos(angle)) ** 2 + 1j * (angle + x * np.sin(angle)))
    maps = (maps / np.sqrt(np.sum(np.abs(maps) ** 2, axis=0))).astype(np.complex64)
    disc = 200.0 * (np.hypot(y, x) < 0.7) + 100.0 * (np.hypot(y - 0.2, x + 0.1) < 0.3)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, coils, ny, nx))
    full = torch.from_numpy((fft2c(maps * disc) + noise[0] + 1j * noise[1]).astype(np.complex64))
    torch.manual_seed(0)
    network = Raki(coils, ACCELERATION, targets="missing").requires_grad_(False)
    lines = min(40, ny)
    solve_last_layer(network, full[:, ny // 2 - lines // 2 : ny // 2 + lines // 2], 1e-3)
    acquired = np.arange(ny) % ACCELERATION == 0
    return Case(network, full * torch.from_numpy(acquired)[:, None], maps, acquired)


def _grid(ny: int, nx: int) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(-1, 1, ny)[:, None], np.linspace(-1, 1, nx)[None]


def _in_own_process(sizes: tuple[str, ...], options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.gfactor", "--full", *sizes]
    for name in ("threads", "samples", "pixels"):
        command += [f"--{name}", str(getattr(options, name))]
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(options.threads))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **limits})
    return done.stdout.strip().split("|")


def _timed(run: Callable[[], Result]) -> tuple[Result, tuple[float, float]]:
    """A result, and the seconds and CPU seconds that it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return result, (time.perf_counter() - wall, time.process_time() - cpu)


def _seconds(spent: Sequence[float]) -> list[str]:
    return [f"{value:.2f}" for value in spent]


if __name__ == "__main__":
    main()
