"""Who sends many scans takes nobody else's place, and who waits for nothing keeps no slot."""

import socket
import threading
import time

import pytest

from onebreath.config.node_options import Priority
from onebreath.diagnostics.reports import Busy
from onebreath.errors import ConnectionLost
from onebreath.worker import scheduler as scheduler_module
from onebreath.worker.fairness import OWN_USER, Sender, gives_way
from onebreath.worker.light import LightScans
from onebreath.worker.scheduler import Scheduler
from onebreath.worker.ticket import LONGEST, Ticket
from tests.host import tiny
from tests.host.test_worker import beginning, gadget_scan, hold
from tests.host.workers import at_rest, books, wait_for, worker


def ticket(name, address, exam="", priority=Priority.LIVE, needs=10):
    return Ticket(name, "chain", "connect", priority, needs, sender=Sender(address, exam))


def names(scheduler, part):
    return [scan["scan"] for scan in scheduler.snapshot()[part]]


def test_a_full_queue_has_room_for_who_has_fewer_places():
    scheduler = Scheduler(slots=1, memory=100, queue=3)
    flood = [ticket(f"flood {n}", "10.0.0.9") for n in range(4)]
    for one in flood:
        scheduler.enter(one)
    with pytest.raises(Busy, match="3 scans wait already"):
        scheduler.enter(ticket("more of the flood", "10.0.0.9"))
    scheduler.enter(ticket("honest", "10.0.0.1"))
    with pytest.raises(Busy, match="of this sender more than of others"):
        flood[-1].check()
    assert names(scheduler, "waiting")[0] == "honest"  # the flood runs one already
    scheduler.leave(flood[0], "done")
    assert names(scheduler, "running") == ["honest"]


def test_scans_of_one_address_are_told_apart_by_exam():
    scheduler = Scheduler(slots=1, memory=100, queue=3)
    flood = [ticket(f"flood {n}", "10.0.0.9", "forged") for n in range(4)]
    for one in flood:
        scheduler.enter(one)
    scheduler.enter(ticket("honest", "10.0.0.9", "another exam"))
    assert flood[-1].cancelled is not None
    assert names(scheduler, "waiting")[0] == "honest"


def test_a_client_s_scan_takes_no_place_of_live_ones_and_they_none_of_its():
    scheduler = Scheduler(slots=1, memory=100, queue=2)
    live = [ticket(f"live {n}", "10.0.0.9") for n in range(3)]
    for one in (*live, ticket("client", "10.0.0.1", priority=Priority.REPLAY)):
        scheduler.enter(one)
    assert scheduler.full()
    assert [one.cancelled for one in live] == [None] * 3
    assert names(scheduler, "waiting") == ["live 1", "live 2", "client"]


def test_processes_of_this_user_are_never_sent_away():
    waiting = [ticket(f"{n}", OWN_USER) for n in range(9)]
    assert gives_way(waiting, ticket("honest", "10.0.0.1")) is None


def test_the_exchange_must_make_it_fairer():
    waiting = [ticket("1", "a"), ticket("2", "b"), ticket("3", "b")]
    assert gives_way(waiting, ticket("new", "a")) is None
    assert gives_way(waiting, ticket("new", "c")) is waiting[2]
    assert gives_way(waiting[:2], ticket("new", "c")) is None


def test_a_replayed_scan_does_not_wait_for_ever_behind_live_ones(monkeypatch):
    scheduler = Scheduler(slots=1, memory=100, queue=9)
    first, replay = ticket("first", "a"), ticket("replay", "b", priority=Priority.REPLAY)
    for one in (first, replay, ticket("live", "c")):
        scheduler.enter(one)
    assert names(scheduler, "waiting") == ["live", "replay"]
    monkeypatch.setattr(scheduler_module, "PATIENT", 0.0)
    assert names(scheduler, "waiting") == ["replay", "live"]


def test_light_scans_of_one_address_give_way_to_others():
    slots = LightScans(2)
    flood = [ticket("1", "a"), ticket("2", "a")]
    with slots.slot(flood[0]), slots.slot(flood[1]):
        with pytest.raises(Busy), slots.slot(ticket("3", "a")):
            pass
        with slots.slot(ticket("honest", "b")):
            with pytest.raises(Busy, match="more than of others"):
                flood[1].check()
            flood[0].check()


