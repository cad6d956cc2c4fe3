"""Positions of lines in the k-space matrix: rows from their line and partition counters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.quirks import two_dimensional

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Limits = tuple[tuple[int, int], tuple[int, int]]
"""First and last partition, first and last line."""
_FITTING = 0.75
"""Part of the lines that lies in the matrix at least; else the header is not that of the lines."""


class Axis(NamedTuple):
    """One phase encoding: its counter in lines and in the header's limits, its position in ``idx.user``, its matrix."""

    counter: str
    limits: str
    user: int
    name: str

    def size(self, header: ScanHeader) -> int:
        """Size of the encoded matrix along it."""
        return int(header.encoded_matrix.y if self.name == "line" else header.encoded_matrix.z)


LINE = Axis("kspace_encode_step_1", "kspace_encoding_step_1", 5, "line")
PARTITION = Axis("kspace_encode_step_2", "kspace_encoding_step_2", 6, "partition")

Centre = tuple[int, int]
"""Counters of the partition and of the line through the k-space centre."""


@dataclass(frozen=True)
class Layout:
    """The matrix of both phase encodings; row = partition * lines + line, and the centre lies at ``n // 2`` of each.

    Parameters
    ----------
    partitions, lines
        Sizes of the matrix.
    centre
        Counters of partition and line through the k-space centre.
    """

    partitions: int
    lines: int
    centre: Centre

    @classmethod
    def of(cls, header: ScanHeader, centre: Centre) -> Layout:
        """Return the layout of a scan; a 2-D scan has one partition, whatever its encoded matrix says."""
        partitions = 1 if two_dimensional(header) else int(header.encoded_matrix.z)
        return cls(partitions, int(header.encoded_matrix.y), centre)

    @property
    def rows(self) -> int:
        """Rows of the matrix."""
        return self.partitions * self.lines

    @property
    def centre_row(self) -> int:
        """Row of the k-space centre."""
        return self.partitions // 2 * self.lines + self.lines // 2

    @cached_property
    def offsets(self) -> Centre:
        """Offsets from the counters to partition and line of the matrix."""
        return self.partitions // 2 - self.centre[0], self.lines // 2 - self.centre[1]

    def row(self, idx: Any) -> int:
        """Row of one line by its counters; -1 outside the matrix."""
        z, y = idx.kspace_encode_step_2 + self.offsets[0], idx.kspace_encode_step_1 + self.offsets[1]
        return z * self.lines + y if 0 <= z < self.partitions and 0 <= y < self.lines else -1

    def positions(self, table: NDArray[np.void]) -> tuple[Ints, Ints]:
        """Partition and line (line,) of some lines by their headers; they may lie outside the matrix."""
        idx = table["idx"]
        return (
            idx["kspace_encode_step_2"].astype(np.int64) + self.offsets[0],
            idx["kspace_encode_step_1"].astype(np.int64) + self.offsets[1],
        )

    def inside(self, z: Ints, y: Ints) -> NDArray[np.bool_]:
        """Return which positions lie in the matrix."""
        return (z >= 0) & (z < self.partitions) & (y >= 0) & (y < self.lines)


def inside_matrix(layout: Layout, table: NDArray[np.void]) -> tuple[NDArray[np.bool_], str]:
    """Return which lines (line,) lie inside the matrix, and say which do not; an empty text if all do."""
    z, y = layout.positions(table)
    inside = layout.inside(z, y)
    if inside.all():
        return inside, ""
    first = int(np.flatnonzero(~inside)[0])
    idx, volume = table[first]["idx"], layout.partitions > 1
    return inside, (
        f"Line {table[first]['scan_counter']} has kspace_encode_step_1 = {idx['kspace_encode_step_1']}"
        + (f", kspace_encode_step_2 = {idx['kspace_encode_step_2']}" if volume else "")
        + f", which is row {y[first]}"
        + (f" of partition {z[first]}" if volume else "")
        + f" of a matrix of {layout.lines} lines"
        + (f" x {layout.partitions} partitions" if volume else "")
        + f" (centre line {layout.centre[1]}"
        + (f", centre partition {layout.centre[0]}" if volume else "")
        + f"); {int((~inside).sum())} lines lie outside"
    )


