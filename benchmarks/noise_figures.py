"""Figures and tables of docs/raki_figures.md: RAKI's slope, its noise by each estimator, and its activation masks.

Two fully sampled brain scans are undersampled: `brain7ch` (256 x 216, R = 4, 40 calibration lines) for the slope sweep,
`brain16ch` (64 x 64, R = 3, 24 lines) for the comparison of the estimators. The folder of the data is
``$ONEBREATH_SHARED/data``.

    python -m benchmarks.noise_figures --output docs/figures
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.table import table
from onebreath.evaluation.figures.raki_study import centre_strength
from onebreath.evaluation.metrics import measure
from onebreath.methods.raki.calibration import Schedule, calibrate
from onebreath.methods.raki.parameters import RakiParameters
from onebreath.mri.espirit import espirit
from onebreath.mri.fourier import ifft2c
from onebreath.mri.gfactor_network import Derivative, network_gfactor
from onebreath.mri.noise_map import noise_map
from onebreath.mri.normality import LIMIT, lilliefors
from onebreath.networks.raki.image_space import Gain, ImageSpaceRaki, comb_energy, mask_spectrum
from onebreath.networks.raki.raki import Raki

SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0)
SCHEDULE = Schedule(RakiParameters().steps, RakiParameters().rate, head_start=True)
# Of the pictures, which are kept in the repository.
_COLOURS = 32


@dataclass(frozen=True)
class Scan:
    """A fully sampled slice in units of its noise, what is left of it, and maps of the calibration lines."""

    full: np.ndarray
    maps: np.ndarray
    acs: np.ndarray
    acceleration: int

    @property
    def acquired(self) -> np.ndarray:
        """Lines (y,) that are left."""
        return np.arange(self.full.shape[1]) % self.acceleration == 0

    @property
    def kspace(self) -> torch.Tensor:
        """Undersampled k-space (coil, y, x)."""
        return torch.from_numpy(self.full * self.acquired[:, None])

    @property
    def truth(self) -> np.ndarray:
        """Image (y, x) of all lines."""
        return np.sum(np.conj(self.maps) * ifft2c(self.full), axis=0)

    @property
    def inside(self) -> np.ndarray:
        """Pixels (y, x) of the object."""
        return np.abs(self.truth) > 0.15 * np.percentile(np.abs(self.truth), 99)

    def image(self, network: Raki, kspace: torch.Tensor) -> torch.Tensor:
        """Images (batch, y, x) of k-space (batch, coil, y, x)."""
        filled = network.fill(kspace, 0)[0]
        whole = torch.where(torch.from_numpy(self.acquired)[:, None], kspace, filled)
        return (torch.from_numpy(self.maps).conj() * ifft2c(whole)).sum(1)

    def gfactor(self, network: Raki, derivative: Derivative) -> np.ndarray:
        """The closed form."""
        linear = network.linearised(self.kspace, 0)
        return network_gfactor(linear, 0, ~self.acquired, self.acquired, self.maps, derivative, 1024).gfactor


def load(folder: Path, name: str, acceleration: int, lines: int) -> Scan:
    """Read a scan, divide by the noise in the corners of its k-space, and calibrate coil maps."""
    kspace = np.load(folder / name / "kspace.npy").astype(np.complex64)
    ny, nx = kspace.shape[1:]
    corner = kspace[:, : ny // 16, : nx // 16]
    kspace = kspace / np.std(np.stack([corner.real, corner.imag]), axis=(0, 2, 3))[:, None, None]
    ny -= ny % acceleration
    acs = kspace[:, kspace.shape[1] // 2 - lines // 2 : kspace.shape[1] // 2 + lines // 2]
    return Scan(kspace[:, :ny], espirit(acs, (ny, nx))[0][0], acs, acceleration)


def trained(scan: Scan, slope: float) -> Raki:
    """RAKI of the published size, with its default training."""
    torch.manual_seed(0)
    network = Raki(scan.full.shape[0], scan.acceleration, slope=slope, targets="missing")
    calibrate(network, torch.from_numpy(scan.acs), SCHEDULE)
    return network.requires_grad_(False)


def main() -> None:
    """Print tables and write pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noise_figures", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ONEBREATH_SHARED", "../shared")) / "data")
    parser.add_argument("--output", type=Path, help="folder for the pictures; none are written without")
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--part", choices=["slope", "estimators", "both"], default="both")
    parser.add_argument("--slopes", type=float, nargs="+", default=SLOPES, help="of the comparison of estimators")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"The scans are not at {options.data}; set ONEBREATH_SHARED to the folder above data/.")
        return
    if options.part != "estimators":
        print(slope_sweep(load(options.data, "brain7ch", 4, 40), options.output), end="\n\n")
    if options.part != "slope":
        scan = load(options.data, "brain16ch", 3, 24)
        print(estimators(scan, options.slopes, options.replicas, options.output))


