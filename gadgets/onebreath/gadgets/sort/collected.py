"""Lines of one slice as they arrive: written to k-space at once, so that a scan is in memory only once."""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Iterable
from typing import Any, TypeAlias

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from onebreath.budget import claim
from onebreath.errors import ScanError
from onebreath.gadgets.sort.layout import Layout
from onebreath.gadgets.sort.placement import Placement
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    bit,
    copy_samples,
    describe,
    header_of,
    header_table,
    is_imaging,
)
from onebreath.threads import begin

Samples: TypeAlias = NDArray[np.complex64]
FRAME_COUNTERS = ("phase", "repetition", "contrast", "set")
"""Counters that usually number frames."""
_frame = operator.attrgetter(*FRAME_COUNTERS)
PER_CLAIM, HEADER = 64, 1000  # headers that are counted at once, and bytes of one
GROWTH = 4
"""Blocks by which a store grows that turns out to be too small; their memory moves without being copied."""
RESERVED = 1 << 28
"""Bytes at most that a store takes for what is expected. Pages of memory are used up a block before lines come."""
WORTH_A_THREAD = 1 << 20
"""Bytes of a block from which on another thread makes its pages."""


def expected_frames(header: ScanHeader, trigger: str) -> int:
    """Return the frames of one k-space by the header's counters, but for that which triggers."""
    stated = [limits.maximum + 1 for limits in map(header.limits, {*FRAME_COUNTERS} - {trigger}) if limits is not None]
    return math.prod(stated)


