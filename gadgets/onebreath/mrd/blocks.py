"""Blocks of lines that arrived together and are processed together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from onebreath.mrd.lines import MixedLine, no_trajectory

Matrices: TypeAlias = "Sequence[NDArray[np.complex64]]"


class LineBlock:
    """Acquisitions with the same channels and samples and without trajectory, in the order of arrival.

    Which lines share a block is chance: a gadget that takes blocks (`Gadget.takes_blocks`) makes of one what it makes
    of its lines. Their memory is used again once nothing refers to it.

    Parameters
    ----------
    headers
        Their headers as a structured array (line,).
    samples
        (line, coil, x).
    matrices
        The matrix (channel out, coil) of each line by which its channels are yet to be mixed; see `MixedLine`.
    """

    def __init__(
        self, headers: NDArray[np.void], samples: NDArray[np.complex64], matrices: Matrices | None = None
    ) -> None:
        self.headers, self.samples, self.matrices = headers, samples, matrices

    def __len__(self) -> int:
        return len(self.headers)

    def __iter__(self) -> Iterator[ismrmrd.Acquisition]:
        for number, samples in enumerate(self.samples):
            header = self.header(number)
            if self.matrices is not None:
                yield MixedLine(header, self.matrices[number], samples)
            else:  # whoever keeps this line shall not keep the block
                yield ismrmrd.Acquisition(header, samples.copy(), no_trajectory(samples.shape[1]))

    def header(self, line: int) -> Any:
        """Header of a line, not to be changed."""
        rows = self.headers.view(np.uint8)
        return ismrmrd.AcquisitionHeader.from_buffer(rows, line * self.headers.itemsize)

    def agree(self, *fields: str) -> bool:
        """Return whether these fields of the headers are the same in all lines."""
        return all(bool((self.headers[name] == self.headers[name][0]).all()) for name in fields)

    def mixed(self, matrices: Matrices, samples: NDArray[np.complex64] | None = None, **fields: int) -> LineBlock:
        """Return the block with channels mixed by one matrix a line, and some fields of the headers changed.

        `samples` (line, coil, x) are those of the block unless given.
        """
        samples = self.samples if samples is None else samples
        headers = self.headers.copy()
        fields |= {"active_channels": len(matrices[0]), "number_of_samples": samples.shape[2]}
        for name, value in fields.items():
            headers[name] = value
        return LineBlock(headers, samples, matrices)


def together_or_singly(
    block: LineBlock,
    together: Callable[[LineBlock], LineBlock | None],
    singly: Callable[[ismrmrd.Acquisition], Iterable[Any]],
) -> Iterator[Any]:
    """Yield the result of `together` for a block; if that is None, the results of `singly` for each of its lines."""
    made = together(block)
    if made is not None:
        yield made
        return
    for line in block:
        yield from singly(line)


def singly(messages: Iterable[Any]) -> Iterator[Any]:
    """Yield the messages, and the lines of blocks one by one."""
    for message in messages:
        if isinstance(message, LineBlock):
            yield from message
        else:
            yield message
