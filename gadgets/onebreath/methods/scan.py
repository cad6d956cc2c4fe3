"""Properties of a scan from header and data, for comparison with a model's domain and with protocol rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onebreath.methods.base import SliceData
from onebreath.methods.device import as_numpy
from onebreath.mrd.header import ScanHeader
from onebreath.mri.coils import combine
from onebreath.mri.fourier import ifft2c
from onebreath.zoo.domain import Scan

_BRIGHT_PERCENTILE = 97.0
"""Of the magnitude: about that of blood in a cine image, as in training."""


def scan_of_header(header: ScanHeader) -> Scan:
    """Return the scan's properties in the header; matrix, channels and acceleration are taken from the data instead."""
    return Scan(
        protocol=header.protocol_name,
        vendor=header.vendor,
        sequence=header.sequence_type,
        field_strength_t=header.field_strength_t,
        trajectory=header.trajectory,
    )


def scan_of(data: SliceData, header: Scan | None = None) -> Scan:
    """Return the header's properties completed by those of a slice."""
    frames, coils, ny, nx = data.kspace.shape
    # A block that the frames acquired together is in none of them.
    acs = None if data.sampling.acs_mode == "interleaved" else data.sampling.acs
    return replace(
        header or Scan(),
        acceleration=data.sampling.acceleration,
        mask_family=data.sampling.family,
        acs_lines=0 if acs is None else acs[1] - acs[0] + 1,
        frames=frames,
        matrix_y=ny,
        matrix_x=nx,
        coils=coils,
        snr=_snr(data),
    )


def _snr(data: SliceData) -> float | None:
    """Return the signal-to-noise ratio of a fully sampled frame, from the image of the whitened calibration lines."""
    if data.acs is None or data.maps is None:
        return None
    data = as_numpy(data)
    centre = np.zeros(data.kspace.shape[1:], np.complex64)
    centre[:, data.acs_first : data.acs_first + data.acs.shape[1]] = data.acs  # type: ignore[union-attr]
    return float(np.percentile(np.abs(combine(ifft2c(centre), data.maps[0])), _BRIGHT_PERCENTILE))  # type: ignore[index]
