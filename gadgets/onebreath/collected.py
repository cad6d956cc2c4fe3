"""Lines of one slice as they come: laid down where they belong, so that memory holds a scan once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.lines import CALIBRATION, bit, describe, header_table
from onebreath.placement import Placement

Samples: TypeAlias = NDArray[np.complex64]
GROWTH = 4
"""Blocks by which the store grows; their memory moves without being copied."""


class _Blocks:
    """K-spaces (block, coil, y, x), one for each value of the counters that usually number frames."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.taken: set[tuple[int, int]] = set()
        self._numbers: dict[tuple[int, ...], int] = {}
        self._kspace = np.zeros((GROWTH, *shape), np.complex64)

    def __len__(self) -> int:
        return len(self._numbers)

    def put(self, counters: tuple[int, ...], row: int, samples: Samples) -> tuple[int, int] | None:
        """Lay a line down and return its block and row; None if its place is taken or does not exist."""
        block = self._numbers.get(counters, len(self._numbers))
        place = block, row
        if place in self.taken or not 0 <= row < self.shape[1]:
            return None
        self._numbers[counters] = block
        if block == len(self._kspace):
            # No view outlives a call while lines come, and the system moves the pages instead of copying them.
            self._kspace.resize((block + GROWTH, *self.shape), refcheck=False)
        self.taken.add(place)
        self._kspace[block, :, row] = samples
        return place

    def line(self, place: tuple[int, int]) -> Samples:
        """Samples (coil, x) of the line at a place."""
        block, row = place
        return self._kspace[block, :, row]

    def kspace(self) -> Samples:
        """Return all blocks (block, coil, y, x)."""
        return self._kspace[: len(self)]


class Lines:
    """Headers and samples (coil, x) of the lines of one slice.

    Parameters
    ----------
    rows
        Rows of the k-space matrix.
    shift
        What makes a row of a line's counter.
    """

    def __init__(self, rows: int, shift: int) -> None:
        self.headers: list[Any] = []
        self.coils = 0
        self._rows, self._shift = rows, shift
        self._blocks: _Blocks | None = None
        self._where: list[tuple[int, int] | Samples] = []

    def __len__(self) -> int:
        return len(self.headers)

    def add(self, header: Any, samples: Samples) -> None:
        """Add a line.

        Raises
        ------
        ScanError
            If its number of channels is not that of the lines before.
        """
        self.coils = self.coils or len(samples)
        if len(samples) != self.coils:
            raise ScanError(
                f"The number of channels changes within the scan: {describe(header)} has {len(samples)}, the lines "
                f"before it have {self.coils}."
            )
        self.headers.append(header)
        place = self._place(header, samples)
        self._where.append(samples if place is None else place)

    def _place(self, header: Any, samples: Samples) -> tuple[int, int] | None:
        length = samples.shape[1]
        if header.flags & bit(CALIBRATION) or (header.center_sample or length // 2) != length // 2:
            return None
        if self._blocks is None:
            self._blocks = _Blocks((self.coils, self._rows, length))
        if length != self._blocks.shape[2]:
            return None
        idx = header.idx
        counters = (idx.phase, idx.repetition, idx.contrast, idx.set)
        return self._blocks.put(counters, idx.kspace_encode_step_1 + self._shift, samples)

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

    def table(self) -> NDArray[np.void]:
        """Return the headers as a structured array (line,)."""
        return header_table(self.headers)

    def take(self, chosen: Iterable[int]) -> Lines:
        """Return some of the lines, in this order."""
        some = Lines(self._rows, self._shift)
        some.coils, some._blocks = self.coils, self._blocks
        for line in chosen:
            some.headers.append(self.headers[line])
            some._where.append(self._where[line])
        return some

    def as_placed(self, placed: Placement, frames: int, shape: tuple[int, int, int]) -> Samples | None:
        """Return the k-space (frame, coil, y, x) itself if its lines are those of `placed`, at their places."""
        blocks = self._blocks
        if blocks is None or (len(blocks), blocks.shape) != (frames, shape) or len(placed) != len(blocks.taken):
            return None
        wanted = zip(placed.frame.tolist(), placed.row.tolist(), strict=True)
        where = (self._where[line] for line in placed.line.tolist())
        in_place = all(isinstance(is_at, tuple) and is_at == place for is_at, place in zip(where, wanted, strict=True))
        unweighted = not placed.s.any() and bool((placed.weight == 1).all())
        return blocks.kspace() if in_place and unweighted and len(np.unique(placed.line)) == len(placed) else None
