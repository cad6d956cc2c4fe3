"""Memory of received lines: used again when nobody holds it, and never before."""

import numpy as np

from onebreath.wire.buffer_pool import BufferPool

SIZE, MOST = 1 << 16, 8


def address(block: np.ndarray) -> int:
    return block.__array_interface__["data"][0]


def test_a_block_that_nobody_holds_is_given_out_again():
    pool = BufferPool(MOST)
    first = address(pool.block(SIZE))
    assert address(pool.block(SIZE)) == first


def test_a_block_behind_a_view_is_left_alone():
    pool = BufferPool(MOST)
    line = pool.block(SIZE).view(np.complex64).reshape(8, -1)[2:4]
    line[:] = 5
    for _ in range(3 * MOST):
        pool.block(SIZE)[:] = 0
    assert np.all(line == 5)


def test_blocks_that_are_kept_are_all_different():
    pool = BufferPool(MOST)
    kept = [pool.block(SIZE) for _ in range(3 * MOST)]
    assert len({address(block) for block in kept}) == len(kept)


def test_another_size_gets_its_own_block():
    pool = BufferPool(MOST)
    pool.block(SIZE)
    assert [pool.block(size).size for size in (0, 100, 2 * SIZE, 1 << 22)] == [0, 100, 2 * SIZE, 1 << 22]
