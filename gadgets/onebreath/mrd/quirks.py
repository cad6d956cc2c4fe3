"""Deviations of vendors and converters from the standard: one function each, naming where it was seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onebreath.mrd.header import ScanHeader

_STANDS_OUT = 20.0
"""How much stronger than most samples an echo is."""

COUNTERS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "slice",
    "phase",
    "repetition",
    "set",
    "contrast",
    "average",
)


def flagged_image_lines(flagged: NDArray[np.void], others: Sequence[NDArray[np.void]]) -> NDArray[np.bool_]:
    """Return which lines flagged as surface coil correction scan (line,) are image lines.

    The Siemens converter sets ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA for image lines that need a raw data correction
    (ismrmrd issue 246, mrpro issue 119). Such lines fill positions that no other line has; those of a correction scan
    are of other channels or samples, or share their counters with image lines.

    Parameters
    ----------
    flagged
        Headers of the flagged lines.
    others
        Headers of the image lines of each slice.
    """
    reference = np.concatenate([*others]) if others else flagged[:1]
    alike = np.ones(len(flagged), bool)
    for name in ("active_channels", "number_of_samples", "encoding_space_ref"):
        values, counts = np.unique(reference[name], return_counts=True)
        alike &= flagged[name] == values[counts.argmax()]
    alike &= flagged["number_of_samples"] > 0
    if not others:
        return alike

    def positions(table: NDArray[np.void]) -> NDArray[np.int64]:
        return np.stack([table["idx"][name].astype(np.int64) for name in COUNTERS], axis=1)

    held = {tuple(position) for position in positions(reference).tolist()}
    wanted = positions(flagged).tolist()
    shared = any(tuple(position) in held for position, fits in zip(wanted, alike.tolist(), strict=True) if fits)
    return alike & (not shared)


def two_dimensional(header: ScanHeader) -> bool:
    """Return whether a scan has no partitions, whatever its encoded matrix says.

    Converters of Pulseq files write an encoded z of 2 for two-dimensional scans (pulseq issue 34, mrpro issue 144).
    """
    limits = header.limits("kspace_encoding_step_2")
    if limits is not None and limits.maximum > limits.minimum:
        return False
    return bool(header.encoded_matrix.z == 1 or header.recon_matrix.z == 1)


def echo_as_acquired(profile: NDArray[np.float64], centre: int) -> bool | None:
    """Return how a header counts the echo's sample of reversed lines: in the line as acquired, or once it is turned.

    ISMRMRD's text says as acquired; Siemens' converter counts in the turned line. Where the echo is asymmetric the two
    differ by many samples (mrpro issue 832, gadgetron issue 1199).

    Parameters
    ----------
    profile : (x,)
        Energy of each sample of such lines as acquired.
    centre
        The sample that the header states.

    Returns
    -------
    bool or None
        None as long as the echo does not stand out of the profile where either would have it.
    """
    peak, turned = int(profile.argmax()), len(profile) - 1 - centre
    if profile[peak] < _STANDS_OUT * np.median(profile) or min(abs(peak - centre), abs(peak - turned)) > 1:
        return None
    return abs(peak - centre) <= abs(peak - turned)
