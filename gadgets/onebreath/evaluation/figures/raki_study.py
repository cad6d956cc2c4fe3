r"""Study of RAKI on any data: slope of the activation, number of calibration lines, and the artefact at the centre.

    python -m onebreath.evaluation.figures.raki_study --data scan.h5 --acceleration 4 --acs 24 40 --output runs/raki

The scan must be fully sampled and readable by ``onebreath evaluate``. Columns: NMSE and SSIM of the magnitude against
the full scan, and mean g, all inside the object; `ghost`, the root mean square of the transform of the first layer's
activation masks about its centre, in thousandths of the central tap; `centre`, the same relative to the whole
transform: above 1 the object's autocorrelation is visible as a ghost in its middle (P. Dawood et al.,
arXiv:2402.17410). A slope of 1 is a linear network, which has no ghost.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from onebreath.errors import MethodError, OnebreathError
from onebreath.evaluation.data import KINDS, read_slices
from onebreath.evaluation.figures.pictures import new_figure, save_figure
from onebreath.evaluation.metrics import measure
from onebreath.evaluation.scans import MaskChoice, ReferenceScan, ScanChoice, coil_maps, reference_scan, undersampled
from onebreath.keeping import write_text
from onebreath.methods.base import SliceData
from onebreath.methods.grappa.calibrated import lattice_offset
from onebreath.methods.raki.raki import Raki
from onebreath.mri.fourier import ifft2c
from onebreath.training.data.masks import Family

SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0)
_OBJECT = 0.1
_CENTRE = 4
_NOTHING = 1e-6


@dataclass(frozen=True)
class Row:
    """Results of one training."""

    slope: float
    acs_lines: int
    nmse: float
    ssim: float
    mean_gfactor: float | None
    ghost: float | None
    centre: float | None
    failure: str = ""


def study(
    scan: ReferenceScan, mask: MaskChoice, slopes: Sequence[float], acs_lines: Sequence[int], **parameters: object
) -> Iterator[tuple[Row, np.ndarray | None]]:
    """Train with each number of lines and each slope; yield a row and the mask's transform (y, x), or None.

    Parameters
    ----------
    scan
        Scan with at least as many calibration lines as the largest of `acs_lines`.
    mask
        Lattice of the lines; calibration lines are separate.
    slopes, acs_lines
        Values to combine.
    parameters
        Fields of `onebreath.methods.raki.parameters.RakiParameters`.
    """
    for lines in acs_lines:
        first = (scan.acs.shape[1] - lines + 1) // 2
        cut = replace(scan, acs=scan.acs[:, first : first + lines])
        data = undersampled(cut, mask, seed=0)
        maps, _ = coil_maps(cut)
        for slope in slopes:
            yield _one(cut, replace(data, maps=maps), slope, parameters)


def _one(
    scan: ReferenceScan, data: SliceData, slope: float, parameters: dict[str, object]
) -> tuple[Row, np.ndarray | None]:
    method, lines = Raki(slope=slope, **parameters), scan.acs.shape[1]
    try:
        found = method(data)
    except MethodError as error:
        return Row(slope, lines, np.nan, np.nan, None, None, None, str(error)), None
    inside = scan.truth > _OBJECT * scan.truth.max()
    quality = measure(scan.truth * inside, np.abs(found.images) * inside)
    gfactor = None if found.gfactor is None else float(found.gfactor[0][inside[0]].mean())
    spectrum = _spectrum(method, data, scan.acs)
    ghost, centre = (None, None) if spectrum is None else centre_strength(spectrum)
    nmse, ssim = (float(np.mean(quality[name])) for name in ("nmse", "ssim"))
    return Row(slope, lines, nmse, ssim, gfactor, ghost, centre), spectrum


def _spectrum(method: Raki, data: SliceData, acs: np.ndarray) -> np.ndarray | None:
    """Transform (y, x) of the first layer's masks at the first frame; None where R does not divide the lines."""
    import torch

    from onebreath.networks.raki.image_space import ImageSpaceRaki, mask_spectrum

    acceleration, rows = data.sampling.acceleration, data.kspace.shape[2]
    if rows % acceleration:
        return None
    network = method.learner.learn(data, acs).networks[0]  # from the cache: nothing is learned again
    offset = lattice_offset(np.any(data.mask[0], axis=1), data.sampling, acceleration)
    # The first line is a measured one in image space; a shift of k-space changes phases only.
    kspace = np.roll(np.asarray(data.kspace[0]), -offset, axis=1)
    (mask, _), *_ = ImageSpaceRaki(network).gains(ifft2c(torch.from_numpy(kspace)), "frozen")
    return np.asarray(mask_spectrum(mask, acceleration))


