"""Memory of received lines, used again: for a line's size, fresh memory costs as much as receiving into it."""

from __future__ import annotations

import sys
from collections import deque

import numpy as np
from numpy.typing import NDArray

SMALLEST, LARGEST = 1 << 14, 1 << 21  # bytes; smaller blocks come back from the allocator, larger ones are rare
LOOKS = 2  # blocks looked at for one line; the oldest ones are free first


class BufferPool:
    """Blocks of memory that are given out again once nothing but this object refers to them.

    An array made from a block refers to it, and so does every view of that array: a block in use is never given out.

    Parameters
    ----------
    most
        Blocks kept. What is under way in a chain is fewer, and what a gadget keeps is not to be searched.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._blocks: deque[NDArray[np.uint8]] = deque()

    def block(self, size: int) -> NDArray[np.uint8]:
        """Return uninitialised bytes (size,)."""
        if not SMALLEST <= size <= LARGEST:
            return np.empty(size, np.uint8)
        for _ in range(min(LOOKS, len(self._blocks))):
            block, references = _take(self._blocks)
            if block.size != size:
                continue
            self._blocks.append(block)
            if references == _UNUSED:
                return block
        block = np.empty(size, np.uint8)
        if len(self._blocks) >= self.most:
            self._blocks.popleft()
        self._blocks.append(block)
        return block


def _take(blocks: deque[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], int]:
    """Return the oldest block, and how many references to it are counted here."""
    block = blocks.popleft()
    return block, sys.getrefcount(block)


# What `_take` counts for a block that nothing else refers to; measured, as interpreters differ.
_UNUSED = _take(deque([np.empty(SMALLEST, np.uint8)]))[1]
