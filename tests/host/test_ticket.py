"""The memory that a scan is expected to need, by its header alone."""

from __future__ import annotations

import copy

from onebreath.worker.ticket import BASE, CHANNELS, COPIES, needed_bytes
from tests.scans import header


def test_the_largest_encoding_space_counts():
    one = header(32, 32)
    large = copy.deepcopy(one.encoding[0])
    large.encodedSpace.matrixSize.y *= 16
    alone = needed_bytes(one)
    one.encoding = [one.encoding[0], large]
    assert needed_bytes(one) - BASE == 16 * (alone - BASE)
    one.encoding.reverse()
    assert needed_bytes(one) - BASE == 16 * (alone - BASE)
    assert (alone - BASE) % (COPIES * 8 * CHANNELS * 32 * 32) == 0


def test_a_space_that_says_nothing_adds_nothing():
    one = header(32, 32)
    alone = needed_bytes(one)
    broken = copy.deepcopy(one.encoding[0])
    broken.encodedSpace = None
    one.encoding = [broken, one.encoding[0]]
    assert needed_bytes(one) == alone
