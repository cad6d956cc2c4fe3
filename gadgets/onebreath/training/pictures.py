"""Progress picture of a run: losses, learning rate, and examples next to their ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from onebreath.keeping import replacing

PICTURE = "progress.png"
_ERROR_GAIN = 5.0


class Shown(NamedTuple):
    """One example: magnitudes ``(frame, y, x)`` of zero-filled image, network output and ground truth, if known."""

    start: np.ndarray
    image: np.ndarray
    target: np.ndarray | None


def draw_progress(entries: Sequence[dict[str, float]], shown: Sequence[Shown], file: Path) -> None:
    """Draw the losses of a run and example images; the file is written atomically.

    Parameters
    ----------
    entries
        Those of the run's journal.
    shown
        Examples, one row each: zero-filled, network, truth, error times five, and one column over time; without truth
        and error where the true images are unknown.
    file
        PNG to write.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Fixed layout: an automatic one takes longer than drawing.
    figure = Figure(figsize=(12, 3 + 2.4 * len(shown)), dpi=80)
    grid = figure.add_gridspec(
        1 + len(shown),
        6,
        height_ratios=[3] + [2.4] * len(shown),
        hspace=0.25,
        left=0.06,
        right=0.99,
        top=0.97,
        bottom=0.04,
    )
    _draw_losses([figure.add_subplot(grid[0, :3]), figure.add_subplot(grid[0, 3:])], entries)
    for row, one in enumerate(shown, 1):
        _draw_example([figure.add_subplot(grid[row, column]) for column in range(6)], one)
    with replacing(file) as partial:
        FigureCanvasAgg(figure).print_png(str(partial))


def _draw_losses(axes: Any, entries: Sequence[dict[str, float]]) -> None:
    for name, style in (("loss", "-"), ("validation_loss", "o-")):
        found = [(one["step"], one[name]) for one in entries if name in one]
        if found:
            axes[0].plot(*zip(*found, strict=True), style, label=name.replace("_", " "), linewidth=1, markersize=3)
    axes[0].set_title("loss over steps", fontsize=8)
    axes[0].legend(loc="upper right")
    rates = [(one["step"], one["rate"]) for one in entries if "rate" in one]
    if rates:
        axes[1].plot(*zip(*rates, strict=True), linewidth=1)
    axes[1].set(yscale="log")
    axes[1].set_title("learning rate over steps", fontsize=8)


def _draw_example(axes: Any, one: Shown) -> None:
    best = one.image if one.target is None else one.target
    frame, bright, middle = len(best) // 2, float(np.percentile(best, 99.7)) or 1.0, best.shape[2] // 2
    pictures = {"zero-filled": one.start[frame], "network": one.image[frame]}
    if one.target is not None:
        pictures["truth"] = one.target[frame]
        pictures[f"error x {_ERROR_GAIN:g}"] = _ERROR_GAIN * np.abs(one.image[frame] - one.target[frame])
    pictures["network over time"] = one.image[:, :, middle].T
    if one.target is not None:
        pictures["truth over time"] = one.target[:, :, middle].T
    for axis in axes[len(pictures) :]:
        axis.set_visible(False)
    for axis, (title, picture) in zip(axes, pictures.items(), strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=bright, aspect="auto", interpolation="nearest")
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
