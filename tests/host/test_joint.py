"""Nodes of one scan share one admission."""

import pytest

from onebreath.config.node_options import Priority
from onebreath.diagnostics.reports import Busy
from onebreath.errors import ScanError
from onebreath.worker.joint import JointScans, is_whole, scan_key
from onebreath.worker.scheduler import Scheduler
from onebreath.worker.ticket import Ticket
from tests.host import tiny


def ticket(name: str, **more: float) -> Ticket:
    return Ticket(name, name, "execute", Priority.LIVE, 10, **more)


def joint(slots: int = 1, queue: int = 9) -> JointScans:
    return JointScans(Scheduler(slots, 100, queue))


def test_nodes_of_one_scan_take_one_place_and_leave_it_with_the_last() -> None:
    scans = joint()
    joined = [scans.join("a", ticket(name)) for name in ("sort", "calibrate", "reconstruct")]
    assert len(set(map(id, joined))) == 1
    scan = joined[0]
    assert (scan.title, scan.admitted.is_set()) == ("sort + calibrate + reconstruct", False)
    scans.scheduler.ready(scan)
    assert scan.admitted.is_set()
    left = [scans.leave("a", scan, outcome) for outcome in ("done", "failed", "lost")]
    assert left == [False, False, True]
    assert (scan.outcome, scans.knows("a")) == ("failed", False)
    assert scans.scheduler.snapshot()["counts"] == {"failed": 1}


def test_a_scan_without_data_holds_nothing_and_is_overtaken() -> None:
    scans = joint()
    later, first = scans.join("a", ticket("later node")), scans.join("b", ticket("another scan"))
    scans.scheduler.ready(first)
    assert (first.admitted.is_set(), later.admitted.is_set()) == (True, False)
    scans.scheduler.ready(later)
    assert not later.admitted.is_set()
    scans.leave("b", first, "done")
    assert later.admitted.is_set()


def test_a_node_that_is_there_already_belongs_to_another_scan_of_the_same_header() -> None:
    scans = joint(slots=9)
    one, other, _ = (scans.join("a", ticket(name)) for name in ("sort", "sort", "reconstruct"))
    assert one is not other
    assert (one.title, other.title) == ("sort + reconstruct", "sort")
    other.cancel(Busy("the other client has gone"))
    one.check()
    assert scans.leave("a", other, "lost")
    assert scans.knows("a")


def test_whole_scans_are_admitted_by_themselves() -> None:
    scans = joint(slots=2)
    tickets = [scans.join(None, ticket(name)) for name in ("one", "two", "three")]
    assert [one.admitted.is_set() for one in tickets] == [True, True, False]


def test_no_room_is_said_and_entered_in_the_books() -> None:
    scans = joint(queue=0)
    scans.scheduler.ready(scans.join("a", ticket("a")))
    with pytest.raises(Busy):
        scans.join("b", ticket("b"))
    assert not scans.knows("b")
    assert scans.scheduler.snapshot()["counts"] == {"failed": 1}
    assert scans.join("a", ticket("a, too")).admitted.is_set()


@pytest.mark.parametrize("key", [None, "a"])
def test_a_scan_larger_than_the_computer_has_ended_in_the_books(key: str | None) -> None:
    scans = joint()
    huge = ticket("huge")
    huge.needs = scans.scheduler.machine + 1
    with pytest.raises(ScanError, match="this computer has"):
        scans.join(key, huge)
    books = scans.scheduler.snapshot()
    assert books["counts"] == {"failed": 1}
    assert [one["outcome"] for one in books["ended"]] == ["failed"]
    assert (huge.outcome, huge.ended is not None) == ("failed", True)


def test_the_shortest_deadline_of_the_nodes_counts() -> None:
    scans = joint()
    seconds = (0.0, 9.0, 5.0, 0.0, 7.0)
    found = [scans.join("a", ticket(f"node {n}", deadline=s)).deadline for n, s in enumerate(seconds)]
    assert found == [0.0, 9.0, 5.0, 5.0, 5.0]


def test_keys_tell_scans_apart() -> None:
    keys = [("execute", 1, b"x"), ("execute", 2, b"x"), ("execute", 1, b"y"), ("connect", 1, b"x")]
    assert len({scan_key(*parts) for parts in keys}) == 4
    assert scan_key("execute", 1, tiny.header()) == scan_key("execute", 1, tiny.header())


@pytest.mark.parametrize(
    ("steps", "whole"),
    [
        (tiny.STEPS, True),
        (("sort", "calibrate", "reconstruct", "export"), True),
        (("retrieve",), True),
        (("prewhiten", "compress", "sort"), False),
        (("calibrate", "reconstruct", "export"), False),
        (("sort",), False),
    ],
)
def test_what_is_a_whole_scan(steps: tuple[str, ...], whole: bool) -> None:
    assert is_whole([(name, {}) for name in steps]) == whole
