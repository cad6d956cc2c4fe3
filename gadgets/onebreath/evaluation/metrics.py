"""Image quality: PSNR, SSIM, NMSE and HaarPSI of magnitude series (frame, y, x).

There are two conventions. ``strict``: one data range, the maximum of the target over the series, without rescaling, so
that errors of scale count. ``paper``: each frame of target and prediction is first divided by its own maximum, as in
the official evaluation of CRUNet-MR, which hides errors of scale.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import convolve2d

from onebreath.optional import required

Convention: TypeAlias = "Literal['strict', 'paper']"
Series: TypeAlias = "NDArray[np.floating]"

SSIM_WINDOW = 7
"""Side of SSIM's uniform window in pixels; half of it is excluded at each border."""


def measure(target: Series, prediction: Series, convention: Convention = "strict") -> dict[str, NDArray[np.float64]]:
    """Quality measures of each frame.

    Parameters
    ----------
    target, prediction
        Magnitudes (frame, y, x) in the same units.
    convention
        ``strict`` or ``paper``, see the module's docstring.

    Returns
    -------
    dict
        ``psnr`` (dB), ``ssim``, ``nmse`` and ``haarpsi``, each (frame,).

    Raises
    ------
    ValueError
        If the shapes differ, or the target (with ``paper``, one of its frames) is zero.
    """
    target, prediction, data_range = prepare(target, prediction, convention)
    frames = list(zip(target, prediction, strict=True))
    return {
        "psnr": np.array([psnr(*pair, data_range) for pair in frames]),
        "ssim": np.array([ssim_map(*pair, data_range)[INNER].mean() for pair in frames]),
        "nmse": np.array([nmse(*pair) for pair in frames]),
        "haarpsi": np.array([haarpsi(*(np.clip(x / data_range, 0, 1) for x in pair)) for pair in frames]),
    }


def prepare(target: Series, prediction: Series, convention: Convention) -> tuple[Series, Series, float]:
    """Both series scaled by a convention, in double precision, and the data range; errors as in `measure`."""
    if target.shape != prediction.shape or target.ndim != 3:
        raise ValueError(f"target {target.shape} and prediction {prediction.shape} must both be (frame, y, x)")
    target, prediction = target.astype(np.float64), prediction.astype(np.float64)
    if target.max() <= 0:
        raise ValueError("the target is zero everywhere; there is nothing to compare with")
    if convention == "strict":
        return target, prediction, float(target.max())
    peaks = target.max(axis=(1, 2), keepdims=True)
    if peaks.min() <= 0:
        raise ValueError(f"frame {int(peaks.argmin())} of the target is zero; the paper's convention cannot scale it")
    own = np.maximum(prediction.max(axis=(1, 2), keepdims=True), np.finfo(float).tiny)
    return target / peaks, prediction / own, 1.0


def psnr(target: Series, prediction: Series, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal images."""
    error = np.mean((target - prediction) ** 2)
    return float(10 * np.log10(data_range**2 / error)) if error > 0 else float("inf")


def nmse(target: Series, prediction: Series) -> float:
    """Squared error divided by the squared target."""
    return float(np.sum((target - prediction) ** 2) / np.sum(target**2))


def ssim_map(target: Series, prediction: Series, data_range: float) -> Series:
    """Structural similarity at each pixel: 7 x 7 uniform window, K = 0.01, 0.03, sample covariance.

    Z. Wang et al., "Image quality assessment", IEEE Trans Image Process 13:600 (2004), equation 13; by scikit-image.
    """
    if min(target.shape) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs images of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, not {target.shape}")
    compute = required("skimage.metrics", "report", "SSIM").structural_similarity
    _, similarity = compute(target, prediction, win_size=SSIM_WINDOW, data_range=data_range, full=True)
    return np.asarray(similarity)


_BORDER = SSIM_WINDOW // 2
INNER = (slice(_BORDER, -_BORDER), slice(_BORDER, -_BORDER))
"""Pixels of an image (y, x) whose SSIM window is inside the image."""


def haarpsi(target: Series, prediction: Series) -> float:
    """Haar wavelet-based perceptual similarity of two grey images in [0, 1].

    R. Reisenhofer et al., "A Haar wavelet-based perceptual similarity index", Signal Process Image Commun 61:33 (2018),
    equations 8 to 12, with C = 30 and alpha = 4.2.
    """
    c, alpha = 30.0, 4.2
    images = [_halved(255 * x) for x in (target, prediction)]
    similarity, weight = 0.0, 0.0
    for transpose in (False, True):
        a, b = ([_haar(image, scale, transpose) for scale in (1, 2, 3)] for image in images)
        local = sum((2 * x * y + c) / (x * x + y * y + c) for x, y in zip(a[:2], b[:2], strict=True)) / 2
        importance = np.maximum(a[2], b[2])
        similarity += float(np.sum(importance / (1 + np.exp(-alpha * local))))
        weight += float(np.sum(importance))
    if weight == 0:
        return 1.0
    mean = similarity / weight
    return float((np.log(mean / (1 - mean)) / alpha) ** 2)


def _halved(image: Series) -> Series:
    """Averages of blocks of 2 x 2 pixels; an odd side is padded with zeros."""
    rows, columns = image.shape
    full = np.pad(image, ((0, rows % 2), (0, columns % 2)))
    return (full[::2, ::2] + full[1::2, ::2] + full[::2, 1::2] + full[1::2, 1::2]) / 4


def _haar(image: Series, scale: int, transpose: bool) -> Series:
    """Magnitude of the Haar coefficients of one scale, along y or (transposed) along x."""
    size = 2**scale
    kernel = np.ones((size, size)) / size
    kernel[size // 2 :] *= -1
    kernel = kernel.T if transpose else kernel
    padded = np.pad(image, (size // 2 - 1, size // 2))  # an even kernel has no middle; padded as in the original
    return np.abs(convolve2d(padded, kernel[::-1, ::-1], mode="valid"))
