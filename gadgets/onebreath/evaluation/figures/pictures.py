"""Figures of cine series: images and errors, profiles over time, box plots of measures, and animated loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.keeping import whole
from onebreath.optional import required

ERROR_GAIN = 5
"""Factor by which error maps are brighter than images."""
TEXT_HEIGHT = 20
"""Height of a line of text in a loop, in screen pixels."""


def figures() -> Any:
    """Return matplotlib's module of figures; ConfigError if it cannot be used: some ask before their work."""
    return required("matplotlib.figure", "report", "A figure")


def new_figure(width: float, height: float) -> Any:
    """Empty matplotlib figure of a size in inches; ConfigError if matplotlib is not installed."""
    return figures().Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure atomically, in the format of the file's suffix; ConfigError if it cannot be written."""
    with whole(path) as part:
        figure.savefig(part, dpi=110, format=path.suffix.removeprefix(".") or "png")


def compare_figure(
    path: Path,
    truth: NDArray[np.floating],
    images: Mapping[str, NDArray[np.floating]],
    pixel_mm: tuple[float, float] | None = None,
    units: str = "image units",
    reference: str = "truth",
    difference: str = "error",
) -> None:
    """Draw one slice: image, error and profile over time of each method, with colour bars and a scale bar.

    A slice of one frame has no profiles.

    Parameters
    ----------
    path
        File to write.
    truth
        Magnitude (frame, y, x).
    images
        Magnitudes in the same units, by method.
    pixel_mm
        Pixel size along y and x, for the true shape of the body; None: unknown, pixels are drawn square and the figure
        says so.
    units
        Units of the magnitudes, for the colour bars.
    reference, difference
        What `truth` is, and what the difference to it is called.
    """
    columns = {reference: truth, **images}
    top = float(np.percentile(truth, 99.8))
    frame, row = len(truth) // 3, most_moving_row(truth)
    tall, wide = (n * mm for n, mm in zip(truth.shape[1:], pixel_mm or (1.0, 1.0), strict=True))
    shape, extent = tall / wide, (0.0, wide, tall, 0.0)
    width = 2.6 * len(columns) + 0.9
    heights = [shape, shape, 0.45][: 3 if len(truth) > 1 else 2]
    figure = new_figure(width, 2.6 * sum(heights) + 1.1)
    axes = figure.subplots(len(heights), len(columns), squeeze=False, gridspec_kw={"height_ratios": heights})
    for column, (name, series) in enumerate(columns.items()):
        image, error = axes[:2, column]
        shown = image.imshow(series[frame], cmap="gray", vmin=0, vmax=top, extent=extent, aspect="equal")
        if len(truth) > 1:
            image.axhline((row + 0.5) * tall / truth.shape[1], color="tab:orange", linewidth=0.6)
        image.set_title(lines_of_name(name))
        wrong = np.abs(series[frame] - truth[frame])
        missed = error.imshow(wrong, cmap="gray", vmin=0, vmax=top / ERROR_GAIN, extent=extent, aspect="equal")
        error.set_title("" if name == reference else f"{difference} x{ERROR_GAIN}", fontsize="small")
        for profile in axes[2:, column]:
            profile.imshow(series[:, row], cmap="gray", vmin=0, vmax=top, aspect="auto")
            profile.set_title("row over time" if column == 0 else "", fontsize="small")
        for axis in axes[:, column]:
            axis.set_axis_off()
    _scale_bar(axes[0, 0], wide, tall, pixel_mm is not None)
    figure.colorbar(shown, ax=axes[0], label=f"magnitude ({units})")
    figure.colorbar(missed, ax=axes[1], label=f"{difference} ({units})")
    save_figure(figure, path)


def lines_of_name(name: str) -> str:
    """Name of a method for the title of a panel: its options (``unet.static:data_consistency=off``) in a line each."""
    return name.replace(":", "\n").replace(",", "\n")


