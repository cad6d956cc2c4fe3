"""Slices that leave `sort` while others are acquired: the same k-space as at the end of the scan, in any order."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from gadgetron.types import ReconData
from hypothesis import HealthCheck, event, given, settings

from onebreath.chain.gadget import gadget_class, parse_properties
from onebreath.chain.notes import read_note, read_warning
from onebreath.errors import ScanError
from tests.field.orders import LOOPS, Scan, scans

EXAMPLES = int(os.environ.get("ONEBREATH_EXAMPLES", "60"))
AGAIN = "its images are made again"
SEQUENTIAL = Scan((3, 4, 1, 1, 1, 1), LOOPS)


def sorted_by(
    scan: Scan, trigger: str, **properties: str
) -> tuple[list[tuple[int, ReconData, dict[str, Any]]], list[str], str]:
    """K-spaces with the number of lines that had come and their facts, the warnings, and the error."""
    taken, made, told, facts, error = 0, [], [], {}, ""

    def source() -> Any:
        nonlocal taken
        for one in scan.lines():
            taken += 1
            yield one

    cls = gadget_class("sort")
    gadget = cls(scan.header(), parse_properties(cls, {"trigger_dimension": trigger, **properties}))
    try:
        for message in gadget.process(source()):
            if isinstance(message, ReconData):
                made.append((taken, message, facts))
            elif (text := read_warning(message)) is not None:
                told.append(text)
            elif (found := read_note(message)) is not None:
                facts = found[1]
    except ScanError as stopped:
        error = str(stopped)
    return made, told, error


def content(message: ReconData) -> list[Any]:
    """All that a message holds, to the last bit."""
    found: list[Any] = []
    for one in (message.bits[0].data, message.bits[0].ref):
        if one is not None:
            headers = [bytes(header) for header in one.headers.flat]
            found += [one.data.shape, one.data.tobytes(), headers, bytes(one.sampling)]
    return found


def told_alike(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts without those that count lines that had not come yet; image numbers follow the header's limits, too."""
    return {name: value for name, value in facts.items() if name != "dropped_lines" and not name.startswith("values")}


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(scan=scans())
def test_early_slices_are_those_of_the_end_in_any_order(scan: Scan) -> None:
    early, told, error = sorted_by(scan, "auto")
    late, told_late, error_late = sorted_by(scan, "none")
    assert error == error_late
    sent_early = sum(came < len(scan.lines()) for came, *_ in early)
    event("early" if sent_early else "at the end")
    if any(AGAIN in text for text in told):
        event("made again")
        assert not scan.honest, "nothing was wrong with the scan"
        early = early[-len(late) :] if len(early) - sent_early >= len(late) else _newest(early, late)
    if error:
        assert not late or len(early) <= len(late)
        return
    assert [content(message) for _, message, _ in early] == [content(message) for _, message, _ in late]
    if not any(AGAIN in text for text in told):
        assert sorted(told) == sorted(told_late)
        assert [told_alike(facts) for *_, facts in early] == [told_alike(facts) for *_, facts in late]


def _newest(early: list[Any], late: list[Any]) -> list[Any]:
    """The last k-space of each place, in the order of the places."""
    place = lambda facts: tuple(facts.get(name) for name in ("slice", "repetition", "set", "phase", "average"))  # noqa: E731
    newest = {place(facts): one for one in early for facts in [one[2]]}
    return [newest[place(facts)] for *_, facts in late]


def came(scan: Scan, **properties: str) -> list[tuple[int, int]]:
    """Which slices came after how many lines."""
    return [(facts["slice"], lines) for lines, _, facts in sorted_by(scan, "auto", **properties)[0]]


def test_a_slice_leaves_with_its_last_line_and_the_first_one_when_the_next_begins() -> None:
    lines = len(SEQUENTIAL.lines()) - 1  # the first one is noise
    assert came(SEQUENTIAL) == [(0, lines // 3 + 2), (1, 2 * lines // 3 + 1), (2, lines + 1)]


@pytest.mark.parametrize(
    "changed",
    [
        {"flags": "none"},
        {"backwards": True},
        {"limits": ("slice", "phase", "repetition", "set")},  # who knows of averages
        {"counts": (3, 4, 1, 1, 2, 1)},
        {"calibration": "plain"},
        {"order": ("phase", "slice", *LOOPS[2:]), "stops": 0.6},
    ],
)
def test_slices_that_may_not_be_complete_wait_for_the_end(changed: dict[str, Any]) -> None:
    scan = replace(SEQUENTIAL, **changed)
    assert {lines for _, lines in came(scan)} == {len(scan.lines())}


def test_binned_slices_wait_for_the_heart_beats_of_all() -> None:
    scan = replace(SEQUENTIAL, beats=9)
    assert {lines for _, lines in came(scan, phases="3")} == {len(scan.lines())}


def test_interleaved_slices_leave_when_they_are_complete() -> None:
    scan = replace(SEQUENTIAL, order=("phase", "slice", *LOOPS[2:]))
    each = (len(scan.lines()) - 1) // 12
    assert came(scan) == [(0, 10 * each + 1), (1, 11 * each + 1), (2, 12 * each + 1)]


def test_k_space_that_was_sent_stays_as_it_was_and_comes_again_with_late_lines() -> None:
    scan = replace(SEQUENTIAL, calibration="after")
    scan = replace(scan, step=1)  # so that nothing is missed before
    cls = gadget_class("sort")
    sent: list[tuple[ReconData, list[Any]]] = []
    told = []
    for message in cls(scan.header(), parse_properties(cls, {})).process(scan.lines()):
        if isinstance(message, ReconData):
            sent.append((message, content(message)))
        elif (text := read_warning(message)) is not None:
            told.append(text)
    assert len(sent) == 6
    assert all(message.bits[0].ref is None for message, _ in sent[:3])
    assert all(message.bits[0].ref is not None for message, _ in sent[3:])
    assert all(content(message) == before for message, before in sent)
    assert next(text for text in told if AGAIN in text).startswith("slice 0, 1, 2 had all lines")
    with pytest.raises(ScanError, match="is strict"):
        list(cls(scan.header(), parse_properties(cls, {"strict": "true"})).process(scan.lines()))


def test_lines_after_that_decide_otherwise_about_all() -> None:
    scan = replace(SEQUENTIAL, counts=(3, 1, 1, 1, 1, 1))
    lines = scan.lines()
    for one in lines[-3:]:
        one._head.idx.repetition = 1  # which the header does not know of
    cls = gadget_class("sort")
    made = list(cls(scan.header(), parse_properties(cls, {})).process(lines))
    held = list(cls(scan.header(), parse_properties(cls, {"trigger_dimension": "none"})).process(lines))
    assert sum(AGAIN in str(read_warning(message)) for message in made) == 1
    newest, wanted = ([content(one) for one in some if isinstance(one, ReconData)] for some in (made, held))
    assert newest[-len(wanted) :] == wanted
    assert len(newest) == len(wanted) + 2
