"""Memory of received lines, used again: for a line's size, fresh memory costs as much as receiving into it."""

from __future__ import annotations

import sys
from collections import deque

import numpy as np
from numpy.typing import NDArray

SMALLEST, LARGEST = 1 << 14, 1 << 20  # bytes; smaller blocks come back from the allocator, larger ones are rare
MOST = 64  # blocks kept; lines under way in a chain are fewer, lines that a gadget keeps are not to be searched
LOOKS = 2  # blocks looked at for one line; the oldest ones are free first


class Spares:
    """Blocks of memory that are given out again once nothing but this object refers to them.

    An array made from a block refers to it, and so does every view of that array: a block in use is never given out.
    """

    def __init__(self) -> None:
        self._blocks: deque[NDArray[np.uint8]] = deque()

    def block(self, size: int) -> NDArray[np.uint8]:
        """Return uninitialised bytes (size,)."""
        if not SMALLEST <= size <= LARGEST:
            return np.empty(size, np.uint8)
        for _ in range(min(LOOKS, len(self._blocks))):
            block = self._blocks.popleft()
            # Referred to by `block` and by the call's argument, and by nothing else.
            if block.size == size and sys.getrefcount(block) == 2:
                self._blocks.append(block)
                return block
            if block.size == size:
                self._blocks.append(block)
        block = np.empty(size, np.uint8)
        if len(self._blocks) >= MOST:
            self._blocks.popleft()
        self._blocks.append(block)
        return block
