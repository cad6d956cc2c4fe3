"""Where lines lie in the k-space matrix: their rows, counted line by line and partition by partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.mrd.header import ScanHeader
from onebreath.mrd.quirks import two_dimensional

Ints = NDArray[np.int64]
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
        """Return the layout of a scan; one without partitions has one, whatever its encoded matrix says."""
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

    @property
    def offsets(self) -> Centre:
        """What makes partition and line of the matrix of the counters."""
        return self.partitions // 2 - self.centre[0], self.lines // 2 - self.centre[1]

    def row(self, idx: Any) -> int:
        """Row of one line by its counters; -1 outside the matrix."""
        z, y = idx.kspace_encode_step_2 + self.offsets[0], idx.kspace_encode_step_1 + self.offsets[1]
        return z * self.lines + y if 0 <= z < self.partitions and 0 <= y < self.lines else -1

    def places(self, table: NDArray[np.void]) -> tuple[Ints, Ints]:
        """Partition and line (line,) of some lines by their headers; they may lie outside the matrix."""
        idx = table["idx"]
        return (
            idx["kspace_encode_step_2"].astype(np.int64) + self.offsets[0],
            idx["kspace_encode_step_1"].astype(np.int64) + self.offsets[1],
        )

    def inside(self, z: Ints, y: Ints) -> NDArray[np.bool_]:
        """Tell which places lie in the matrix."""
        return (z >= 0) & (z < self.partitions) & (y >= 0) & (y < self.lines)
