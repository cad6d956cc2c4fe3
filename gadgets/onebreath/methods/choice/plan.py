"""Size of the part of a slice used for tests, so that they take at most a share of the reconstruction time.

The time is estimated from sizes alone (`Method.effort`), not measured. So a choice depends only on
the scan and the configuration, and does not vary between runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDEST, NARROWEST = 64, 32
"""Columns; networks see their surroundings, and a narrower part would be unlike what they were trained on."""
_STEP = 8
"""Of the number of columns: networks halve their images several times."""
FEWEST_FRAMES = 8
_MARGIN = 0.85
"""Part of the share that is planned for: preparing a test and judging it take time, too, and efforts are rounded."""

_MOST_TIMES, _MOST_TIMES_STATIC = 5.0, 2.5
"""Times the fastest candidate that a mean counts for, of cine and of static scans: of these fast candidates often win
that need a tenth of the time of the slowest."""


MOST_SLICES = 4
"""Slices of a static scan that are tested at most."""
_NO_TIME = 1e-12
_FAST = 2.0
"""Times the effort of the fastest candidate up to which one may be the reference."""


@dataclass(frozen=True)
class Plan:
    """Part of a slice for tests: first frames, middle columns; the candidates left out, by index, with reasons; of how
    many slices; and the candidate beside which the others' first draw decides whether they get a second one, None if
    there is time for all draws whoever wins.
    """

    frames: int
    columns: int
    left_out: dict[int, str]
    slices: int = 1
    reference: int | None = None


def plan_of(efforts: Sequence[float], shape: tuple[int, ...], slices: int, within: float, draws: int = 1) -> Plan:
    """Plan tests that take at most `within` of the scan's reconstruction time, whoever wins.

    The part is as large as the time of the fastest candidate allows. Even the smallest part may be too large for that;
    it is tested if it is small enough for the mean of two candidates' images, which counts for no more than some times
    what the fastest candidate needs. A candidate is left out if it and those before it are too slow for that, too.

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
    draws
        How often each candidate reconstructs the part.
    """
    frames, _, _, columns = shape
    narrow, few = min(NARROWEST, columns), min(FEWEST_FRAMES, frames)
    budget = within * slices, _MOST_TIMES * min(efforts)
    tested, left_out = _affordable(efforts, *budget, draws * narrow / columns * few / frames, within)
    reference = _reference(efforts, left_out, within * slices, draws * narrow / columns * few / frames)
    needed = draws * sum(tested) if reference is None else sum(tested) + (draws - 1) * efforts[reference]
    share = _MARGIN * within * slices * min(tested) / max(needed, _NO_TIME)
    wide = int(min(WIDEST, columns, max(narrow, share * columns // _STEP * _STEP)))
    long = int(min(frames, max(few, share * frames * columns / wide)))
    return Plan(long, wide, left_out, reference=reference if draws > 1 else None)


def plan_of_edges(
    efforts: Sequence[float], shape: tuple[int, ...], slices: int, within: float, there: int, draws: int
) -> Plan:
    """Plan tests at the edge of the calibration lines, which a static scan has few of.

    What the share allows is spent on columns first, as methods learn from all of them, then on frames, then on more
    slices. Arguments are those of `plan_of`, and:

    Parameters
    ----------
    there
        How many slices there are already.
    draws
        How often each candidate reconstructs the part.
    """
    frames, _, _, columns = shape
    narrow, few = min(WIDEST, columns), min(FEWEST_FRAMES, frames)
    budget = within * slices, _MOST_TIMES_STATIC * min(efforts)
    tested, left_out = _affordable(efforts, *budget, draws * narrow / columns * few / frames, within)
    share = _share(tested, *budget) / draws * frames / few
    wide = int(min(columns, max(narrow, share * columns)))
    long = int(min(frames, max(few, share * few)))
    several = int(min(there, MOST_SLICES, max(1, share * few / long)))
    part = draws * several * wide / columns * long / frames
    return Plan(long, wide, left_out, several, _reference(efforts, left_out, within * slices, part))


def _reference(efforts: Sequence[float], left_out: dict[int, str], budget: float, part: float) -> int | None:
    """Return the first fast candidate; None if all can be tested within the budget of the fastest, on a part."""
    tested = {i: effort for i, effort in enumerate(efforts) if i not in left_out}
    if part * sum(tested.values()) <= _MARGIN * budget * min(tested.values()):
        return None
    return next(i for i, effort in tested.items() if effort <= _FAST * min(tested.values()))


def _affordable(
    efforts: Sequence[float], budget: float, most: float, smallest: float, within: float
) -> tuple[list[float], dict[int, str]]:
    """Return the efforts of the candidates that can be tested on the smallest part, and the others with the reason."""
    tested: list[float] = []
    left_out: dict[int, str] = {}
    for i, effort in enumerate(efforts):
        if not tested or _share([*tested, effort], budget, most) >= smallest:
            tested.append(effort)
        else:
            left_out[i] = f"the tests would take more than {within:g} of the reconstruction's time"
    return tested, left_out


def _share(efforts: list[float], budget: float, most: float) -> float:
    """Return the part of a slice that may be used for tests, from a budget in slices; a mean needs at most `most`."""
    needed = min(sum(efforts[:2]), most)
    return _MARGIN * budget * needed / max(sum(efforts), _NO_TIME)
