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
    """Prepared slice with compressed channels and coil maps from the time-averaged centre of measured k-space.

    A series with coil maps keeps its channels. Data with unknown noise count as noise-free and are scaled so that the
    maximum of the coil images is the largest SNR of the settings.

    Raises
    ------
    ScanError
        If there are fewer lines in the centre than the calibration needs.
    """
    lines = np.ones((1, series.kspace.shape[-2]), bool) if series.mask is None else series.mask
    sampled = lines.sum(axis=0)
    mean = series.kspace.sum(axis=0) / np.maximum(sampled * (len(series.kspace) / len(lines)), 1)[:, None]
    first = lines.shape[1] // 2 - settings.calibration_lines[0] // 2
    if not (sampled[first : first + settings.calibration_lines[0]] > 0).all():
        raise ScanError(
            f"{series.patient} {series.name}: the middle {settings.calibration_lines[0]} lines are not all acquired, "
            "coil maps cannot be estimated; give maps with the data"
        )
    kspace, maps = series.kspace, series.maps
    if maps is None:
        matrix = pca_matrix(resize(mean, (_CENTRE, _CENTRE)), min(settings.channels, len(mean)))
        kspace = apply_channel_matrix(matrix, kspace, 1)
        maps = estimate_maps(apply_channel_matrix(matrix, mean.astype(np.complex64), 0), settings.calibration_lines[0])
    images = np.asarray(ifft2c(kspace.astype(np.complex64)))
    known = series.noise_std > 0
    scale = 1 / series.noise_std if known else settings.snr[1] / float(np.abs(images).max())
    ones = np.ones((1, *images.shape[-2:]), np.complex64)
    return PreparedSlice(
        series.patient, series.name, images * np.float32(scale), ones, maps.astype(np.complex64), lines, noisy=known
    )
