"""Which encoding space the image has, and what is said of it."""

import copy
from typing import Any

import pytest

from onebreath.mrd.spaces import SpaceChoice
from tests.scans import header, line_header

SPIRAL, EMPTY = "space 0: its trajectory is 'spiral'", "space 0: 3 imaging lines"


def several(first: str = "cartesian") -> Any:
    """A header of two spaces of 8 by 8."""
    xml = header(8, 8)
    xml.encoding.append(copy.deepcopy(xml.encoding[0]))
    kind = type(xml.encoding[0].trajectory)
    xml.encoding[0].trajectory = kind(first)
    return xml


def seen(xml: Any, space: int, rows: int) -> SpaceChoice:
    choice = SpaceChoice(xml)
    for number in range(3):
        choice.see(line_header(number, 8, 2))
    for row in range(rows):
        line = line_header(row, 8, 2)
        line.encoding_space_ref = space
        choice.see(line)
    return choice


@pytest.mark.parametrize("rows", [4, 5, 8])
def test_the_text_is_the_same_however_many_lines_have_come_with_the_last_one_needed(rows: int) -> None:
    choice = seen(several("spiral"), 1, rows)
    assert choice.certain
    text = f"Of 2 encoding spaces, number 1 is reconstructed: it is the first with enough imaging lines ({SPIRAL})."
    assert choice.chosen() == (1, text)


def test_where_none_has_enough_lines_that_with_most_is_taken() -> None:
    xml = several()
    for encoding in xml.encoding:
        encoding.encodedSpace.matrixSize.y = 200
    text = f"Of 2 encoding spaces, number 1 is reconstructed: it is the one with most imaging lines ({EMPTY})."
    assert seen(xml, 1, 4).chosen() == (1, text)


def test_of_the_first_space_nothing_is_said() -> None:
    assert seen(several(), 0, 8).chosen() == (0, "")
