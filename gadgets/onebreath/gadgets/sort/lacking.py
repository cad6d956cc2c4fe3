"""What a slice lacks, compared with the other slices, with the header, and with its own pattern of lines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.gadgets.sort.complete import around_centre_lost, lost_rows
from onebreath.gadgets.sort.layout import announced_rows
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.quirks import two_dimensional
from onebreath.names import listed

_WHOLE = 0.9
"""A slice with fewer than this part of the rows that slices usually have is incomplete."""


def incomplete(
    header: ScanHeader, table: NDArray[Any], rows: NDArray[np.int64], centre: int, usual_rows: int
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
    """
    count = len(np.unique(rows))
    usual = max(usual_rows, count)
    holds_centre = bool(rows.min() <= centre <= rows.max())
    if not holds_centre and usual == count:
        usual = max(announced_rows(header), count)
    if two_dimensional(header) and around_centre_lost(np.unique(rows), centre):
        lacks = f"slice {int(table['idx']['slice'][0])} lacks the lines around the k-space centre, row {centre}"
        return f"{lacks}: its {count} lines show edges only.", True
    if holds_centre and count >= _WHOLE * usual:
        return _lost(header, table, rows), True
    text = f"slice {int(table['idx']['slice'][0])} is incomplete: {count} of {usual} lines"
    return (f"{text}.", True) if holds_centre else (f"{text}, and the k-space centre is not among them.", False)


def _lost(header: ScanHeader, table: NDArray[Any], rows: NDArray[np.int64]) -> str:
    """Name rows missing from the pattern of a slice; they are reconstructed as if not planned."""
    lost = lost_rows(rows) if two_dimensional(header) else rows[:0]
    if not len(lost):
        return ""
    which = f"slice {int(table['idx']['slice'][0])}"
    pattern = len(np.unique(rows)) + len(lost)
    return f"{which} lacks {len(lost)} of {pattern} lines of its pattern (rows {listed(lost.tolist())})."
