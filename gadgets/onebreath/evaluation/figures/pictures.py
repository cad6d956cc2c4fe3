"""Pictures of cine series: images beside their errors, x-t profiles, spreads of measures, and animated loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ERROR_GAIN = 5
"""How much brighter error maps are shown than images."""


def compare_figure(path: Path, truth: NDArray[np.floating], images: Mapping[str, NDArray[np.floating]]) -> None:
    """Draw one slice: image, error and profile over time of each method.

    Parameters
    ----------
    path
        File to write.
    truth
        Magnitude (frame, y, x).
    images
        Magnitudes in the same units, by method.
    """
    from matplotlib.figure import Figure

    columns = {"truth": truth, **images}
    top = float(np.percentile(truth, 99.8))
    frame, row = len(truth) // 3, most_moving_row(truth)
    figure = Figure(figsize=(2.6 * len(columns), 7.0), layout="constrained")
    axes = figure.subplots(3, len(columns), squeeze=False, gridspec_kw={"height_ratios": [1, 1, 0.45]})
    for place, (name, series) in enumerate(columns.items()):
        image, error, profile = axes[:, place]
        image.imshow(series[frame], cmap="gray", vmin=0, vmax=top)
        image.axhline(row, color="tab:orange", linewidth=0.6)
        image.set_title(name)
        error.imshow(np.abs(series[frame] - truth[frame]), cmap="gray", vmin=0, vmax=top / ERROR_GAIN)
        error.set_title("" if name == "truth" else f"error x{ERROR_GAIN}", fontsize="small")
        profile.imshow(series[:, row], cmap="gray", vmin=0, vmax=top, aspect="auto")
        profile.set_title("row over time" if place == 0 else "", fontsize="small")
        for axis in axes[:, place]:
            axis.set_axis_off()
    figure.savefig(path, dpi=110)


def most_moving_row(series: NDArray[np.floating]) -> int:
    """Return the row (y) of a series (frame, y, x) that changes most over time."""
    return int(series.std(axis=0).sum(axis=1).argmax())


def box_plots(
    path: Path, groups: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]], titles: Mapping[str, str]
) -> None:
    """Draw how values of slices spread: a row of panels per group, a panel per measure, a box per method.

    Parameters
    ----------
    path
        File to write.
    groups
        Values by group, measure and method.
    titles
        What measures are called.
    """
    from matplotlib.figure import Figure

    measures = list(dict.fromkeys(measure for group in groups.values() for measure in group))
    figure = Figure(figsize=(3.6 * len(measures), 3.2 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), len(measures), squeeze=False)
    for row, (name, group) in zip(panels, groups.items(), strict=True):
        for panel, measure in zip(row, measures, strict=True):
            values = group.get(measure, {})
            panel.boxplot(list(values.values()), medianprops={"color": "tab:orange"}, flierprops={"markersize": 3})
            panel.set_xticks(range(1, len(values) + 1), list(values), rotation=30, ha="right", fontsize="small")
            panel.set_title(titles[measure], fontsize="small")
            panel.grid(axis="y", linewidth=0.3)
        row[0].set_ylabel(name, fontsize="small")
    figure.savefig(path, dpi=110)


def cine_loop(path: Path, images: Mapping[str, NDArray[np.floating]], frame_ms: int = 60, zoom: int = 2) -> None:
    """Write an animated GIF in which all series (frame, y, x) beat side by side.

    Parameters
    ----------
    path
        File to write.
    images
        Magnitudes in the same units; the first one sets the window.
    frame_ms
        Duration of a frame in ms.
    zoom
        Pixels per image pixel.
    """
    from PIL import Image

    top = float(np.percentile(next(iter(images.values())), 99.8))
    beside = np.concatenate(list(images.values()), axis=2)
    grey = np.clip(255 * beside / top, 0, 255).astype(np.uint8)
    frames = [Image.fromarray(frame.repeat(zoom, axis=0).repeat(zoom, axis=1)) for frame in grey]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=frame_ms, loop=0)
