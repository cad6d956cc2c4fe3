"""Size of the part of a slice used for tests, so that they take at most a share of the reconstruction time.

The time is estimated from sizes alone (`Method.effort`), not measured. So a choice depends only on
the scan and the configuration, and does not vary between runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDEST, NARROWEST = 64, 32
"""Columns; networks see their surroundings, and a narrower part would be unlike what they were trained on."""
FEWEST_FRAMES = 8
_MARGIN = 0.85
"""Part of the share that is planned for: preparing a test and judging it take time, too, and efforts are rounded."""

_MOST_TIMES = 5.0
"""Times the fastest candidate that a mean counts for."""


@dataclass(frozen=True)
class Plan:
    """Part of a slice for tests: first frames, middle columns; and the candidates left out, by index, with reasons."""

    frames: int
    columns: int
    left_out: dict[int, str]


def plan_of(efforts: Sequence[float], shape: tuple[int, ...], slices: int, within: float) -> Plan:
    """Plan tests that take at most `within` of the time that the mean of two candidates' images needs for the scan.

    Where one of them makes the images alone, its own share is larger; so a mean counts for no more than some times what
    the fastest candidate needs. A candidate is left out if it and those before it cannot be tested within that on the
    smallest part.

    Parameters
    ----------
    efforts
        Of the candidates, for a slice.
    shape
        Of the k-space (frame, coil, y, x).
    slices
        How many slices the scan has.
    within
        The share.
    """
    frames, _, _, columns = shape
    narrow, few = min(NARROWEST, columns), min(FEWEST_FRAMES, frames)
    smallest = narrow / columns * few / frames
    tested: list[float] = []
    left_out: dict[int, str] = {}
    for i, effort in enumerate(efforts):
        if not tested or _share([*tested, effort], slices, within) >= smallest:
            tested.append(effort)
        else:
            left_out[i] = f"the tests would take more than {within:g} of the reconstruction's time"
    share = _share(tested, slices, within)
    wide = int(min(WIDEST, columns, max(narrow, share * columns)))
    long = int(min(frames, max(few, share * frames * columns / wide)))
    return Plan(long, wide, left_out)


def _share(efforts: list[float], slices: int, within: float) -> float:
    """Return the part of a slice that may be used for tests."""
    needed = min(sum(efforts[:2]), _MOST_TIMES * min(efforts))
    return _MARGIN * within * slices * needed / max(sum(efforts), 1e-12)
