"""Reader of measured k-space in numpy's format, without a header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onebreath.errors import ScanError
from onebreath.mri.coils import apply_channel_matrix
from onebreath.mri.noise import covariance, whitening_matrix
from onebreath.training.data.series import KspaceSeries
from onebreath.training.readers.measured import check_centred, measured_series

# Size of a corner of k-space, which contains almost only noise, as a fraction of each axis.
_CORNER = 1 / 16
_AXES = (3, 4)
# Samples of noise per channel that a covariance needs.
_LEAST = 4


def kspace_npy(path: Path) -> Iterator[KspaceSeries]:
    """Yield k-space ``(coil, y, x)`` or ``(frame, coil, y, x)``, centred unitary transform of the images.

    Such a file has no noise scan. The noise covariance is that of the corners of k-space, which hold hardly any signal,
    and the channels are whitened with it: noise then has a standard deviation of 1 in the real part. The patient is the
    file's name, or for ``kspace.npy`` its folder's.

    Raises
    ------
    ScanError
        If the file is damaged, its array has other axes or is not complex, or the corners of k-space are empty.
    """
    try:
        kspace = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ScanError(f"{path} cannot be read, it is damaged or not a .npy file: {error}") from error
    if kspace.ndim not in _AXES or not np.iscomplexobj(kspace):
        raise ScanError(
            f"{path}: {kspace.dtype} {kspace.shape}, expected complex k-space (coil, y, x) or (frame, coil, y, x)"
        )
    series = kspace if kspace.ndim == max(_AXES) else kspace[None]
    check_centred(series, str(path))  # here, as whitening by corners that hold the signal would hide it
    corner = [max(1, round(size * _CORNER)) for size in series.shape[2:]]
    rows, columns = (np.r_[:n, -n:0] for n in corner)
    noise = np.moveaxis(series[:, :, rows][..., columns], 1, 0).reshape(series.shape[1], -1)
    noise = noise[:, noise.any(axis=0)]  # samples that were not acquired would make it less
    if noise.shape[1] < _LEAST * len(noise):
        raise ScanError(
            f"{path}: the corners of k-space hold {noise.shape[1]} samples other than zero, too few to measure the "
            f"noise of {len(noise)} channels by; write the scan as ISMRMRD with its noise lines (kind: mrd)"
        )
    white = apply_channel_matrix(whitening_matrix(covariance(noise), np.sqrt(2)), series, 1)
    name = path.parent.name if path.stem == "kspace" else path.stem
    facts = {"noise_from": "corners of k-space"}
    yield measured_series(name, "slice00", np.asarray(white, np.complex64), noise_std=1.0, facts=facts)
