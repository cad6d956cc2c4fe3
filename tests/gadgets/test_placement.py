"""Tables of lines: averages, what a frame should have, and repairs."""

import numpy as np
import pytest

from onebreath.gadgets.sort.placement import Placement, by_counters, drop_frames, fill_missing, missing_lines
from onebreath.training.data.masks import make_mask


def grid(frames: int, rows: int, without: tuple[tuple[int, int], ...] = ()) -> Placement:
    places = [(frame, row) for frame in range(frames) for row in range(rows) if (frame, row) not in without]
    frame, row = (np.array(column) for column in zip(*places, strict=True))
    return Placement(frame, np.zeros_like(frame), row, np.arange(len(frame)), np.ones(len(frame)))


def test_the_mean_of_averages_keeps_unit_noise_deviation() -> None:
    zero = np.zeros(6, np.int64)
    row = np.array([0, 0, 0, 1, 1, 1])
    table, repeated = by_counters(zero, zero, row, np.arange(6), averages=3)
    assert repeated == 0
    assert np.bincount(table.row, table.weight**2) == pytest.approx([1, 1])
    assert np.bincount(table.row, table.weight) == pytest.approx([np.sqrt(3)] * 2)


def test_rows_acquired_more_or_less_often_keep_one_signal_level() -> None:
    zero = np.zeros(6, np.int64)
    table, repeated = by_counters(zero, zero, np.array([0, 1, 1, 2, 2, 2]), np.arange(6), averages=2)
    assert np.bincount(table.row, table.weight) == pytest.approx([np.sqrt(2)] * 3)
    assert repeated == 1


def test_a_frame_should_have_what_most_frames_have() -> None:
    filled = np.zeros((5, 1, 4), bool)
    filled[:, 0, 0] = True
    filled[:3, 0, 1] = True
    filled[:2, 0, 2] = True
    assert np.argwhere(missing_lines(filled)).tolist() == [[3, 0, 1], [4, 0, 1]]


@pytest.mark.parametrize("frames", [2, 3, 5, 8, 13])
@pytest.mark.parametrize("acceleration", [2, 3, 4, 6])
@pytest.mark.parametrize("family", ["kt_uniform", "vista", "random", "gaussian", "uniform", "cmrxrecon"])
def test_whatever_the_pattern_a_complete_scan_lacks_nothing(family: str, acceleration: int, frames: int) -> None:
    for acs_lines, rows, seed in ((0, 47, 0), (8, 48, 1), (16, 96, 2)):
        lines = make_mask(family, frames, rows, acceleration, acs_lines, np.random.default_rng(seed))
        assert not missing_lines(np.broadcast_to(lines, (frames, rows))[:, None]).any()


def test_a_calibration_line_that_a_moving_pattern_lost_is_missed() -> None:
    filled = np.zeros((13, 1, 48), bool)
    for frame in range(13):
        filled[frame, 0, frame % 2 :: 2] = True
    filled[:, 0, 16:32] = True
    filled[4, 0, 21] = False
    assert np.argwhere(missing_lines(filled)).tolist() == [[4, 0, 21]]


def test_phases_binned_from_heart_beats_should_have_every_row() -> None:
    """However few of them have it: a row that is there at all was acquired in the whole of the beat."""
    filled = np.zeros((6, 1, 8), bool)
    filled[0] = True
    filled[1:, 0, ::3] = True
    assert np.array_equal(missing_lines(filled, cyclic=True), ~filled)


def test_empty_frames_do_not_vote() -> None:
    filled = np.zeros((5, 1, 2), bool)
    filled[:2, 0, 0] = True
    assert np.argwhere(missing_lines(filled)).tolist() == [[2, 0, 0], [3, 0, 0], [4, 0, 0]]


@pytest.mark.parametrize(("cyclic", "source", "distance"), [(True, 4, 1), (False, 2, 2)])
def test_missing_lines_come_from_the_nearest_frame(cyclic: bool, source: int, distance: int) -> None:
    table = grid(5, 2, without=((0, 1), (1, 1)))
    missing = ~table.lines(5, 1, 2)
    filled, furthest = fill_missing(table, missing, cyclic)
    assert filled.lines(5, 1, 2).all()
    taken = filled.select((filled.frame == 0) & (filled.row == 1)).line
    expected = table.select((table.frame == source) & (table.row == 1)).line
    assert taken.tolist() == expected.tolist()
    assert furthest == max(distance, 1)
    original = filled.select(np.arange(len(table)))
    assert np.array_equal(original.line, table.line)


def test_interpolated_lines_are_copied_with_all_their_parts() -> None:
    entries = np.array([0, 0]), np.array([0, 0]), np.array([0, 0]), np.array([3, 4]), np.array([0.25, 0.75])
    filled, _ = fill_missing(Placement(*entries), ~np.array([[[True]], [[False]]]), cyclic=False)
    second = filled.select(filled.frame == 1)
    assert (second.line.tolist(), second.weight.tolist()) == ([3, 4], [0.25, 0.75])


def test_dropped_frames_leave_no_gap() -> None:
    kept = drop_frames(grid(4, 2), np.array([True, False, False, True]))
    assert kept.frame.tolist() == [0, 0, 1, 1]
    assert kept.line.tolist() == [0, 1, 6, 7]


def test_nothing_joined_is_an_empty_table() -> None:
    assert len(Placement.joined([])) == 0