class _Blocks:
    """K-spaces (block, coil, y, x), one for each value of the counters FRAME_COUNTERS."""

    def __init__(self, shape: tuple[int, int, int], expected: int, growth: int = GROWTH) -> None:
        self.shape, self._growth = shape, growth
        self.taken: set[tuple[int, int]] = set()
        self._numbers: dict[tuple[int, ...], int] = {}
        self._expected = min(expected, RESERVED // max(1, 8 * math.prod(shape)))
        self._ahead: threading.Thread | None = None
        self._block = 8 * math.prod(shape)
        # One array from the start: numpy has large ones put on huge pages, which is most of what a page costs.
        self._kspace = np.zeros((max(self._expected, growth), *shape), np.complex64)

    def __len__(self) -> int:
        return len(self._numbers)

    def put(self, counters: tuple[int, ...], row: int, line: ismrmrd.Acquisition) -> tuple[int, int] | None:
        """Write a line to k-space and return its block and row; None if its position is taken or does not exist."""
        block = self._numbers.get(counters, len(self._numbers))
        position = block, row
        if position in self.taken or not 0 <= row < self.shape[1]:
            return None
        if block == len(self._numbers):
            claim(self._block, "the k-space of one more frame", self)
            self._numbers[counters] = block
            self._touch_next(block + 1)
        if block == len(self._kspace):
            # No view outlives a call while lines come, and the system moves the pages instead of copying them, which
            # would take the chain 1.17 times its processor time (docs/benchmarks.md).
            self._kspace.resize((block + self._growth, *self.shape), refcheck=False)
        self.taken.add(position)
        copy_samples(line, self._kspace[block, :, row])
        return position

    def _touch_next(self, block: int) -> None:
        """Touch the memory pages of the next block in the background: page faults cost as much as the work on lines."""
        if self._ahead is not None:
            self._ahead.join()
            self._ahead = None
        if block < self._expected and self._kspace[block].nbytes >= WORTH_A_THREAD:
            self._ahead = threading.Thread(target=self._kspace[block].fill, args=(0,), daemon=True)
            begin(self._ahead)

    def line(self, position: tuple[int, int]) -> Samples:
        """Samples (coil, x) of the line at a position."""
        block, row = position
        return self._kspace[block, :, row]

    def kspace(self) -> Samples:
        """Return all blocks (block, coil, y, x)."""
        return self._kspace[: len(self)]


class Lines:
    """Headers and samples (coil, x) of the lines of one slice.

    Parameters
    ----------
    layout
        Where lines lie in the matrix.
    frames
        Frames to be expected.
    """

    def __init__(self, layout: Layout, frames: int = 1) -> None:
        self.headers: list[Any] = []
        self.coils = 0
        self.layout, self._frames = layout, frames
        self._blocks: _Blocks | None = None
        self._where: list[tuple[int, int] | Samples] = []

    def __len__(self) -> int:
        return len(self.headers)

    def add(self, line: ismrmrd.Acquisition) -> bool:
        """Add a line; return False, and do not add it, if it holds only zeros.

        Raises
        ------
        ScanError
            If its number of channels is not that of the lines before.
        """
        header = header_of(line)
        coils = header.active_channels
        self.coils = self.coils or coils
        if coils != self.coils:
            raise ScanError(
                f"The number of channels changes within the scan: {describe(header)} has {coils}, the lines before it "
                f"have {self.coils}."
            )
        position = self._place(line, header)
        samples = line.data if position is None or self._blocks is None else self._blocks.line(position)
        if samples.size and samples[0, 0] == 0 and not samples.any():
            if position is not None and self._blocks is not None:
                self._blocks.taken.discard(position)
            return False
        if position is None:
            claim(line.data.nbytes, "a line that has no position of its own", self)
        if len(self.headers) % PER_CLAIM == 0:
            claim(PER_CLAIM * HEADER, "the headers of more lines", self)
        self.headers.append(header)
        self._where.append(samples if position is None else position)
        return True

    def _place(self, line: ismrmrd.Acquisition, header: Any) -> tuple[int, int] | None:
        length = header.number_of_samples
        if not is_imaging(header.flags) or (header.center_sample or length // 2) != length // 2:
            return None
        if self._blocks is None:
            growth = GROWTH if self.layout.partitions == 1 else 1  # volumes are large, and few
            self._blocks = _Blocks((self.coils, self.layout.rows, length), self._frames, growth)
        if length != self._blocks.shape[2]:
            return None
        idx = header.idx
        return self._blocks.put(_frame(idx), self.layout.row(idx), line)

    def samples(self, line: int) -> Samples:
        """Samples (coil, x) of a line."""
        where = self._where[line]
        if isinstance(where, tuple):
            assert self._blocks is not None
            return self._blocks.line(where)
        return where

    def longest(self) -> int:
        """Return the length of the longest readout."""
        lengths = {where.shape[1] for where in self._where if not isinstance(where, tuple)}
        return max(lengths | ({self._blocks.shape[2]} if self._blocks else set()))

    def count_anew(self, **counters: NDArray[np.int64]) -> None:
        """Replace the values (line,) of some counters of all lines."""
        for line, header in enumerate(self.headers):
            changed = ismrmrd.AcquisitionHeader.from_buffer_copy(header)
            for name, values in counters.items():
                setattr(changed.idx, name, int(values[line]))
            self.headers[line] = changed

    def only_calibrate(self, chosen: Iterable[int]) -> None:
        """Flag some lines as lines for calibration only."""
        for line in chosen:
            changed = ismrmrd.AcquisitionHeader.from_buffer_copy(self.headers[line])
            changed.flags = changed.flags & ~bit(CALIBRATION_AND_IMAGING) | bit(CALIBRATION)
            self.headers[line] = changed

    def stamp_anew(self, stamps: NDArray[np.int64]) -> None:
        """Replace the time stamps (line,) of all lines."""
        for line, header in enumerate(self.headers):
            if header.acquisition_time_stamp != stamps[line]:
                changed = ismrmrd.AcquisitionHeader.from_buffer_copy(header)
                changed.acquisition_time_stamp = int(stamps[line])
                self.headers[line] = changed

    def table(self) -> NDArray[np.void]:
        """Return the headers as a structured array (line,)."""
        return header_table(self.headers)

    def take(self, chosen: Iterable[int]) -> Lines:
        """Return some of the lines, in this order."""
        some = Lines(self.layout)
        some.coils, some._blocks = self.coils, self._blocks
        for line in chosen:
            some.headers.append(self.headers[line])
            some._where.append(self._where[line])
        return some

    def joined(self, later: Lines) -> Lines:
        """Return all lines of two stores of one slice; nothing is written into either of them.

        Raises
        ------
        ScanError
            If they have another number of channels.
        """
        if self.coils != later.coils:
            raise ScanError(
                f"The number of channels changes within the scan: {describe(later.headers[0])} has {later.coils}, the "
                f"lines before it have {self.coils}."
            )
        both = self.take(range(len(self)))
        both.headers += later.headers
        both._where += [later.samples(line) for line in range(len(later))]
        return both

    def as_placed(self, placed: Placement, frames: int, shape: tuple[int, int, int]) -> Samples | None:
        """Return the k-space (frame, coil, y, x) itself if its lines are those of `placed`, at their positions."""
        blocks = self._blocks
        if blocks is None or (len(blocks), blocks.shape) != (frames, shape) or len(placed) != len(blocks.taken):
            return None
        wanted = zip(placed.frame.tolist(), placed.row.tolist(), strict=True)
        where = (self._where[line] for line in placed.line.tolist())
        in_place = all(
            isinstance(is_at, tuple) and is_at == position for is_at, position in zip(where, wanted, strict=True)
        )
        unweighted = not placed.s.any() and bool((placed.weight == 1).all())
        return blocks.kspace() if in_place and unweighted and len(np.unique(placed.line)) == len(placed) else None
