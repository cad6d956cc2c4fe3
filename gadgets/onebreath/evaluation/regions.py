"""Image quality in the dynamic and in the static region of an image.

Only PSNR and SSIM are local enough to be measured in a region.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onebreath.evaluation.metrics import INNER, Convention, Series, prepare, ssim_map

DYNAMIC_PERCENTILE = 90
"""Percentile of the standard deviation over time above which pixels are dynamic."""


def dynamic_region(target: Series) -> NDArray[np.bool_]:
    """Pixels (y, x) whose standard deviation over time is strictly above the 90th percentile of all pixels.

    Parameters
    ----------
    target
        Magnitude of the ground truth (frame, y, x).
    """
    change = target.astype(np.float64).std(axis=0)
    return np.asarray(change > np.percentile(change, DYNAMIC_PERCENTILE))


def measure_region(
    target: Series, prediction: Series, region: NDArray[np.bool_], convention: Convention = "strict"
) -> dict[str, float]:
    """PSNR (dB) and SSIM of a region of a slice.

    The squared error is averaged over the region in all frames; the SSIM of the whole image is averaged over the pixels
    of the region whose window is inside the image.

    Parameters
    ----------
    target, prediction
        Magnitudes (frame, y, x) in the same units.
    region
        Pixels (y, x).
    convention
        See `onebreath.evaluation.metrics`.

    Raises
    ------
    ValueError
        If the shapes do not fit, the target is zero, or the region has no pixel inside the border.
    """
    target, prediction, data_range = prepare(target, prediction, convention)
    if region.shape != target.shape[1:]:
        raise ValueError(f"the region {region.shape} is not of the size of the images {target.shape[1:]}")
    if not region[INNER].any():
        raise ValueError("the region holds no pixel inside the border of the image; nothing can be measured in it")
    error = float(np.mean((target - prediction)[:, region] ** 2))
    maps = [ssim_map(a, b, data_range)[INNER][region[INNER]] for a, b in zip(target, prediction, strict=True)]
    return {
        "psnr": float(10 * np.log10(data_range**2 / error)) if error > 0 else float("inf"),
        "ssim": float(np.mean(maps)),
    }
