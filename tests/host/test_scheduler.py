"""Which scans run, wait, and are refused."""

import pytest

from onebreath.config.node_options import Priority
from onebreath.diagnostics.reports import Busy, Overdue
from onebreath.worker.scheduler import Scheduler
from onebreath.worker.ticket import BASE, CHANNELS, COPIES, Ticket, needed_bytes
from tests.scans import header


def ticket(name, priority=Priority.LIVE, needs=10, **more):
    return Ticket(name, "chain", "client", priority, needs, **more)


def entered(scheduler, *tickets):
    for one in tickets:
        scheduler.enter(one)
    return list(tickets)


def names(tickets):
    return [one.scan for one in tickets if one.admitted.is_set()]


def test_slots_are_filled_by_priority_then_arrival():
    scheduler = Scheduler(slots=1, memory=100, queue=9)
    first, replay, live, second = entered(
        scheduler,
        ticket("first"),
        ticket("replay", Priority.REPLAY),
        ticket("live"),
        ticket("second live"),
    )
    order = []
    for leaving in (first, live, second, replay):
        assert leaving.admitted.is_set()
        order.append(leaving.scan)
        scheduler.leave(leaving, "done")
    assert order == ["first", "live", "second live", "replay"]
    assert scheduler.snapshot()["counts"] == {"done": 4}


def test_memory_holds_scans_back_and_a_large_one_is_not_overtaken():
    scheduler = Scheduler(slots=4, memory=100, queue=9)
    one, large, small = entered(scheduler, ticket("one", needs=60), ticket("large", needs=50), ticket("small", needs=1))
    assert names([one, large, small]) == ["one"]
    scheduler.leave(one, "done")
    assert names([large, small]) == ["large", "small"]


def test_scan_beyond_all_memory_runs_alone():
    scheduler = Scheduler(slots=4, memory=100, queue=9)
    huge, other = entered(scheduler, ticket("huge", needs=10**6), ticket("other"))
    assert names([huge, other]) == ["huge"]
    scheduler.leave(huge, "failed")
    assert other.admitted.is_set()


def test_late_scans_run_beside_and_keep_nobody_waiting():
    scheduler = Scheduler(slots=1, memory=100, queue=9)
    late, later, live = entered(
        scheduler, ticket("late", Priority.LATE), ticket("later", Priority.LATE), ticket("live")
    )
    assert names([late, later, live]) == ["late", "live"]


def test_full_queue_refuses_live_scans_but_not_late_ones():
    scheduler = Scheduler(slots=1, memory=100, queue=1)
    _, waiting = entered(scheduler, ticket("runs"), ticket("waits"))
    assert scheduler.full()
    with pytest.raises(Busy, match="1 scans wait already"):
        scheduler.enter(ticket("refused"))
    scheduler.enter(ticket("late", Priority.LATE))
    scheduler.leave(waiting, "lost")
    assert not scheduler.full()
    assert [scan["scan"] for scan in scheduler.snapshot()["waiting"]] == ["late"]


def test_cancelled_and_overdue_tickets():
    one = ticket("one", deadline=1e-6)
    assert one.overdue
    assert not ticket("no deadline").overdue
    one.check()
    one.cancel(Overdue("too late"))
    one.cancel(Busy("a second reason"))
    with pytest.raises(Overdue, match="too late"):
        one.check()


def test_deadline_does_not_depend_on_the_clock_of_the_day(monkeypatch):
    one = ticket("one", deadline=5.0)
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert not one.overdue


def test_memory_estimate_follows_the_header():
    small, cine = header(12, 16), header(12, 16, phases=5, slices=3)
    assert needed_bytes(small) == BASE + COPIES * 8 * 12 * 16 * CHANNELS
    assert needed_bytes(cine) - BASE == 15 * (needed_bytes(small) - BASE)
    small.encoding = []
    assert needed_bytes(small) == BASE