def test_idle_scans_give_their_slots_and_a_crowd_of_them_its_memory():
    scheduler = Scheduler(slots=1, memory=60, queue=9)
    crowd = [ticket(f"{n}", "a") for n in range(6)]
    for one in crowd:
        scheduler.enter(one)
        scheduler.rest(one, True)
    assert names(scheduler, "running") == ["0", "1", "2", "3", "4", "5"]  # of one slot, as far as memory goes
    scheduler.enter(ticket("honest", "b"))
    scheduler.rest(crowd[3], True)
    with pytest.raises(ConnectionLost, match="other scans need its memory"):
        crowd[0].check()
    assert [one.cancelled is None for one in crowd[1:]] == [True] * 5  # one for one that waits
    scheduler.leave(crowd[0], "lost")
    assert "honest" in names(scheduler, "running")


def test_a_scan_that_goes_on_has_its_slot_again_before_others_begin():
    scheduler = Scheduler(slots=1, memory=100, queue=9)
    slow, other = ticket("slow", "a"), ticket("other", "b")
    scheduler.enter(slow)
    scheduler.rest(slow, True)
    scheduler.rest(slow, False)
    scheduler.enter(other)
    assert names(scheduler, "running") == ["slow"]


def test_no_scan_lasts_for_ever(monkeypatch):
    one = ticket("one", "a")
    assert not one.overdue
    now = time.monotonic()
    monkeypatch.setattr("onebreath.worker.ticket.time.monotonic", lambda: now + LONGEST + 60)
    assert one.overdue


@pytest.mark.parametrize("lines", [1, 5])
def test_slow_whole_messages_keep_no_slot(tmp_path, lines):
    first, *rest = tiny.pieces(tiny.configuration())
    with worker(tmp_path, slots=1, idle=0.5) as running:
        slow = socket.create_connection(running.listeners["gadget"].address)
        slow.sendall(first + b"".join(rest[:lines]))
        wait_for(lambda: books(running, "running"))
        ended = threading.Event()

        def trickle():
            for piece in rest[lines:-1]:
                slow.sendall(piece)
                if ended.wait(0.3):
                    break
            slow.sendall(b"".join(rest[-1:]))

        thread = threading.Thread(target=trickle)
        thread.start()
        assert gadget_scan(running).images  # while the slow one runs
        ended.set()
        thread.join()
        slow.close()
        wait_for(lambda: at_rest(running))


def test_a_client_that_does_not_read_its_images_keeps_no_slot(tmp_path, monkeypatch):
    config = tiny.stream("zero_filled")
    phases = 400
    with worker(tmp_path, slots=1, idle=0.5) as running, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(running.listeners["client"].address)
        pieces = tiny.pieces(b"", phases)
        whole = beginning(config)
        head = whole[: whole.rindex(len(tiny.header()).to_bytes(4, "little") + tiny.header())]
        data = head + len(tiny.header(phases)).to_bytes(4, "little") + tiny.header(phases) + b"".join(pieces[1:])
        deaf.sendall(data)
        wait_for(lambda: [scan["images"] for scan in running.service.scheduler.snapshot()["running"]] == [0])
        wait_for(lambda: [t.idle_since for t in running.service.scheduler._running if t.idle_since is not None])
        assert gadget_scan(running).images


def test_a_flood_of_one_address_leaves_room_for_another(tmp_path):
    whole = b"".join(tiny.pieces(tiny.configuration()))
    with worker(tmp_path, slots=1, queue=2) as running:
        holding = hold(running)
        flood = []
        for _ in range(6):
            sock = socket.socket()
            sock.bind(("127.0.0.9", 0))
            sock.connect(running.listeners["gadget"].address)
            sock.sendall(whole)
            flood.append(sock)
        wait_for(lambda: len(books(running, "waiting")) == 2)
        found = []
        honest = threading.Thread(target=lambda: found.append(gadget_scan(running)))
        honest.start()
        wait_for(lambda: "127.0.0.1" in [t.sender.address for t in running.service.scheduler._waiting])
        holding.close()
        honest.join(60)
        assert found[0].images
        for sock in flood:
            sock.close()