def centre_strength(spectrum: np.ndarray) -> tuple[float, float]:
    """Root mean square of a mask's transform (y, x) about its centre, and its ratio to that of the whole transform."""
    ny, nx = spectrum.shape
    around = spectrum[ny // 2 - _CENTRE : ny // 2 + _CENTRE + 1, nx // 2 - _CENTRE : nx // 2 + _CENTRE + 1]
    everywhere = np.sqrt(np.mean(spectrum**2))
    ghost = np.sqrt(np.mean(around**2))
    return float(ghost), float(ghost / everywhere) if everywhere > _NOTHING else 0.0


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    text = ["| ACS lines | slope | 1e4 NMSE | 100 SSIM | mean g | ghost | centre |", "|---|---|---|---|---|---|---|"]
    for one in rows:
        ghost = None if one.ghost is None else 1e3 * one.ghost
        cells = (1e4 * one.nmse, 100 * one.ssim, one.mean_gfactor, ghost, one.centre)
        numbers = [one.failure, "", "", "", ""] if one.failure else ["-" if x is None else f"{x:.3g}" for x in cells]
        text.append(f"| {' | '.join([str(one.acs_lines), f'{one.slope:g}', *numbers])} |")
    return "\n".join(text)


def spectra_figure(path: Path, spectra: dict[str, np.ndarray]) -> None:
    """Draw transforms of activation masks, in powers of ten of the central tap."""
    figure = new_figure(2.6 * len(spectra) + 0.8, 3.2)
    axes = figure.subplots(1, len(spectra), squeeze=False)[0]
    for axis, (name, values) in zip(axes, spectra.items(), strict=True):
        drawn = axis.imshow(np.log10(values + _NOTHING), cmap="magma", vmin=-4, vmax=-1)
        axis.set_title(name, fontsize="small")
        axis.set_axis_off()
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="powers of ten")
    save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, print its table, and write table, numbers and figure; returns 0, or 1 after printing an error."""
    parser = argparse.ArgumentParser(
        prog="python -m onebreath.evaluation.figures.raki_study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", default="brain7ch", help="as in `onebreath evaluate` (default: %(default)s)")
    add("--kind", choices=KINDS, help="format of the file, if its name does not show it")
    add("--patient", default="*", help="pattern; the first match is used")
    add("--slice", type=int, default=0, help="index of the slice (default: %(default)s)")
    add("--mask", default="uniform", choices=get_args(Family), help="a lattice (default: %(default)s)")
    add("--acceleration", type=int, default=4, help="default: %(default)s")
    add("--slopes", type=float, nargs="+", default=SLOPES, help="default: %(default)s")
    add("--acs", type=int, nargs="+", default=[24, 40], help="numbers of calibration lines (default: %(default)s)")
    add("--channels", type=int, default=8, help="coils after compression (default: %(default)s)")
    add("--snr", type=float, default=40, help="SNR of simulated scans (default: %(default)s)")
    add("--output", type=Path, default=Path("runs/raki_study"), help="folder (default: %(default)s)")
    args = parser.parse_args(arguments)
    logging.basicConfig(level="WARNING", format="%(message)s")
    try:
        series, truth = next(read_slices(args.data, args.kind, [args.patient], [args.slice]))
        choice = ScanChoice(channels=args.channels, calibration_lines=max(args.acs), snr=(args.snr, args.snr))
        scan = reference_scan(series, choice, truth)
        mask = MaskChoice(family=args.mask, acceleration=args.acceleration, acs_lines=0)
        found = list(study(scan, mask, args.slopes, args.acs, gfactor_samples=512, device="cpu"))
        rows = [row for row, _ in found]
        spectra = {f"{row.acs_lines} lines, slope {row.slope:g}": one for row, one in found if one is not None}
        _write(args, rows, spectra)
    except OnebreathError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(rows))
    return 0


def _write(args: argparse.Namespace, rows: Sequence[Row], spectra: dict[str, np.ndarray]) -> None:
    args.output.mkdir(parents=True, exist_ok=True)
    write_text(args.output / "table.md", table(rows) + "\n")
    content = {"arguments": {name: str(value) for name, value in vars(args).items()}, "rows": [asdict(r) for r in rows]}
    write_text(args.output / "table.json", json.dumps(content, indent=1) + "\n")
    if spectra:
        spectra_figure(args.output / "masks.png", spectra)


if __name__ == "__main__":
    sys.exit(main())
