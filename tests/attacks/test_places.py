"""Places are given after trust, and come back: whatever a peer does, others are served."""

import socket
import struct
import threading
import time

import numpy as np
import pytest

from onebreath.cancellation import checkpoint, ended_by
from onebreath.config.node_options import Priority, read_options
from onebreath.errors import ConfigError, ConnectionLost
from onebreath.gadgets.retrieve import RetrieveProperties
from onebreath.methods.base import method_class
from onebreath.methods.guarded import Guarded, Safety
from onebreath.methods.place import Place
from onebreath.methods.zero_filled import ZeroFilled
from onebreath.registry import METHODS
from onebreath.wire import framing
from onebreath.wire.connection import parse_config
from onebreath.worker.ticket import Ticket
from tests.attacks import endless
from tests.helpers import READERS_AND_WRITERS
from tests.host import standin, tiny
from tests.host.test_worker import beginning, client_scan, gadget_scan, hold
from tests.host.workers import at_rest, books, wait_for, worker
from tests.methods.slices import lines, synthetic

RESET = struct.pack("ii", 1, 0)


@pytest.fixture(autouse=True)
def endless_method(monkeypatch):
    """The method ``endless`` can be asked for."""
    monkeypatch.setitem(METHODS.own, "endless", "tests.attacks.endless:Endless")
    endless.BEGUN.clear()


@pytest.mark.parametrize("side", ["gadget", "client"])
def test_a_client_that_goes_away_while_a_method_computes_gives_its_place_back(tmp_path, side):
    if side == "client":
        data = beginning(tiny.stream("endless")) + b"".join(tiny.pieces(b"")[1:])
    else:
        data = b"".join(tiny.pieces(tiny.configuration("endless")))
    with worker(tmp_path, slots=1) as running:
        sock = socket.create_connection(running.listeners[side].address)
        sock.sendall(data)
        assert endless.BEGUN.wait(60)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()
        wait_for(lambda: at_rest(running))
        assert books(running, "ended") == ["lost"]
        assert gadget_scan(running).images


def test_a_deadline_gives_the_place_back_while_the_method_computes(tmp_path):
    config = tiny.configuration("endless", '<property name="deadline_s" value="0.5"/>')
    with worker(tmp_path, slots=1) as running:
        assert "was not ready within 0.5 s" in gadget_scan(running, b"".join(tiny.pieces(config))).text
        wait_for(lambda: at_rest(running))
        assert books(running, "ended") == ["overdue"]
        assert gadget_scan(running).images


def test_several_nodes_of_a_client_that_went_away_end_too(tmp_path):
    foreign = b'<external><execute name="tests.host.targets" target="pass_through" type="python"/></external>'
    config = tiny.stream("endless").replace(b"<stream>", b"<stream>" + foreign)
    with worker(tmp_path, slots=1) as running:
        sock = socket.create_connection(running.listeners["client"].address)
        sock.sendall(beginning(config) + b"".join(tiny.pieces(b"")[1:]))
        assert endless.BEGUN.wait(60)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()
        wait_for(lambda: at_rest(running))
        wait_for(lambda: not [t for t in threading.enumerate() if "external node" in t.name])


class GivenUpError(ConnectionLost):
    """Nobody waits any more."""


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("cg_sense", {"iterations": 9, "tolerance": 1e-30}),
        ("low_rank_sparse", {"iterations": 9, "tolerance": 0}),
        ("low_rank_sparse", {"iterations": 9, "tolerance": 0, "algorithm": "accelerated"}),
        ("raki", {"iterations": 9, "channels_1": 8, "channels_2": 4, "device": "cpu", "gfactor": "none"}),
        ("raki", {"iterations": 2, "channels_1": 8, "channels_2": 4, "device": "cpu", "gfactor": "mc"}),
        ("grappa", {"kernel": "arc"}),
    ],
)
def test_every_method_asks_in_its_iterations_whether_to_go_on(method, parameters):
    asked = []

    def check():
        asked.append(None)
        if len(asked) == 3:
            raise GivenUpError("nobody waits")

    case = synthetic(np.tile(lines(32, 2), (3, 1)), 32, 24, acs=16, noise=0.2)
    with ended_by(check), pytest.raises(GivenUpError):
        method_class(method)(**parameters)(case.data)
    assert len(asked) == 3


def test_no_fallback_is_made_for_a_scan_that_was_given_up():
    made = []

    class Fallback(ZeroFilled):
        def __call__(self, data):
            made.append(data)
            return super().__call__(data)

    case = synthetic(lines(16, 2), 16, 16, acs=8)
    ticket = Ticket("1-1", "chain", "client")

    class Wanted(ZeroFilled):
        def __call__(self, data):
            ticket.cancel(ConnectionLost("gone"))
            checkpoint()
            return super().__call__(data)

    guarded = Guarded(Wanted(), Safety(fallback=Fallback()))
    with ended_by(ticket.check), pytest.raises(ConnectionLost, match="gone"):
        guarded([Place(0, 0, case.data, case.data)])
    assert not made


