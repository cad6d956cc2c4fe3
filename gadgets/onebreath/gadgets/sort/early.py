"""Slices that are complete before the scan ends: by the header's limits, the flags, and the lines themselves.

A slice is only taken for complete if all of these say so, so that nothing is sent too early because one of them is
wrong. Slices are complete in the order of their numbers: the first one decides about the whole scan, as it does where
all of them leave at the end.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.gadgets.sort import survey
from onebreath.gadgets.sort.checks.readouts import odd_lines
from onebreath.gadgets.sort.collected import Lines
from onebreath.gadgets.sort.complete import lost_rows
from onebreath.mrd.header import Limits, ScanHeader
from onebreath.mrd.lines import LAST_IN_SLICE, bit, calibrates
from onebreath.mrd.quirks import two_dimensional
from onebreath.mrd.spaces import spaces

_FRAMES = ("phase", "repetition", "set", "contrast")
_ANNOUNCED = ("kspace_encoding_step_1", "slice", "average", *_FRAMES)
"""Counters whose limits the header must state; more than one average is never sent early."""


class Complete:
    """Tells which slice is complete, while others are acquired.

    Parameters
    ----------
    header
        The scan's header.
    """

    def __init__(self, header: ScanHeader) -> None:
        self._header = header
        found = {name: header.limits(name) for name in _ANNOUNCED}
        self._limits: dict[str, Limits] = {name: limits for name, limits in found.items() if limits is not None}
        self.next: int | None = self._limits["slice"].minimum if self._possible() else None
        """The slice that can be complete next; None if none can any more."""
        self.sent = 0
        self._others = False
        self._ended: set[int] = set()
        self._like: tuple[int, int] | None = None
        self._latest = 0

    def _possible(self) -> bool:
        """Return whether the header says all that has to be known."""
        limits = self._limits
        return (
            len(limits) == len(_ANNOUNCED)
            and all(one.minimum <= one.maximum for one in limits.values())
            and limits["slice"].maximum > limits["slice"].minimum
            and limits["average"].maximum == limits["average"].minimum
            and two_dimensional(self._header)
            and spaces(self._header.xml) <= 1
        )

    def stop(self) -> None:
        """Let all further slices wait for the end of the scan."""
        self.next = None

    def note(self, header: Any) -> bool:
        """Take note of a line that was kept; return whether `next` may be complete now.

        Its last line must have the flag for that. The first slice also waits for a line of another one, which shows
        that the slice counter counts.
        """
        if self.next is None:
            return False
        number, stamp = header.idx.slice, header.acquisition_time_stamp
        if number < self.next or 2 * stamp < self._latest:
            self.stop()  # the slice was sent, or is none that the header announces; or the clock began again at 0
            return False
        self._latest = max(self._latest, stamp)
        self._others |= number != self.next
        if header.flags & bit(LAST_IN_SLICE):
            self._ended.add(number)
        else:
            self._ended.discard(number)
        return self._others and self.next in self._ended

    def holds(self, lines: Lines) -> bool:
        """Return whether all lines of the slice `next` are there; if not, it waits for another flagged line."""
        assert self.next is not None
        table = lines.table()
        imaging = survey.imaging_of(table)
        shape = int(imaging.sum()), int((~imaging).sum())
        usual = self._like in (None, shape) and self._counted(table)
        if usual and self._frames_complete(table[imaging]) and self._calibrated(table, imaging):
            self._like = shape
            return True
        self._ended.discard(self.next)
        return False

    def advance(self) -> bool:
        """Go on to the next slice after `next` was sent; return whether that may be complete already."""
        assert self.next is not None
        self.sent += 1
        self.next = self.next + 1 if self.next < self._limits["slice"].maximum else None
        return self.next in self._ended

    def _counted(self, table: NDArray[np.void]) -> bool:
        """Return whether the counters and directions of a slice need no correction."""
        with suppress(ScanError):
            return not (
                survey.slices_by_position(self._header, table)
                or survey.echoes_by_order(self._header, table)
                or survey.orientation_problem(table)
                or odd_lines(self._header, table)[1]
            )
        return False

    def _frames_complete(self, table: NDArray[np.void]) -> bool:
        """Return whether every frame that the header announces has all its lines, once, in the order of acquisition."""
        if not len(table) or np.any(np.diff(table["scan_counter"].astype(np.int64)) <= 0) or survey.repeats(table):
            return False
        idx, limits = table["idx"], self._limits
        for name in ("average", *_FRAMES):
            if idx[name].min() < limits[name].minimum or idx[name].max() > limits[name].maximum:
                return False
        wanted = math.prod(limits[name].maximum - limits[name].minimum + 1 for name in _FRAMES)
        lines = np.bincount(survey.numbered([idx[name] for name in _FRAMES]))
        if len(lines) != wanted or lines.min() != lines.max():
            return False
        segments = self._header.limits("segment")
        announced = 1 if segments is None else segments.maximum - segments.minimum + 1
        return len(np.unique(idx["segment"])) == announced and self._rows_complete(table, int(lines[0]))

    def _rows_complete(self, table: NDArray[np.void], in_a_frame: int) -> bool:
        """Return whether the lines reach over k-space as the header says, and lack none of their pattern."""
        rows = np.unique(table["idx"]["kspace_encode_step_1"].astype(np.int64))
        first, centre, last = (getattr(self._limits[_ANNOUNCED[0]], end) for end in ("minimum", "centre", "maximum"))
        distance = int(np.diff(rows).max()) if rows.size > 1 else 1
        reached = 0 <= rows[0] - first < distance and 0 <= last - rows[-1] < distance
        enough = in_a_frame + 1 > (last - first + 1) / max(self._header.stated_acceleration or 1.0, 1.0)
        return bool(reached and rows[0] <= centre <= rows[-1] and enough and not lost_rows(rows).size)

    def _calibrated(self, table: NDArray[np.void], imaging: NDArray[np.bool_]) -> bool:
        """Return whether the calibration lines are there, too."""
        if self._header.calibration_mode in survey.OWN_TIME:
            return not imaging.all()
        flagged = calibrates(table["flags"])
        rows = np.unique(table["idx"]["kspace_encode_step_1"].astype(np.int64))
        return bool(flagged.any() or np.all(np.diff(rows) == 1))
