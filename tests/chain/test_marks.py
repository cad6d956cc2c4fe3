"""Nodes learn that one before them broke off."""

from collections.abc import Iterator
from typing import Any

import pytest

from onebreath.chain.marks import MARK_ID, BrokenOff, checked, marked
from onebreath.errors import ScanError, WireError
from tests.host.wiring import acquisition, waveform

LINES = [acquisition(1), waveform(2), acquisition(3)]


def failing() -> Iterator[Any]:
    yield LINES[0]
    raise ScanError("NaN")


def sent(stream: Iterator[Any]) -> list[Any]:
    """What a node had sent when it ended."""
    found = []
    try:
        for message in stream:
            found.append(message)
    except ScanError:
        pass
    return found


def test_complete_lines_pass_and_marks_do_not() -> None:
    assert list(checked(marked(iter(LINES), "a"), keep=False)) == LINES
    assert list(checked(LINES, keep=False)) == LINES


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_a_node_that_was_killed_or_failed_is_noticed(lost: int) -> None:
    whole = list(marked(iter(LINES), "gadget 'prewhiten'"))
    with pytest.raises(BrokenOff, match="gadget 'prewhiten' broke off"):
        list(checked(whole[:-lost], keep=False))
    with pytest.raises(BrokenOff):
        list(checked(sent(marked(failing(), "x")), keep=False))


def test_marks_pass_the_nodes_between() -> None:
    first = sent(marked(failing(), "first"))
    second = list(marked(iter(first), "second"))
    with pytest.raises(BrokenOff, match="node of first broke off"):
        list(checked(second, keep=False))
    both = list(marked(checked(marked(iter(LINES), "first"), keep=True), "second"))
    assert [m for m in both if getattr(m, "waveform_id", 0) != MARK_ID] == LINES
    assert list(checked(both, keep=False)) == LINES


def test_a_damaged_mark_is_an_error() -> None:
    broken = waveform(1)
    head = broken.getHead()
    head.waveform_id = MARK_ID
    with pytest.raises(WireError, match="mark of Onebreath"):
        list(checked([type(broken)(head, broken.data)], keep=False))
