"""Figures of A-LIKNet on a scan: attention weights of frames and coils, and singular values.

python -m onebreath.evaluation.figures.attention a_liknet.cine_kt --data sunnybrook --acceleration 16 ...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from onebreath import zoo
from onebreath.errors import ModelError, OnebreathError
from onebreath.evaluation.data import read_slices
from onebreath.evaluation.figures.pictures import new_figure, save_figure
from onebreath.evaluation.scans import MaskChoice, ScanChoice, coil_maps, reference_scan, undersampled
from onebreath.methods.base import SliceData
from onebreath.methods.learned.unrolled import Unrolled
from onebreath.training.data.masks import Family

if TYPE_CHECKING:
    from torch import Tensor

_PANELS = {
    "image.denoiser.attentions.0": "frames",
    "image.denoiser.attentions.1": "pairs of frames",
    "kspace.layers.2": "coils, first layer",
    "kspace.layers.5": "coils, second layer",
}
_PARTS = ("real part", "imaginary part")


def attention_of(model: str, data: SliceData) -> dict[str, NDArray[np.floating]]:
    """Attention weights from the reconstruction of a slice, averaged over the windows in time.

    Parameters
    ----------
    model
        ``architecture.tag``.
    data
        The slice, with coil maps.

    Returns
    -------
    dict
        Weights ``(part, iteration, frame or coil)`` of the real and the imaginary part, by title of a panel. The frames
        include padding, half of it before the series.

    Raises
    ------
    ModelError
        If the network has no such attention.
    """
    from onebreath.networks.a_liknet.attention import recorded_weights

    method = Unrolled(model=model, device="cpu", outside_domain="allow")
    with recorded_weights(zoo.load(model).network) as weights:
        method(data)
    maps = by_panel(weights)
    if not maps:
        raise ModelError(f"model '{model}' has no attention over frames or coils")
    return maps


def by_panel(weights: Mapping[str, Tensor]) -> dict[str, NDArray[np.floating]]:
    """Weights grouped by panel and sorted by iteration; see `attention_of`."""
    found = {}
    for name, title in _PANELS.items():
        numbers = [key.split(".")[1] for key in weights if key.endswith(f".{name}")]
        rows = [weights[f"iterations.{number}.{name}"].mean(dim=0).cpu().numpy() for number in sorted(numbers, key=int)]
        if rows:
            found[title] = np.stack(rows, axis=1)
    return found


def spectra_of(model: str, data: SliceData) -> NDArray[np.floating]:
    """Singular values of the patches in the low-rank branch during the reconstruction of a slice.

    Parameters
    ----------
    model
        ``architecture.tag``.
    data
        The slice, with coil maps.

    Returns
    -------
    array
        ``(before or after, iteration, singular value)``: mean over all patches, in descending order, relative to the
        largest one before the branch.

    Raises
    ------
    ModelError
        If the network has no low-rank branch.
    """
    import torch

    from onebreath.networks.a_liknet.low_rank import LowRank, cut_patches

    found: dict[str, list[NDArray[np.floating]]] = {}

    def keep(name: str, frames: int) -> Any:
        def hook(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            values = [
                torch.linalg.svdvals(cut_patches(one.detach(), frames).flatten(3)).mean(dim=(0, 1)).cpu().numpy()
                for one in (inputs[0], output)
            ]
            found.setdefault(name, []).append(np.stack(values))

        return hook

    network = zoo.load(model).network
    branches = {name: part for name, part in network.named_modules() if isinstance(part, LowRank)}
    if not branches:
        raise ModelError(f"model '{model}' has no low-rank branch")
    hooks = [part.register_forward_hook(keep(name, part.frames)) for name, part in branches.items()]
    try:
        Unrolled(model=model, device="cpu", outside_domain="allow")(data)
    finally:
        for hook in hooks:
            hook.remove()
    if set(found) != set(branches):
        raise ModelError(f"not every low-rank branch of model '{model}' was run, so there are no singular values")
    spectra = np.stack([np.mean(found[name], axis=0) for name in branches], axis=1)
    return np.asarray(spectra / spectra[0, :, :1])


def spectra_figure(path: Path, spectra: NDArray[np.floating]) -> None:
    """Draw singular values before and after the low-rank branch, one line per iteration; see `spectra_of`."""
    figure = new_figure(7.0, 3.4)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, title, lines in zip(axes, ("before", "after"), spectra, strict=True):
        for number, values in enumerate(lines, start=1):
            axis.semilogy(np.arange(1, len(values) + 1), values, marker=".", label=f"iteration {number}")
        axis.set_title(f"{title} the low-rank branch", fontsize="small")
        axis.set_xlabel("singular value", fontsize="small")
    axes[0].set_ylabel("relative to the largest before", fontsize="small")
    axes[1].legend(fontsize="x-small")
    save_figure(figure, path)


def attention_figure(path: Path, maps: Mapping[str, NDArray[np.floating]]) -> None:
    """Draw attention weights as images, with iterations from top to bottom.

    Parameters
    ----------
    path
        File to write.
    maps
        Result of `attention_of`.
    """
    figure = new_figure(3.2 * len(maps), 4.2)
    axes = figure.subplots(2, len(maps), squeeze=False)
    for column, (title, parts) in zip(axes.T, maps.items(), strict=True):
        for axis, part, values in zip(column, _PARTS, parts, strict=True):
            drawn = axis.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
            axis.set_title(f"{title}: {part}", fontsize="small")
            axis.set_ylabel("iteration", fontsize="small")
            axis.set_yticks(range(len(values)), range(1, len(values) + 1))
    figure.colorbar(drawn, ax=axes, label="weight")
    save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the weights of a model on one slice; returns 0, or 1 after printing an error."""
    parser = argparse.ArgumentParser(
        prog="python -m onebreath.evaluation.figures.attention",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="architecture.tag")
    parser.add_argument("--data", default="simulator", help="as in `onebreath evaluate` (default: %(default)s)")
    parser.add_argument("--patient", default="*", help="pattern; the first match is used")
    parser.add_argument("--slice", type=int, default=0, help="index of the slice (default: %(default)s)")
    parser.add_argument("--mask", default="vista", choices=get_args(Family), help="default: %(default)s")
    parser.add_argument("--acceleration", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--channels", type=int, default=10, help="coils after compression (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("attention.png"), help="default: %(default)s")
    parser.add_argument("--spectra", type=Path, metavar="FILE", help="also draw the low-rank branch's singular values")
    args = parser.parse_args(arguments)
    try:
        series, truth = next(read_slices(args.data, None, [args.patient], [args.slice]))
        scan = reference_scan(series, ScanChoice(channels=args.channels), truth)
        mask = MaskChoice(family=args.mask, acceleration=args.acceleration, acs_lines=0)
        maps, _ = coil_maps(scan)
        data = replace(undersampled(scan, mask, seed=0), maps=maps)
        attention_figure(args.output, attention_of(args.model, data))
        if args.spectra:
            spectra_figure(args.spectra, spectra_of(args.model, data))
    except OnebreathError as error:
        print(error, file=sys.stderr)
        return 1
    print(*(path for path in (args.output, args.spectra) if path), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