def slope_sweep(scan: Scan, output: Path | None) -> str:
    """Table of noise, error, blur and artefact over the slope; figures of errors, g-factor and masks."""
    rows, images, maps, spectra = [], {}, {}, {}
    truth = np.abs(scan.truth) * scan.inside
    for slope in SLOPES:
        network = trained(scan, slope)
        image = np.abs(scan.image(network, scan.kspace[None])[0].numpy())
        gfactor = scan.gfactor(network, "exact")
        masks = [mask for mask, _ in _in_image_space(network, scan)[1]]
        quality = {k: float(v[0]) for k, v in measure(truth[None], (image * scan.inside)[None]).items()}
        spectrum = mask_spectrum(masks[0], scan.acceleration).numpy()
        cells = [slope, 1e4 * quality["nmse"], 100 * quality["ssim"], gfactor[scan.inside].mean()]
        combs = (comb_energy(mask, scan.acceleration) for mask in masks)
        cells += [edges(image, truth), *combs, centre_strength(spectrum)[1]]
        rows.append([f"{cell:.3g}" for cell in cells])
        name = f"slope {slope:g}"
        images[name], maps[name], spectra[name] = image, gfactor * scan.inside, np.log10(spectrum + 1e-6)
    if output is not None:
        top = float(np.percentile(truth, 99.5))
        errors = {name: np.abs(image - truth) * scan.inside for name, image in images.items()}
        _figure(output / "slope_errors.png", errors, "gray", (0, top / 5))
        _figure(output / "slope_gfactor.png", maps, "viridis", (0, 4))
        _figure(output / "slope_masks.png", spectra, "magma", (-4, -1))
    title = f"brain7ch, R = {scan.acceleration}: the slope of the activation ({scan.full.shape[1]} lines)"
    head = ("slope", "1e4 NMSE", "100 SSIM", "mean g", "edges", "comb 1", "comb 2", "centre of mask 1")
    return table(title, head, rows, ("numpy", "torch"))


def estimators(scan: Scan, slopes: Sequence[float], replicas: int, output: Path | None) -> str:
    """Table of all estimators of one g-factor map beside replicas of the whole network; figures of the maps."""
    rows: list[Sequence[str]] = []
    for slope in slopes:
        found, spent, score = estimated(scan, slope, replicas)
        normal = f"{np.mean(score[scan.inside] < LIMIT):.1%}"
        for name, gfactor in found.items():
            cells = _compared(gfactor, found["mc, masks free"], scan.inside)
            rows.append([f"{slope:g}", name, *cells, spent[name], normal if name == "mc, masks free" else ""])
        if output is not None and slope == 0.5:
            shown = {name: gfactor * scan.inside for name, gfactor in found.items()}
            _figure(output / "estimators.png", shown, "viridis", (0, 3))
            _figure(output / "normality.png", {"Lilliefors, over its limit": score / LIMIT}, "coolwarm", (0, 2))
    title = f"brain16ch, R = {scan.acceleration}: estimators of the g-factor, {replicas} replicas"
    head = ("slope", "estimator", "mean g", "bias", "correlation", "seconds (CPU)", "normal pixels")
    return table(title, head, rows, ("numpy", "torch"))


def estimated(scan: Scan, slope: float, replicas: int) -> tuple[dict[str, np.ndarray], dict[str, str], np.ndarray]:
    """The g-factor by each estimator, the time it took, and how normal the noise of the magnitude is."""
    network = trained(scan, slope)
    kspace, mask = scan.kspace[None], torch.from_numpy(scan.acquired)[None, :, None]
    reference = scan.image(network, kspace)
    chain, gains = _in_image_space(network, scan)
    changes: list[np.ndarray] = []

    def free(noise: torch.Tensor) -> torch.Tensor:
        image = scan.image(network, kspace + noise)
        changes.append((image[0].abs() - reference[0].abs()).numpy())
        return image - reference

    def frozen(noise: torch.Tensor) -> torch.Tensor:
        return (torch.from_numpy(scan.maps).conj() * chain.apply(ifft2c(noise), gains)).sum(1)

    def sampled(response: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        with torch.no_grad():
            std = noise_map(response, kspace, mask, replicas).std[0]
        return std.numpy() / np.sqrt(scan.acceleration)

    estimates: dict[str, Callable[[], np.ndarray]] = {
        "mc, masks free": partial(sampled, free),
        "mc, masks frozen": partial(sampled, frozen),
        "exact": partial(scan.gfactor, network, "exact"),
        "frozen": partial(scan.gfactor, network, "frozen"),
    }
    found, spent = {}, {}
    for name, estimate in estimates.items():
        wall, cpu = time.perf_counter(), time.process_time()
        found[name] = estimate()
        spent[name] = f"{time.perf_counter() - wall:.1f} ({time.process_time() - cpu:.1f})"
    return found, spent, lilliefors(np.stack(changes))


def _in_image_space(network: Raki, scan: Scan) -> tuple[ImageSpaceRaki, list[Gain]]:
    """The network in image space, and its activation masks at the data."""
    chain = ImageSpaceRaki(network)
    return chain, chain.gains(ifft2c(scan.kspace), "frozen")


def _compared(gfactor: np.ndarray, reference: np.ndarray, inside: np.ndarray) -> Sequence[str]:
    one, other = gfactor[inside], reference[inside]
    bias, correlation = one.mean() / other.mean() - 1, np.corrcoef(one, other)[0, 1]
    return f"{one.mean():.3f}", f"{bias:+.1%}", f"{correlation:.3f}"


def edges(image: np.ndarray, truth: np.ndarray) -> float:
    """Mean gradient at the truth's strongest twentieth of gradients, along them, relative to the truth: 1 is sharp."""
    ours, theirs = np.stack(np.gradient(image)), np.stack(np.gradient(truth))
    strength = np.hypot(*theirs)
    strong = strength > np.percentile(strength, 95)
    return float(np.sum((ours * theirs)[:, strong]) / np.sum(strength[strong] ** 2))


def _figure(path: Path, panels: Mapping[str, np.ndarray], colours: str, window: tuple[float, float]) -> None:
    from matplotlib.figure import Figure
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(2.4 * len(panels) + 0.6, 2.9), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (name, values) in zip(axes, panels.items(), strict=True):
        shown = axis.imshow(values, cmap=colours, vmin=window[0], vmax=window[1])
        axis.set_title(name, fontsize="small")
        axis.set_axis_off()
    figure.colorbar(shown, ax=axes, shrink=0.8)
    figure.savefig(path, dpi=100)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(_COLOURS)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main()
