"""What readers of measured k-space share: checks of the samples, and lines that no mask states."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from onebreath.errors import ScanError
from onebreath.training.data.series import Facts, KspaceSeries

LOG = logging.getLogger("onebreath.training")
# Share of the energy in the middle half of both axes below which k-space is not centred: noise alone has a quarter.
_LEAST_IN_THE_MIDDLE = 0.1


def measured_series(
    patient: str,
    name: str,
    kspace: np.ndarray,
    mask: np.ndarray | None = None,
    maps: np.ndarray | None = None,
    noise_std: float = 0.0,
    facts: Facts | None = None,
    view: str = "",
) -> KspaceSeries:
    """Series of k-space from a file; arguments as for `KspaceSeries`.

    Without a mask, lines between others that are zero in all samples count as not acquired. Outer lines of zeros,
    as zero filling and partial Fourier leave them, belong to complete data. Both are logged.

    Raises
    ------
    ScanError
        If the samples are not complex, k-space is not centred, or as for `KspaceSeries`.
    """
    where = f"{patient} {name}"
    if not np.iscomplexobj(kspace):
        raise ScanError(f"{where}: the samples are of type {kspace.dtype}, expected complex k-space")
    series = KspaceSeries(
        patient, name, np.asarray(kspace, np.complex64), mask, maps, noise_std, {} if facts is None else facts, view
    )
    check_centred(series.kspace, where)
    return series if mask is not None else replace(series, mask=_lines_with_data(series.kspace, where))


def check_centred(kspace: np.ndarray, where: str) -> None:
    """Raise ScanError if the centre of k-space ``(frame, coil, y, x)`` is elsewhere than in the middle."""
    energy = (np.abs(kspace) ** 2).sum(axis=(0, 1), dtype=np.float64)
    rows, columns = (slice(size // 4, size - size // 4) for size in energy.shape)
    if energy[rows, columns].sum() < _LEAST_IN_THE_MIDDLE * energy.sum():
        raise ScanError(
            f"{where}: the middle of k-space holds hardly any signal; its centre must be in the middle of both axes "
            "(numpy.fft.fftshift), and the axes in the stated order"
        )


def _lines_with_data(kspace: np.ndarray, where: str) -> np.ndarray | None:
    """Lines ``(frame, y)`` with samples; None if only outer ones lack them in all frames."""
    measured = np.asarray(kspace.any(axis=(1, 3)))
    rows = np.flatnonzero(measured.any(axis=0))
    first, last = int(rows[0]), int(rows[-1])
    total = measured.shape[1]
    if not measured[:, first : last + 1].all():
        LOG.warning(
            "%s: %d of %d lines of a frame are all zero and count as not acquired, as the file states no mask",
            where, round(float((~measured).sum(axis=1).mean())), total,
        )  # fmt: skip
        return measured
    if last - first + 1 < total:
        LOG.warning(
            "%s: %d lines at the beginning and %d at the end of k-space are zero (zero filling or partial Fourier); "
            "the true images are made without them",
            where, first, total - 1 - last,
        )  # fmt: skip
    return None
