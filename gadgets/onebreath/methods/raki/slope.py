"""The slope of RAKI's activation, picked from a small grid by calibration lines that no training has seen.

At slope 1 the network is linear, as GRAPPA is. The smaller the slope, the less noise passes, and the less of the weak
signal of outer k-space. What is best depends on noise, coils and acceleration, and calibration lines alone do not tell:
they are where the signal is strong. So slopes are compared as methods are, by `onebreath.methods.choice.edge`: the
noise is measured that a network passes on to the missing lines, with the known noise of the scan, and the signal that
it loses at held-back calibration lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from onebreath.errors import MethodError
from onebreath.methods.base import Method, SliceData
from onebreath.methods.raki.parameters import USUAL_SLOPE
from onebreath.mri.sampling import describe

GRID = (USUAL_SLOPE, 0.25, 0.0, 1.0)
"""In the order of preference, where they differ by less than the standard error."""
TRAININGS = 2 * len(GRID)
"""That picking takes: two for each slope."""
_ANY_TIME = 1e6


@dataclass(frozen=True)
class Picked:
    """The slope, and in words why it is this one."""

    slope: float
    reason: str


def pick_slope(make: Callable[[float], Method], data: SliceData) -> Picked:
    """Pick the slope with the smallest estimated error; the usual one where nothing can be told.

    Parameters
    ----------
    make
        Makes the method with a slope.
    data
        A slice with calibration lines and coil maps.
    """
    from onebreath.methods.choice.choice import choose

    try:
        found = choose([(f"{slope:g}", make(slope)) for slope in GRID], _with_block(data), _ANY_TIME, 1)
    except MethodError as reason:
        return Picked(USUAL_SLOPE, f"{USUAL_SLOPE:g}, as others cannot be tested: {reason}")
    return Picked(
        GRID[found.winner], f"{GRID[found.winner]:g}; estimated errors: {'; '.join(map(str, found.estimates))}"
    )


def _with_block(data: SliceData) -> SliceData:
    """Return the first frame that holds lines, with the calibration lines as data, which are its own or the mean's."""
    acs, frames = data.acs, data.kspace.shape[0]
    if acs is None:
        raise MethodError("there are no calibration lines")
    frame = next((one for one in range(frames) if one not in data.sampling.empty_frames), 0)
    mask = np.broadcast_to(data.mask, (frames, *data.mask.shape[1:]))[frame : frame + 1].copy()
    kspace = np.array(data.kspace[frame : frame + 1])
    for row in range(acs.shape[1]):
        at = data.acs_first + row
        if not mask[0, at].any():
            kspace[0, :, at], mask[0, at] = acs[:, row], mask[0].any(axis=0)
    sampling = describe(mask, data.sampling.centre, acceleration=data.sampling.acceleration)
    return replace(data, kspace=kspace, mask=mask, sampling=sampling, start=None)
