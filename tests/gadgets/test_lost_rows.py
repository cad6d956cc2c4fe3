"""Which rows a pattern of lines lacks: lost ones are found, and no pattern that is meant is taken for a loss."""

import numpy as np
import pytest

from onebreath.gadgets.sort.complete import lost_rows

BLOCK = set(range(52, 76))
PATTERNS = {
    "all lines": set(range(64)),
    "partial Fourier": set(range(24, 64)),
    "every second line, a block": set(range(0, 128, 2)) | BLOCK,
    "every fourth line from another start, a block": set(range(3, 128, 4)) | BLOCK,
    "every third line, no block": set(range(1, 96, 3)),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_each_line_off_the_ends_and_the_block_is_missed(name: str) -> None:
    rows = np.array(sorted(PATTERNS[name]))
    assert len(lost_rows(rows)) == 0
    for lost in [row for row in rows[1:-1] if row not in BLOCK][::5]:
        assert lost_rows(np.random.default_rng(lost).permutation(rows[rows != lost])).tolist() == [lost]


def test_two_neighbours_are_missed_together() -> None:
    rows = np.array(sorted(PATTERNS["every second line, a block"] - {20, 22}))
    assert lost_rows(rows).tolist() == [20, 22]


def test_random_lines_are_no_pattern() -> None:
    random = np.random.default_rng(1)
    for _ in range(300):
        assert len(lost_rows(random.choice(160, int(random.integers(20, 90)), replace=False))) == 0


def test_two_lattices_of_a_scan_in_two_halves_are_no_loss() -> None:
    assert len(lost_rows(np.array([*range(0, 64, 4), *range(66, 128, 4)]))) == 0
