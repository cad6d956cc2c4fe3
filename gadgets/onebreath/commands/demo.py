"""`onebreath demo`: reconstruct a simulated scan; writes pictures, a cine loop, a table and a page."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onebreath.config.changes import changed
from onebreath.config.finding import find
from onebreath.errors import OnebreathError
from onebreath.evaluation.figures.pictures import cine_loop, compare_figure
from onebreath.evaluation.metrics import measure
from onebreath.host.replay import replay
from onebreath.images.reading import read_images
from onebreath.images.upright import upright
from onebreath.keeping import write_text
from onebreath.options import at_least, folder, positive
from onebreath.report.page import check_packages, write_report
from onebreath.simulation.scan import ScanOptions, simulate
from onebreath.terminal import working
from onebreath.wire.outputs import IMAGES, PAGE, PICTURE, RAW, check_folder_to_make, check_new, check_output

CONFIGS = {
    "zero-filled": "Onebreath_Cine_ZeroFilled.xml",
    "GRAPPA": "Onebreath_Cine_GRAPPA.xml",
    "CG-SENSE": "Onebreath_Cine_CGSENSE.xml",
    "L+S": "Onebreath_Cine_LplusS.xml",
    "CRUNet-MR": "Onebreath_Cine_CRUNetMR.xml",
    "default": "Onebreath_Cine.xml",
}
"""The configurations that the demo runs, by the name shown."""
SETTINGS = {"Onebreath_Cine_CGSENSE.xml": {"reconstruct": {"regularisation": "noise"}}}
"""Properties by which a classical method is as good as it can be, by configuration and gadget."""
REPORTED = "default"
"""The one that the page is about; it tells which of the candidates made the images."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--output", type=folder, default=Path("demo"), help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--slices", type=at_least(1), default=3, help="number of slices (default: %(default)s)")
    parser.add_argument(
        "--acceleration", type=at_least(1), default=8, help="distance of the lines (default: %(default)s)"
    )
    parser.add_argument(
        "--snr", type=positive, default=20.0, help="of blood, fully sampled, in SNR units (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Simulate, reconstruct, compare with the truth, and print the paths of all files."""
    _check_folder(args.output)
    check_packages()  # not only when all has been reconstructed
    args.output.mkdir(exist_ok=True)
    options = ScanOptions(
        anatomy="textured",
        slices=args.slices,
        slice_order="interleaved",
        acceleration=args.acceleration,
        snr=args.snr,
        seed=args.seed,
    )
    scan = simulate(options)
    raw = args.output / "scan.h5"
    scan.write(raw)
    print(f"{raw}: {len(scan.acquisitions)} acquisitions of {args.slices} interleaved slices, R = {args.acceleration}")
    truth = np.abs(scan.truth["image"])
    images, seconds = {}, {}
    stored = args.output / "images.h5"
    stored.unlink(missing_ok=True)
    for name, config in CONFIGS.items():
        images[name], seconds[name] = reconstruct(raw, config, stored, truth.shape)
    table = number_table(truth, images, seconds, scan.truth["heart_mask"])
    write_text(args.output / "table.md", table + "\n")
    units = "SNR units"
    turn = upright(np.stack([scan.truth[name] for name in ("read_dir", "phase_dir", "slice_dir")], axis=1))
    shown = {name: turn.pixels(series[0]) for name, series in {"truth": truth, **images}.items()}
    pixel_mm = (options.fov_mm[0] / options.matrix[0], options.fov_mm[1] / options.matrix[1])
    pixel_mm = pixel_mm[::-1] if turn.exchanged else pixel_mm
    frame_ms = float(np.diff(scan.truth["frame_times_ms"]).mean())
    page = args.output / "report.html"
    with working("drawing the pictures and the page"):
        cine_loop(args.output / "cine.gif", shown, frame_ms, pixel_mm, zoom=1.5, units=units)
        compare_figure(args.output / "images.png", shown.pop("truth"), shown, pixel_mm, units)
        write_report(stored, page, CONFIGS[REPORTED], raw)
    print(table)
    print(f"Pictures: {args.output / 'images.png'}, {args.output / 'cine.gif'}; images: {stored}; report: {page}")
    return 0


def _check_folder(folder: Path) -> None:
    """Refuse a folder whose files are somebody else's: only an earlier demo's are replaced; raises ConfigError."""
    check_folder_to_make(folder, "The files")
    if not (folder / "table.md").exists():
        check_new(folder / "scan.h5")
    for name, kind in (("scan.h5", RAW), ("images.h5", IMAGES), ("report.html", PAGE), ("images.png", PICTURE)):
        check_output(folder / name, kind)


def reconstruct(raw: Path, config: str, output: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], float]:
    """Send a raw file through a configuration; return magnitudes (slice, frame, y, x) in SNR units, and seconds.

    Raises
    ------
    OnebreathError
        If the chain reported an error, or other images came than expected.
    """
    text = changed(find(config).read_bytes(), config, SETTINGS[config]) if config in SETTINGS else None
    outcome = replay(raw, config, text, output=output, group=config)
    slices, frames = shape[:2]
    if outcome.failed or outcome.images.get(1) != slices * frames:
        raise OnebreathError(f"{config}: {outcome}; {' '.join(outcome.texts)}")
    series = next(one for one in read_images(output, config) if one.number == 1)
    sorted_images = np.empty(shape, np.float32)
    for image, head in enumerate(series.headers):
        sorted_images[head["slice"], head["phase"]] = series.values(image)[0, 0]
    return sorted_images, outcome.seconds


def number_table(
    truth: NDArray[np.floating],
    images: Mapping[str, NDArray[np.floating]],
    seconds: Mapping[str, float],
    heart: NDArray[np.bool_],
) -> str:
    """Make a Markdown table: mean over slices and frames of each measure, strict convention.

    Parameters
    ----------
    truth
        Magnitudes (slice, frame, y, x).
    images, seconds
        Of each method: magnitudes, and the time of the whole replay.
    heart
        Where it beats (slice, y, x); there the PSNR has the same peak, that of the slice.
    """
    rows = ["| method | PSNR (dB) | in the heart (dB) | SSIM | NMSE | HaarPSI | whole replay (s) |", "|" + "---|" * 7]
    for name, series in images.items():
        slices = [measure(target, found) for target, found in zip(truth, series, strict=True)]
        mean = {key: float(np.mean([values[key] for values in slices])) for key in slices[0]}
        beating = np.mean([_psnr(*one) for one in zip(truth, series, heart, strict=True)])
        rows.append(
            f"| {name} | {mean['psnr']:.2f} | {beating:.2f} | {mean['ssim']:.4f} | {mean['nmse']:.5f} "
            f"| {mean['haarpsi']:.4f} | {seconds[name]:.2f} |"
        )
    return "\n".join(rows)


def _psnr(truth: NDArray[np.floating], found: NDArray[np.floating], where: NDArray[np.bool_]) -> float:
    """Mean over the frames (frame, y, x) of the PSNR in a region, in dB."""
    errors = np.mean((found - truth)[:, where] ** 2, axis=1)
    return float(np.mean(10 * np.log10(truth.max() ** 2 / errors)))
