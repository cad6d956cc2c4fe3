"""Figure of one slice in the style of the CRUNet-MR paper: the middle half of its lines, SSIM, errors and motion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onebreath.evaluation.figures.pictures import ERROR_GAIN, lines_of_name, most_moving_row, new_figure, save_figure
from onebreath.evaluation.metrics import measure
from onebreath.evaluation.regions import dynamic_region


def cropped(series: NDArray[np.floating]) -> NDArray[np.floating]:
    """Series (frame, y, x) without its top and bottom quarter, as in the paper's figures."""
    rows = series.shape[1]
    return series[:, rows // 4 : rows - rows // 4]


def ssim_of_crop(truth: NDArray[np.floating], image: NDArray[np.floating]) -> float:
    """Mean SSIM of the cropped frames of two series (frame, y, x) in the same units."""
    return float(np.mean(measure(cropped(truth), cropped(image))["ssim"]))


def crop_figure(
    path: Path,
    truth: NDArray[np.floating],
    images: Mapping[str, NDArray[np.floating]],
    pixel_mm: tuple[float, float] | None = None,
) -> None:
    """Draw the crop: images, errors, a row over time, and the dynamic region of the whole slice.

    Parameters
    ----------
    path
        File to write.
    truth, images
        Magnitudes (frame, y, x) in the same units, by method.
    pixel_mm
        Pixel size along y and x; None: unknown, pixels are drawn square.
    """
    moving = cropped(dynamic_region(truth)[None].astype(float))[0]
    series = {name: cropped(one) for name, one in {"truth": truth, **images}.items()}
    target = series["truth"]
    top, frame, row = float(np.percentile(target, 99.8)), len(target) // 3, most_moving_row(target)
    aspect = 1.0 if pixel_mm is None else pixel_mm[0] / pixel_mm[1]
    figure = new_figure(2.6 * len(series), 5.4)
    axes = figure.subplots(3, len(series), squeeze=False, gridspec_kw={"height_ratios": [1, 1, 0.6]})
    for column, (name, one) in enumerate(series.items()):
        image, below, profile = axes[:, column]
        image.imshow(one[frame], cmap="gray", vmin=0, vmax=top, aspect=aspect)
        image.axhline(row, color="tab:orange", linewidth=0.6)
        if name == "truth":
            image.set_title(name, fontsize="small")
            below.imshow(one[frame], cmap="gray", vmin=0, vmax=top, aspect=aspect)
            below.imshow(np.ma.masked_equal(moving, 0), cmap="autumn", alpha=0.5, vmin=0, vmax=1, aspect=aspect)
            below.set_title("dynamic region", fontsize="small")
        else:
            title = f"{lines_of_name(name)}\nSSIM {ssim_of_crop(truth, images[name]):.3f}"
            image.set_title(title, fontsize="small")
            wrong = np.abs(one[frame] - target[frame])
            below.imshow(wrong, cmap="gray", vmin=0, vmax=top / ERROR_GAIN, aspect=aspect)
            below.set_title(f"error x{ERROR_GAIN}", fontsize="small")
        profile.imshow(one[:, row], cmap="gray", vmin=0, vmax=top, aspect="auto")
        profile.set_title("row over time" if column == 0 else "", fontsize="small")
        for axis in axes[:, column]:
            axis.set_axis_off()
    save_figure(figure, path)
