"""Prepared slices from measured k-space: coil compression, coil maps, and noise scale."""

from __future__ import annotations

import numpy as np

from onebreath.errors import ScanError
from onebreath.mri.coils import apply_channel_matrix, pca_matrix
from onebreath.mri.fourier import ifft2c, resize
from onebreath.training.data.scanning import ScanSettings, estimate_maps
from onebreath.training.data.series import KspaceSeries, PreparedSlice

# Side of the centre of k-space for the coil compression.
_CENTRE = 24


def calibrate_measured(series: KspaceSeries, settings: ScanSettings) -> PreparedSlice:
    """Prepared slice with compressed channels and coil maps from calibration lines or the time-averaged centre.

    A series with coil maps keeps its channels. Data with unknown noise count as noise-free and are scaled so that the
    maximum of the coil images is the largest SNR of the settings.

    Raises
    ------
    ScanError
        If there are fewer lines in the centre than the calibration needs.
    """
    lines = np.ones((1, series.kspace.shape[-2]), bool) if series.mask is None else series.mask
    kspace, maps = series.kspace, series.maps
    if maps is None:
        centre = _centre_of(series, lines, settings.calibration_lines[0])
        matrix = pca_matrix(resize(centre, (_CENTRE, _CENTRE)), min(settings.channels, len(centre)))
        kspace = apply_channel_matrix(matrix, kspace, 1)
        maps = estimate_maps(apply_channel_matrix(matrix, centre, 0), settings.calibration_lines[0])
    images = np.asarray(ifft2c(kspace.astype(np.complex64)))
    known = series.noise_std > 0
    scale = 1 / series.noise_std if known else settings.snr[1] / float(np.abs(images).max())
    ones = np.ones((1, *images.shape[-2:]), np.complex64)
    return PreparedSlice(
        series.patient, series.name, images * np.float32(scale), ones, maps.astype(np.complex64), lines, noisy=known
    )


def _centre_of(series: KspaceSeries, lines: np.ndarray, wanted: int) -> np.ndarray:
    """K-space ``(coil, y, x)`` whose centre calibrates: the calibration lines, else the time-averaged samples.

    Raises ScanError if the middle `wanted` lines are all acquired in neither.
    """
    first = lines.shape[1] // 2 - wanted // 2
    middle = slice(first, first + wanted)
    if series.calibration is not None and series.calibration[:, middle].any(axis=(0, 2)).all():
        return np.asarray(series.calibration, np.complex64)
    counts = lines.sum(axis=0)
    if (counts[middle] > 0).all():
        frames = len(series.kspace) / len(lines)
        return np.asarray(series.kspace.sum(axis=0) / np.maximum(counts * frames, 1)[:, None], np.complex64)
    found = "" if series.calibration is None else ", nor are there so many calibration lines"
    raise ScanError(
        f"{series.patient} {series.name}: the middle {wanted} lines are not all acquired{found}, coil maps cannot be "
        "estimated; lower scan.calibration_lines, or give maps with the data"
    )
