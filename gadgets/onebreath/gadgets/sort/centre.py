"""The line through the k-space centre: the header's value, checked against the position of the strongest lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.gadgets.sort.layout import LINE, PARTITION, Axis, stated_centre
from onebreath.gadgets.sort.survey import OWN_TIME, imaging_of
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.quirks import two_dimensional

Energies = NDArray[np.float64]
Counters = NDArray[np.int64]

_NEAR = 2
"""Lines by which the strongest line may miss the centre: phase across the object shifts it."""
_WEAK = 0.01
"""A centre with less than this part of the strongest line's energy around it is none."""
_FALL = 10.0
"""Least factor by which the lines at both ends must be weaker than the strongest line to find the centre by it."""
_FEWEST = 16
_HOLLOW = 4
"""Lines that may always lie between two neighbours."""


def telling(header: ScanHeader, table: NDArray[np.void]) -> NDArray[np.intp]:
    """Return which lines tell the k-space centre: imaging lines, and calibration lines where there are no others.

    Calibration lines of another time, or away from the stated centre, do not: they may be counted from 0.

    Parameters
    ----------
    header
        The scan's header.
    table
        Headers of all lines of a slice (line,).
    """
    imaging = imaging_of(table)
    places = table["idx"]["kspace_encode_step_2"].astype(np.int64) << 16 | table["idx"]["kspace_encode_step_1"]
    alone = ~imaging & ~np.isin(places, places[imaging])
    taken = bool(alone.any()) and header.calibration_mode not in OWN_TIME
    for axis in (LINE,) if two_dimensional(header) else (LINE, PARTITION):
        counters = table["idx"][axis.counter][alone]
        taken = taken and bool(counters.min() <= stated_centre(header, table, axis)[0] <= counters.max())
    return np.flatnonzero(imaging | alone if taken else imaging)


def centre_line(
    header: ScanHeader,
    table: NDArray[np.void],
    energy: Callable[[Axis], tuple[Counters, Energies]],
    axis: Axis = LINE,
) -> tuple[int, str, str]:
    """Return the counter of the line through the k-space centre, where it is known from, and a warning.

    Parameters
    ----------
    header
        The scan's header.
    table
        Headers of imaging lines (line,).
    energy
        Gives the counters that were acquired along an axis, and the energy of each.
    axis
        Of the lines, or of the partitions.

    Returns
    -------
    centre
        The counter.
    source
        Words for the note.
    warning
        In which way lines and header differ; empty if they agree.
    """
    centre, source = stated_centre(header, table, axis)
    counters, energies = energy(axis)
    peak = strongest(counters, energies)
    if peak is None or _around(counters, energies, centre) >= _WEAK * energies.max() or abs(centre - peak) <= _NEAR:
        return centre, source, ""
    if _beside_gap(counters, peak):
        return (
            centre,
            source,
            f"The lines are strongest at {axis.name} {peak}, beside a gap: whether {axis.name} {centre} ({source}) is "
            "the k-space centre cannot be seen, and it was kept. Were the lines in the gap lost, or flagged wrongly?",
        )
    said = np.unique(table["idx"]["user"][:, axis.user])
    candidates = [int(said[0])] if said.size == 1 else []
    candidates += [axis.size(header) // 2, (int(counters.min()) + int(counters.max()) + 1) // 2]
    found = next((one for one in candidates if abs(one - peak) <= _NEAR), peak)
    return (
        found,
        f"lines (the {source} says {centre})",
        f"The k-space centre is {axis.name} {centre} ({source}), but the lines are strongest at {axis.name} {peak}: "
        f"{axis.name} {found} was taken. Correct <encodingLimits><{axis.limits}><center> in the header.",
    )


def readout_warning(lines: Sequence[tuple[Any, NDArray[np.complex64]]]) -> list[str]:
    """Warn if the lines (header, samples (coil, x)) are strongest elsewhere than their headers say; empty if not."""
    forms = {(header.number_of_samples, header.center_sample) for header, _ in lines}
    if len(forms) != 1:
        return []
    ((samples, centre),) = forms
    energies = sum((np.sum(np.abs(one) ** 2, axis=0) for _, one in lines), np.zeros(samples))
    counters = np.arange(samples)
    peak = strongest(counters, energies)
    if peak is None or abs(peak - centre) <= max(_NEAR, samples // 32):
        return []
    if _around(counters, energies, centre) >= _WEAK * energies.max():
        return []
    return [
        f"The echo is at sample {centre} of {samples} by the headers of the lines (center_sample), but the lines are "
        f"strongest at sample {peak}: expect blurred images with a phase ramp. Correct center_sample."
    ]


def strongest(counters: Counters, energies: Energies, fall: float = _FALL, fewest: int = _FEWEST) -> int | None:
    """Return the counter of the strongest line, if the others fall off on both sides of it as about a centre.

    Parameters
    ----------
    counters, energies
        Counters that were acquired, rising, and the energy of each.
    fall
        Least factor by which the lines at both ends must be weaker.
    fewest
        Counters that it takes at least.
    """
    if counters.size < fewest:
        return None
    position = int(energies.argmax())
    margin = max(1, counters.size // 16)
    below, above = energies[:margin], energies[-margin:]
    inside = margin <= position < counters.size - margin
    falls = energies[position] > fall * max(float(below.mean()), float(above.mean()))
    return int(counters[position]) if inside and falls else None


def _beside_gap(counters: Counters, counter: int) -> bool:
    """Return whether lines are missing next to one of them: the strongest ones may be among these."""
    gaps, place = np.diff(counters), int(np.searchsorted(counters, counter))
    return bool(gaps[place - 1 : place + 1].max() > max(2 * np.median(gaps), _HOLLOW))


def _around(counters: NDArray[np.int64], energies: Energies, centre: int) -> float:
    near = np.abs(counters - centre) <= _NEAR
    return float(energies[near].max()) if near.any() else 0.0
