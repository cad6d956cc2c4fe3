"""What is known of the noise of a slice's samples."""

from __future__ import annotations

import logging

from onebreath.methods.base import SliceData
from onebreath.mri.noise_level import faintest

log = logging.getLogger("onebreath.noise")

FAR_BELOW = 0.5
"""Whitened data whose faintest part has less noise than this are in other units than was said."""


def noise_level(data: SliceData) -> tuple[float, str]:
    """Standard deviation of the noise in the real and in the imaginary part of a sample, and where it is known from.

    1 where the data are whitened; otherwise, and where no part of k-space is as loud as that, what is measured there.
    """
    measured = faintest(data.kspace, data.mask)
    if not data.whitened:
        return measured, "measured in the faintest part of k-space, as no noise scan was there"
    if 0 < measured < FAR_BELOW:
        log.warning("the data count as whitened, but their noise is %.3g, not 1; that is used", measured)
        return measured, "measured in the faintest part of k-space, as it is far below that of whitened data"
    return 1.0, "whitening"