def rows_of(layout: Layout, table: NDArray[np.void], of_calibration: NDArray[np.bool_]) -> tuple[Ints, Centre]:
    """Return the row of each line (line,): the centre lies at ``n // 2`` of partitions and lines.

    Parameters
    ----------
    layout
        Where lines lie.
    table
        Headers of lines, all inside the matrix.
    of_calibration
        Whether a line is of a calibration scan of its own (line,); such lines may count from 0, so that their rows
        would not hold the k-space centre at all. They are then laid about it.

    Returns
    -------
    rows
        The rows.
    moved
        By how many partitions and lines those of the calibration scan were moved.
    """
    positions = list(layout.positions(table))
    moved = [0, 0]
    for axis, size in enumerate((layout.partitions, layout.lines)):
        own = positions[axis][of_calibration]
        if own.size and not own.min() <= size // 2 <= own.max():
            moved[axis] = size // 2 - int(own.min() + own.max() + 1) // 2
            positions[axis] = np.where(of_calibration, positions[axis] + moved[axis], positions[axis])
    return positions[0] * layout.lines + positions[1], (moved[0], moved[1])


def line_limits(header: ScanHeader, layout: Layout, rows: Ints) -> Limits:
    """Return first and last acquired partition, and line, for the sampling description.

    The header's limits hold, as in Gadgetron, unless more than the distance of neighbouring lines is missing at an edge
    (partial Fourier not stated in the header) or lines lie outside of them.

    Parameters
    ----------
    header
        The scan's header.
    layout
        Where lines lie.
    rows
        Rows of the imaging lines (line,).
    """
    found = []
    for axis, (positions, counter, size) in enumerate(
        (
            (rows // layout.lines, PARTITION.limits, layout.partitions),
            (rows % layout.lines, LINE.limits, layout.lines),
        )
    ):
        acquired = np.unique(positions)
        first, last = int(acquired[0]), int(acquired[-1])
        stated = header.limits(counter)
        if stated is not None and size > 1:
            distance = int(np.diff(acquired).max()) if acquired.size > 1 else 1
            minimum, maximum = stated.minimum + layout.offsets[axis], stated.maximum + layout.offsets[axis]
            first, last = (
                minimum if 0 <= first - minimum < distance else first,
                maximum if 0 <= maximum - last < distance and maximum < size else last,
            )
        found.append((first, last))
    return found[0], found[1]


def announced_rows(header: ScanHeader) -> int:
    """Return the number of rows by the header's limits; 0 if it states none."""
    rows = 1
    for axis in (LINE,) if two_dimensional(header) else (LINE, PARTITION):
        limits = header.limits(axis.limits)
        rows *= 0 if limits is None else limits.maximum - limits.minimum + 1
    return rows


def lines_in_matrix(header: ScanHeader, layout: Layout, table: NDArray[np.void], where: str) -> tuple[Bools, str]:
    """Return which lines (line,) lie inside the matrix, and a sentence about the others; empty if all do.

    Raises
    ------
    ScanError
        If many lie outside, so that the header cannot be that of the lines, if the lines count partitions that the
        header does not know of.
    """
    inside, text = inside_matrix(layout, table)
    if not text:
        return inside, ""
    advice = "Correct the encoded matrix or the encoding limits in the header."
    if layout.partitions == 1 and table["idx"]["kspace_encode_step_2"].any():
        last = int(table["idx"]["kspace_encode_step_2"].max())
        raise ScanError(
            f"{where}: the lines count partitions up to kspace_encode_step_2 = {last}, but the header says that "
            f"there are none (encoded matrix {tuple(header.encoded_matrix)}). {advice}"
        )
    if inside.mean() < _FITTING:
        raise ScanError(f"{where}: {text}. {advice}")
    return inside, f"{where}: {text} and were left out. {advice}"


def stated_centre(header: ScanHeader, table: NDArray[np.void], axis: Axis = LINE) -> tuple[int, str]:
    """Return the counter of the line through the k-space centre, and where it is known from.

    The header's limits come first. Siemens also writes it into every line (``idx.user[5]``, for partitions
    ``idx.user[6]``); a disagreement is reported.
    """
    in_lines = np.unique(table["idx"]["user"][:, axis.user])
    counted = int(in_lines[0]) if in_lines.size == 1 and in_lines[0] > 0 else None
    limits = header.limits(axis.limits)
    stated = None if limits is None else limits.centre
    if stated is not None:
        return stated, "header" if counted in (None, stated) else f"header (the lines say {counted})"
    if counted is not None:
        return counted, "lines"
    return axis.size(header) // 2, "assumed in the middle of the matrix"