def _scale_bar(axis: Any, wide: float, tall: float, known: bool) -> None:
    """Draw a bar of 50 mm (10 mm in small fields of view), or a remark that the pixel size is unknown."""
    if not known:
        axis.text(0.02 * wide, 0.97 * tall, "pixel size not known", color="tab:orange", fontsize="x-small")
        return
    length = 50 if wide > 120 else 10
    axis.plot([0.95 * wide - length, 0.95 * wide], [0.95 * tall] * 2, color="tab:orange", linewidth=2)
    middle = 0.95 * wide - length / 2
    axis.text(middle, 0.93 * tall, f"{length} mm", color="tab:orange", fontsize="x-small", ha="center", va="bottom")


def most_moving_row(series: NDArray[np.floating]) -> int:
    """Row (y) of a series (frame, y, x) that changes most over time."""
    return int(series.std(axis=0).sum(axis=1).argmax())


def box_plots(
    path: Path, groups: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]], titles: Mapping[str, str]
) -> None:
    """Draw box plots of slices' values: a row of panels per group, a panel per measure, a box per method.

    Parameters
    ----------
    path
        File to write.
    groups
        Values by group, measure and method.
    titles
        Titles of the measures.
    """
    measures = list(dict.fromkeys(measure for group in groups.values() for measure in group))
    figure = new_figure(3.6 * len(measures), 3.2 * len(groups))
    panels = figure.subplots(len(groups), len(measures), squeeze=False)
    for row, (name, group) in zip(panels, groups.items(), strict=True):
        for panel, measure in zip(row, measures, strict=True):
            values = group.get(measure, {})
            panel.boxplot(list(values.values()), medianprops={"color": "tab:orange"}, flierprops={"markersize": 3})
            panel.set_xticks(range(1, len(values) + 1), list(values), rotation=30, ha="right", fontsize="small")
            panel.set_title(titles[measure], fontsize="small")
            panel.grid(axis="y", linewidth=0.3)
        row[0].set_ylabel(name, fontsize="small")
    save_figure(figure, path)


def cine_loop(
    path: Path,
    images: Mapping[str, NDArray[np.floating]],
    frame_ms: float = 60,
    pixel_mm: tuple[float, float] = (1.0, 1.0),
    zoom: float = 2,
    units: str = "image units",
) -> None:
    """Write an animated GIF of all series (frame, y, x) side by side, with their names.

    Parameters
    ----------
    path
        File to write.
    images
        Magnitudes in the same units, by name; the first one determines the window.
    frame_ms
        Duration of a frame in ms, which GIF rounds to hundredths of a second.
    pixel_mm
        Pixel size along y and x, for the true shape of the body.
    zoom
        Screen pixels per smaller side of an image pixel.
    units
        Units of the magnitudes, for the legend.
    """
    from PIL import Image, ImageDraw

    first = next(iter(images.values()))
    top = float(np.percentile(first, 99.8))
    frames, ny, nx = first.shape
    tall, wide = (round(n * mm / min(pixel_mm) * zoom) for n, mm in zip((ny, nx), pixel_mm, strict=True))
    legend = f"white: {top:.3g} {units}"
    pages = []
    for frame in range(frames):
        page = Image.new("L", (wide * len(images), tall + 2 * TEXT_HEIGHT))
        pen = ImageDraw.Draw(page)
        for column, (name, series) in enumerate(images.items()):
            grey = Image.fromarray(np.clip(255 * series[frame] / top, 0, 255).astype(np.uint8))
            page.paste(grey.resize((wide, tall), Image.Resampling.BICUBIC), (wide * column, TEXT_HEIGHT))
            pen.text((wide * (column + 0.5), 2), name, fill=255, anchor="ma", font_size=TEXT_HEIGHT - 5)
        pen.text((4, tall + TEXT_HEIGHT + 2), legend, fill=180, font_size=TEXT_HEIGHT - 6)
        when = f"frame {frame + 1} of {frames}, {frame * frame_ms:.0f} ms"
        pen.text((page.width - 4, tall + TEXT_HEIGHT + 2), when, fill=180, anchor="ra", font_size=TEXT_HEIGHT - 6)
        pages.append(page)
    duration = max(10, round(frame_ms, -1))
    with whole(path) as part:
        pages[0].save(part, "GIF", save_all=True, append_images=pages[1:], duration=duration, loop=0)