def test_scans_of_two_patients_with_equal_headers_at_once_get_their_own_images(tmp_path):
    """Nodes apart, as Gadgetron dials them: what one sends must never come out of the other."""
    steps = (("prewhiten", "compress", "sort"), ("calibrate", "reconstruct", "export"))
    with worker(tmp_path, slots=4) as running:
        alone = [relayed(running, steps, scale) for scale in (1.0, 3.0)]
        found = {}

        def scan(number):
            found[number] = relayed(running, steps, 1.0 + 2.0 * (number % 2))

        threads = [threading.Thread(target=scan, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not (alone[0] == alone[1]).all()
    for number, pixels in found.items():
        assert (pixels == alone[number % 2]).all()


def relayed(running, steps, scale):
    """Send the tiny scan, times a number, through nodes one after the other; the pixels."""
    import ismrmrd

    from onebreath.wire.channel import Channel, encode
    from tests.host.wiring import start

    messages = [ismrmrd.Acquisition(line.getHead(), scale * line.data) for line in tiny.lines()]
    for part in steps:
        with socket.create_connection(running.listeners["gadget"].address) as sock:
            sock.sendall(start(tiny.configuration(steps=part), tiny.header()))
            channel = Channel(sock)
            for message in messages:
                sock.sendall(b"".join(bytes(piece) for piece in encode(message)))
            channel.stream.end()
            messages = list(channel)
    return tiny.pixels([message for message in messages if isinstance(message, ismrmrd.Image)])


def test_a_sender_whose_scans_come_to_nothing_has_one_at_a_time_and_the_last_turn():
    scheduler = Scheduler(slots=2, memory=1000, queue=9)
    for number in range(8):
        one = ticket(f"bad {number}", "a")
        scheduler.enter(one)
        scheduler.leave(one, "lost")
    bad, honest = [ticket(f"bad {n}", "a") for n in range(8, 11)], ticket("honest", "b")
    for one in bad:
        scheduler.enter(one)
    assert names(scheduler, "running") == ["bad 8"]
    scheduler.enter(honest)
    assert names(scheduler, "running") == ["bad 8", "honest"]
    for one in (*bad, honest):
        scheduler.leave(one, "done")
    for one in (again := [ticket("1", "a"), ticket("2", "a")]):
        scheduler.enter(one)
    assert [one.admitted.is_set() for one in again] == [True, True]


def test_a_scan_that_announces_much_keeps_others_waiting_for_a_while_only(monkeypatch):
    monkeypatch.setattr(scheduler_module, "BASE", 1)
    scheduler = Scheduler(slots=30, memory=100, queue=99)
    small, large = ticket("small", "a", needs=60), ticket("large", "b", needs=90)
    for one in (small, large):
        scheduler.enter(one)
    others = [ticket(f"{n}", "c", needs=1) for n in range(17)]
    for one in others:
        scheduler.enter(one)
        if one.admitted.is_set():
            scheduler.leave(one, "done")
    assert sum(one.admitted.is_set() for one in others) == scheduler_module.OVERTAKEN
    scheduler.leave(small, "done")
    assert large.admitted.is_set()
    large.held = 3
    scheduler.rest(large, True)
    medium = ticket("medium", "d", needs=50)
    scheduler.enter(medium)
    assert not medium.admitted.is_set()
    monkeypatch.setattr(scheduler_module, "GRACE", -1.0)
    scheduler.rest(large, True)
    assert medium.admitted.is_set()
    assert large.needs == 7
    assert not scheduler.allows(large, 60)
    assert scheduler.allows(large, 10)


def test_the_queue_is_bounded_behind_a_scan_that_does_not_fit():
    scheduler = Scheduler(slots=9, memory=100, queue=2)
    for one in (ticket("runs", "a", needs=60), ticket("large", "a", needs=90), ticket("small", "a")):
        scheduler.enter(one)
    with pytest.raises(Busy, match="2 scans wait already"):
        scheduler.enter(ticket("one more", "a"))
    assert names(scheduler, "waiting") == ["large", "small"]
