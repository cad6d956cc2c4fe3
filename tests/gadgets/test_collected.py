"""Lines laid down where they belong: the k-space is handed on without a copy, and nothing else changes."""

import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.gadgets.sort.collected import GROWTH, WORTH_A_THREAD, Lines
from onebreath.gadgets.sort.layout import Layout
from onebreath.gadgets.sort.placement import Placement
from onebreath.mrd.buffers import kspace_of
from tests.raw import COILS, ROWS, SAMPLES, content, line, marked, sorted_by, value

SHAPE = (COILS, ROWS, SAMPLES)


def collected(frames: int = 2, skip: int = -1) -> Lines:
    lines = Lines(Layout(1, ROWS, (0, ROWS // 2)))
    for frame in range(frames):
        for row in range(ROWS):
            one = marked(row, phase=frame)
            if row != skip:
                lines.add(one)
    return lines


def places(frames: int, weight: float = 1.0) -> Placement:
    frame, row = (axis.reshape(-1) for axis in np.indices((frames, ROWS)))
    return Placement(frame, np.zeros_like(frame), row, np.arange(frame.size), np.full(frame.size, weight))


@pytest.mark.parametrize("frames", [1, GROWTH, 2 * GROWTH + 1])
def test_the_store_is_the_kspace(frames: int) -> None:
    lines = collected(frames)
    kspace = lines.as_placed(places(frames), frames, SHAPE)
    assert kspace is not None
    assert np.shares_memory(kspace, lines.samples(0))
    assert [lines.samples(number)[0, SAMPLES // 2] for number in range(len(lines))] == [
        kspace[frame, 0, row, SAMPLES // 2] for frame in range(frames) for row in range(ROWS)
    ]


@pytest.mark.parametrize("expected", [3, 1 << 50])
def test_what_the_header_promises_changes_nothing(expected: int) -> None:
    lines = Lines(Layout(1, ROWS, (0, ROWS // 2)), expected)
    for frame in range(GROWTH):
        for row in range(ROWS):
            lines.add(marked(row, phase=frame))
    kspace = lines.as_placed(places(GROWTH), GROWTH, SHAPE)
    assert kspace is not None
    assert np.array_equal(kspace, collected(GROWTH).as_placed(places(GROWTH), GROWTH, SHAPE))


def test_any_other_placement_needs_a_copy() -> None:
    lines = collected()
    assert lines.as_placed(places(2, weight=0.5), 2, SHAPE) is None
    assert lines.as_placed(places(2), 3, SHAPE) is None
    assert lines.as_placed(places(2), 2, (COILS, ROWS, SAMPLES + 2)) is None
    swapped = places(2)
    assert lines.as_placed(swapped.select(swapped.frame == 0), 2, SHAPE) is None
    swapped.frame[:] = swapped.frame[::-1].copy()
    assert lines.as_placed(swapped, 2, SHAPE) is None


def test_a_second_line_at_one_place_and_a_longer_one_are_kept_beside() -> None:
    lines = collected(1)
    again, longer = marked(3), line(np.ones((COILS, SAMPLES + 4)), 4)
    before = again.data.copy()
    again.data[:] *= 2
    for one in (again, longer):
        lines.add(one)
    assert np.array_equal(lines.samples(ROWS), again.data)
    assert np.array_equal(lines.samples(3), before)
    assert lines.longest() == SAMPLES + 4
    chosen = lines.take([3, ROWS])
    assert len(chosen) == 2
    assert np.array_equal(chosen.samples(1), lines.samples(ROWS))


def test_frames_that_come_in_another_order_are_sorted() -> None:
    came = [marked(row, phase=phase) for row in range(ROWS) for phase in (1, 0)]
    (made,), _ = sorted_by(came)
    assert content(made)[0, 3] == value(row=3, phase=0)
    assert content(made)[1, 3] == value(row=3, phase=1)


def test_missing_lines_stay_zero() -> None:
    came = [marked(row, phase=phase) for phase in range(2) for row in range(0, ROWS, 2)]
    (made,), _ = sorted_by(came)
    assert not kspace_of(made.bits[0].data)[:, :, 1::2].any()


def test_a_change_of_channels_is_named() -> None:
    lines = collected(1)
    other = line(np.ones((COILS + 1, SAMPLES)), 0)
    with pytest.raises(ScanError, match=f"has {COILS + 1}, the lines before it have {COILS}"):
        lines.add(other)


@pytest.mark.parametrize("order", ["frame after frame", "all frames at once"])
def test_blocks_made_ready_ahead_lose_no_line(order: str) -> None:
    frames, rows, coils, samples = 5, 64, 8, 256
    assert 8 * rows * coils * samples >= WORTH_A_THREAD
    lines = Lines(Layout(1, rows, (0, rows // 2)), frames)
    places = [(frame, row) for frame in range(frames) for row in range(rows)]
    for frame, row in places if order == "frame after frame" else sorted(places, key=lambda place: place[::-1]):
        lines.add(line(np.full((coils, samples), 1 + row + 100 * frame), row, phase=frame))
    kspace = np.stack([lines.samples(number) for number in range(len(lines))])
    expected = [1 + header.idx.kspace_encode_step_1 + 100 * header.idx.phase for header in lines.headers]
    assert np.array_equal(kspace, np.broadcast_to(np.array(expected)[:, None, None], kspace.shape))
