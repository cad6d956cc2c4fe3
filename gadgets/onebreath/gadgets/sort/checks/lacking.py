"""What a slice lacks, compared with the other slices, with the header, and with its own pattern of lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.gadgets.sort.collected import FRAME_COUNTERS, Lines
from onebreath.gadgets.sort.complete import around_centre_lost, lost_rows
from onebreath.gadgets.sort.layout import LINE, PARTITION, Layout, announced_rows
from onebreath.gadgets.sort.survey import imaging_of, numbered
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import LAST_IN_MEASUREMENT, LAST_IN_SLICE, bit
from onebreath.mrd.quirks import two_dimensional
from onebreath.names import listed

_WHOLE = 0.9
"""A slice with fewer than this part of the rows that slices usually have is incomplete."""

ENDS = bit(LAST_IN_SLICE) | bit(LAST_IN_MEASUREMENT)
"""Flags of last lines."""


def incomplete(
    header: ScanHeader, table: NDArray[Any], rows: NDArray[np.int64], centre: int, usual_rows: int, short: str
) -> tuple[str, bool]:
    """Describe what a slice lacks, and return whether it can be reconstructed.

    Parameters
    ----------
    header
        The scan's header.
    table
        Headers of its imaging lines (line,).
    rows
        Their rows (line,).
    centre
        Row of the k-space centre.
    usual_rows
        Rows that slices of the scan usually have.
    short
        What the header announces that did not come, as `short_of_limits` says it; empty if nothing.
    """
    count = len(np.unique(rows))
    usual = max(usual_rows, count)
    holds_centre = bool(rows.min() <= centre <= rows.max())
    if not holds_centre and usual == count:
        usual = max(announced_rows(header), count)
    which = f"slice {int(table['idx']['slice'][0])}"
    also = f" {short[:1].upper()}{short[1:]}" if short else ""
    if two_dimensional(header) and around_centre_lost(np.unique(rows), centre):
        lacks = f"{which} lacks the lines around the k-space centre, row {centre}"
        return f"{lacks}: its {count} lines show edges only.{also}", True
    if holds_centre and count >= _WHOLE * usual:
        lost = _lost(header, table, rows)
        return (f"{lost}{also}" if lost else f"{which}: {short}" if short else ""), True
    text = f"{which} is incomplete: {count} of {usual} lines"
    if not holds_centre:
        return f"{text}, and the k-space centre is not among them.", False
    return f"{text}.{also}", True


def short_of_limits(header: ScanHeader, layout: Layout, table: NDArray[Any]) -> str:
    """Name lines and partitions that the header announces at the ends of k-space, and that did not come; empty if all.

    A distance of neighbouring lines may be missing: where the lattice begins, the header does not say.

    Parameters
    ----------
    header
        The scan's header.
    layout
        Where lines lie in the matrix, which limits may exceed.
    table
        Headers of the imaging lines of a slice (line,).
    """
    said = []
    for axis, size, offset in zip((PARTITION, LINE), (layout.partitions, layout.lines), layout.offsets, strict=True):
        stated = header.limits(axis.limits)
        if stated is None or size == 1:
            continue
        came = np.unique(table["idx"][axis.counter].astype(np.int64))
        first, last = max(stated.minimum, -offset), min(stated.maximum, size - 1 - offset)
        distance = int(np.diff(came).max()) if came.size > 1 else 1
        if first <= last and (came[0] - first > distance or last - came[-1] > distance):
            extent = f"{axis.name}s {came[0]} to {came[-1]}" if came.size > 1 else f"{axis.name} {came[0]}"
            said.append(
                f"the header announces {axis.name}s {stated.minimum} to {stated.maximum}, but only {extent} came: the "
                "scan was probably broken off (repeat it), or it is partial Fourier whose header states the full "
                f"matrix (correct <encodingLimits><{axis.limits}>). The images are made from what came."
            )
    return " ".join(said[:1] + [f"{text[:1].upper()}{text[1:]}" for text in said[1:]])


def short_slices(header: ScanHeader, layout: Layout, slices: Mapping[int, Lines]) -> dict[str, list[int]]:
    """Return what `short_of_limits` says of some slices, and of which of them; those that lack nothing are left out."""
    said: dict[str, list[int]] = {}
    for number, lines in sorted(slices.items()):
        table = lines.table()
        imaging = table[imaging_of(table)]
        if len(imaging) and (text := short_of_limits(header, layout, imaging)):
            said.setdefault(text, []).append(number)
    return said


def unended(ends: Mapping[int, int]) -> str:
    """Name slices without the flag of a last line where others have one; empty if there are none.

    The flag of the measurement's last line tells of slices only if several have it.

    Parameters
    ----------
    ends
        The flags LAST_IN_SLICE and LAST_IN_MEASUREMENT that were seen in each slice, by its number.
    """
    ended = [number for number, flags in sorted(ends.items()) if flags]
    used = len(ended) > 1 or any(flags & bit(LAST_IN_SLICE) for flags in ends.values())
    others = sorted(ends.keys() - ended)
    if not (ended and used and others):
        return ""
    return (
        f"slice {listed(others)} has no line flagged as its last (ACQ_LAST_IN_SLICE), while slice {listed(ended)} has: "
        "the scan was probably broken off. Look whether all images are as they should be, and repeat the scan if not."
    )


def _moves(table: NDArray[Any], rows: NDArray[np.int64]) -> bool:
    """Return whether frames have patterns of their own, so that all rows together are not one."""
    frame = numbered([table["idx"][name] for name in FRAME_COUNTERS])
    held = np.unique(np.stack([frame, rows]), axis=1).shape[1] / len(np.unique(frame))
    return bool(held < _WHOLE * len(np.unique(rows)))


def _lost(header: ScanHeader, table: NDArray[Any], rows: NDArray[np.int64]) -> str:
    """Name rows missing from the pattern of a slice; they are reconstructed as if not planned."""
    lost = lost_rows(rows) if two_dimensional(header) and not _moves(table, rows) else rows[:0]
    if not len(lost):
        return ""
    which = f"slice {int(table['idx']['slice'][0])}"
    pattern = len(np.unique(rows)) + len(lost)
    return f"{which} lacks {len(lost)} of {pattern} lines of its pattern (rows {listed(lost.tolist())})."