def test_what_a_configuration_may_ask_for_is_bounded():
    for method in ("cg_sense", "low_rank_sparse", "raki"):
        with pytest.raises(ConfigError, match="less than or equal to 10000"):
            method_class(method)(iterations=10**9)
    with pytest.raises(ValueError, match="less than or equal to 3600"):
        RetrieveProperties(wait_s=1e15)
    with pytest.raises(ConfigError, match="less than or equal to 86400"):
        read_options(parse_config(tiny.configuration("grappa", '<property name="deadline_s" value="1e300"/>')), "chain")


def test_live_is_not_a_client_s_to_claim(tmp_path):
    claim = '<property name="priority" value="live"/>'
    options = read_options(parse_config(tiny.configuration("grappa", claim)), "chain")
    assert options.priority(live=False) == Priority.REPLAY
    assert options.priority(live=True) == Priority.LIVE
    with worker(tmp_path) as running:
        (image,) = client_scan(running, tiny.stream("zero_filled", claim))
        assert running.service.scheduler.snapshot()["ended"][-1]["priority"] == "replay"
    assert image.meta["Onebreath_host_priority"] == "replay; only scans that come through Gadgetron may be live"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_scan_that_trickles_inside_a_line_is_given_up_though_never_silent(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(framing, "HESITATION", 0.5)
    with worker(tmp_path, slots=1) as running:
        first, line, *_ = tiny.pieces(tiny.configuration())
        with socket.create_connection(running.listeners["gadget"].address) as slow:
            slow.sendall(first + (line[:-200] if at_once else b""))
            wait_for(lambda: books(running, "running"))
            with pytest.raises(OSError):
                for place in range(600):  # 30 s
                    slow.sendall(line[place : place + 1])
                    time.sleep(0.05)
        wait_for(lambda: at_rest(running))
        assert gadget_scan(running).images


def test_pauses_between_messages_are_no_trickling(tmp_path, monkeypatch):
    monkeypatch.setattr(framing, "HESITATION", 0.2)
    first, *rest = tiny.pieces(tiny.configuration())
    with worker(tmp_path) as running, standin.connect(running.listeners["gadget"].address) as server:
        server.send(first)
        for piece in rest[:3]:
            time.sleep(0.4)
            server.send(piece)
        assert server.exchange(b"".join(rest[3:])).images


def test_a_peer_that_takes_its_images_byte_by_byte_is_given_up(monkeypatch):
    monkeypatch.setattr(framing, "HESITATION", 0.1)
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    stream = framing.Stream(ours)
    stream.give_up_after(0.5)
    ended = threading.Event()

    def take():
        while not ended.is_set() and theirs.recv(2048):
            time.sleep(0.05)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        with pytest.raises(ConnectionLost, match="no longer takes data"):
            stream.send([bytes(1 << 22)])
    finally:
        ended.set()
        stream.close()
        thread.join()
        theirs.close()


def test_retrievals_are_bounded_and_do_not_keep_the_place_that_their_images_need(tmp_path):
    wait = b'<configuration><gadget name="retrieve"><property name="wait_s" value="600"/></gadget></configuration>'
    data = b"".join(tiny.pieces(wait))
    with worker(tmp_path, slots=1, queue=1) as running:
        running.service.late.promise(request())
        socks = [socket.create_connection(running.listeners["gadget"].address) for _ in range(2)]
        for sock in socks:
            sock.sendall(data)
        wait_for(lambda: len(running.service.watcher) == 2)
        assert "light scans run already" in gadget_scan(running, data).text
        assert gadget_scan(running).images
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
        wait_for(lambda: not running.service.watcher)
        running.service.late.results.update("20260101-000000-000000", "failed", "no kernel")
        assert "no kernel" in gadget_scan(running, data).text


def request():
    from onebreath.worker.spooling.spool import Request

    return Request("20260101-000000-000000", "chain", "<configuration/>", tiny.header().decode())


def test_a_waiting_retrieval_of_a_client_holds_no_slot(tmp_path):
    execute = '<execute name="onebreath.host.entry" target="retrieve" type="python"/>'
    node = '<configuration><property name="wait_s" value="600"/></configuration>'
    config = (
        f"<configuration><version>2</version>{READERS_AND_WRITERS}<stream><external>{execute}{node}</external></stream>"
        "</configuration>"
    )
    with worker(tmp_path, slots=1) as running:
        running.service.late.promise(request())
        with socket.create_connection(running.listeners["client"].address) as sock:
            sock.sendall(beginning(config.encode()) + framing.constants.uint16.pack(4))
            wait_for(lambda: running.service.watcher)
            assert gadget_scan(running).images
            running.service.late.results.update("20260101-000000-000000", "failed", "no kernel")
            sock.settimeout(60)
            assert sock.recv(100)


def test_one_scan_that_holds_the_slot_can_be_told_from_many_that_failed(tmp_path):
    with worker(tmp_path, slots=1, queue=2) as running:
        holding = hold(running)
        failed = [socket.create_connection(running.listeners["client"].address) for _ in range(40)]
        for sock in failed:  # told of the error, and never done with sending
            config = tiny.stream("zero_filled", '<property name="nosuch" value="1"/>')
            sock.sendall(beginning(config) + tiny.pieces(b"")[1])
        for sock in failed:
            sock.settimeout(60)
            assert sock.recv(100)
        holding.close()
        assert gadget_scan(running).images
        (image,) = client_scan(running, tiny.stream())
        assert np.any(image.data)
        for sock in failed:
            sock.close()
