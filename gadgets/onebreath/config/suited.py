"""Choice of a configuration for a scan by its lines, where none was named."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onebreath.mrd.lines import NOISE, SIDE_BITS, bit, is_imaging

CINE, STATIC, NOISE_ONLY = "Onebreath_Cine.xml", "Onebreath_Static.xml", "Onebreath_Noise.xml"


def suited_to(table: NDArray[np.void]) -> tuple[str, str]:
    """Return the name of a configuration, and why it is that one.

    Cardiac phases make a cine. Repetitions alone do not: they may be of any organ, and the models are of hearts.

    Parameters
    ----------
    table
        Headers of all lines (line,).
    """
    flags = table["flags"]
    if len(table) and (flags & bit(NOISE) != 0).all():
        return NOISE_ONLY, "all its lines are noise"
    lines = table[(flags & SIDE_BITS == 0) & is_imaging(flags) & (table["number_of_samples"] > 0)]
    phases, partitions = (np.unique(lines["idx"][name]).size for name in ("phase", "kspace_encode_step_2"))
    if partitions > 1:
        return STATIC, f"its lines count {partitions} partitions"
    if phases > 1:
        return CINE, f"its lines count {phases} cardiac phases"
    return STATIC, "its lines count no cardiac phases"
