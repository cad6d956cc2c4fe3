"""How often others may connect: counting, and what a worker does with those who come too often."""

from __future__ import annotations

import argparse
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from onebreath.commands import serve
from onebreath.host import server
from onebreath.host.listener import Listener
from onebreath.wire.channel import Channel
from onebreath.wire.messages import ConfigText, HeaderText
from onebreath.worker import rates
from onebreath.worker import worker as worker_module
from onebreath.worker.metrics import Metrics, serving_metrics
from onebreath.worker.rates import Pace, RateLimiter, Rates, source
from tests.host import standin, tiny
from tests.host.test_metrics import scrape
from tests.host.test_worker import beginning, client_scan, gadget_scan
from tests.host.wiring import received
from tests.host.workers import books, wait_for, worker

SECOND = 1_000_000_000


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 5

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def long_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is admitted again because the test, on a busy computer, takes long."""
    monkeypatch.setattr(rates, "WINDOW", 3600 * SECOND)


@pytest.mark.parametrize("per_minute", [1, 7, 600])
def test_as_many_as_allowed_at_once_and_then_evenly(per_minute: int) -> None:
    clock = Clock()
    pace = Pace(per_minute, clock)
    assert sum(pace.admits("a") for _ in range(2 * per_minute)) == per_minute
    clock.now += 60 * SECOND // per_minute
    assert [pace.admits("a"), pace.admits("a")] == [True, False]
    clock.now += 60 * SECOND
    assert sum(pace.admits("a") for _ in range(2 * per_minute)) == per_minute


def test_no_window_of_a_minute_holds_more_than_twice_as_many() -> None:
    clock, came = Clock(), []
    pace = Pace(10, clock)
    for _ in range(2000):
        clock.now += SECOND // 5
        came += [clock.now] * pace.admits("a")
    assert max(sum(begin <= other < begin + 60 * SECOND for other in came) for begin in came) <= 20
    assert len(came) == pytest.approx(10 + 400 / 6, abs=1)


def test_zero_is_no_limit() -> None:
    pace = Pace(0, Clock())
    assert all(pace.admits("a") for _ in range(5000))


def test_the_table_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "SOURCES", 3)
    pace = Pace(1, Clock())
    assert all(pace.admits(name) for name in "abc")
    assert not pace.admits("a")
    assert pace.admits("d")
    assert len(pace._ends) == 3
    assert not pace.admits("b") or not pace.admits("c")  # only the one that was quiet for longest is forgotten


def test_one_address_does_not_use_up_what_the_others_have() -> None:
    limiter = RateLimiter(Rates(address=2, total=3), Clock())
    assert [limiter.admits(("10.0.0.1", port)) for port in range(50)] == [True] * 2 + [False] * 48
    assert [limiter.admits(("10.0.0.2", port)) for port in range(2)] == [True, False]
    assert limiter.admits("")  # on a unix socket


def test_what_counts_as_one_address() -> None:
    assert source("10.1.2.3") == source("::ffff:10.1.2.3") == "10.1.2.3"
    assert source("2001:db8::1") == source("2001:db8::ffff:1:2:3") != source("2001:db8:0:1::1")
    assert source("fe80::1%eth0") == source("fe80::2%eth0")
    assert source("::1") != source("127.0.0.1")


@pytest.mark.usefixtures("long_minute")
def test_who_comes_too_often_is_told_in_three_texts_and_counted(tmp_path: Path) -> None:
    with worker(tmp_path, rates=Rates(address=1)) as running:
        with serving_metrics(Metrics(running.service.scheduler.snapshot), 0) as port:
            assert gadget_scan(running).images
            (image,) = client_scan(running, tiny.stream())  # on another port, which counts for itself
            (told,) = client_scan(running, tiny.stream())
            seen = gadget_scan(running)
            found = scrape(port)
        assert running.service.scheduler.snapshot()["counts"] == {"done": 2}
    assert image.data.any()
    for text in (str(told).removeprefix("ERROR: "), seen.text.removeprefix("Errors received: ")):
        for_technologist, for_physicist, for_developer = text.splitlines()
        assert for_technologist == "Too many scans were sent at once. Send the scan again in a minute."
        assert "--rate" in for_physicist
        assert for_developer.endswith(", TooOften")
    assert not seen.images
    assert found["onebreath_refused_connections_total", "told"] == 2
    assert found["onebreath_errors_total", "TooOften"] == 2


@pytest.mark.usefixtures("long_minute")
def test_connections_that_send_nothing_use_up_nobody_s_rate(tmp_path: Path) -> None:
    with worker(tmp_path, rates=Rates(address=2, total=2)) as running:
        for _ in range(20):
            socket.create_connection(running.listeners["gadget"].address).close()
        assert gadget_scan(running).images


def test_silent_connections_give_way_and_take_no_place_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "STRANGERS", 4)
    first, *rest = tiny.pieces(tiny.configuration())
    with (
        worker(tmp_path, slots=1, queue=1) as running,
        serving_metrics(Metrics(running.service.scheduler.snapshot), 0) as port,
        standin.connect(running.listeners["gadget"].address) as gadgetron,
        ExitStack() as flood,
    ):
        gadgetron.send(first)
        wait_for(lambda: books(running, "running"))
        for side in ("client", "gadget"):
            for _ in range(30):
                flood.enter_context(socket.create_connection(running.listeners[side].address))
        wait_for(lambda: scrape(port).get(("onebreath_refused_connections_total", "closed"), 0) == 52)
        wait_for(lambda: [len(running.listeners[side]._live) for side in ("client", "gadget")] == [4, 5])
        gadgetron.send(b"".join(rest))
        assert gadgetron.receive().images
        assert gadget_scan(running).images
        (image,) = client_scan(running, tiny.stream())
    assert image.data.any()


def test_of_the_silent_the_oldest_of_the_address_that_has_most_gives_way() -> None:
    served: list[socket.socket] = []
    with (
        Listener(lambda sock: (served.append(sock), sock.recv(1)), most=3, yielding=True) as service,
        ExitStack() as open_,
    ):

        def come(source: str) -> socket.socket:
            before = len(served)
            sock = open_.enter_context(socket.create_connection(service.address, 30, (source, 0)))
            wait_for(lambda: len(served) > before)
            return sock

        alone, *many = [come(source) for source in ("127.0.0.3", "127.0.0.2", "127.0.0.2", "127.0.0.4")]
        assert many[0].recv(1) == b""  # broken off
        wait_for(lambda: len(service._live) == 3)
        for sock in (alone, *many[1:]):
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(1)


def test_scans_that_are_handed_over_are_not_counted(tmp_path: Path) -> None:
    from onebreath.host.handover import ask

    with worker(tmp_path, rates=Rates(address=1, total=1)):
        assert all(ask(tmp_path / "worker.sock", "status")["pid"] for _ in range(20))


@pytest.mark.parametrize("side", ["client", "gadget"])
def test_a_header_that_trickles_in_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    first = tiny.pieces(tiny.configuration())[0]
    with worker(tmp_path, slots=1, queue=0) as running:
        with monkeypatch.context() as patch:
            patch.setattr(server, "HANDSHAKE", 0.6)
            with socket.create_connection(running.listeners[side].address) as slow, pytest.raises(OSError):
                for place in range(600):  # 30 s
                    slow.sendall(first[place : place + 1])
                    time.sleep(0.05)
        assert gadget_scan(running).images if side == "gadget" else client_scan(running, tiny.stream())


def test_a_scan_whose_header_has_come_may_be_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HANDSHAKE", 1.0)
    lines = tiny.lines()
    with worker(tmp_path) as running, socket.create_connection(running.listeners["client"].address) as sock:
        channel = Channel(sock)
        for message in (ConfigText(tiny.stream()), HeaderText(tiny.header()), *lines[:3]):
            channel.send(message)
        time.sleep(1.5)
        for message in lines[3:]:
            channel.send(message)
        channel.stream.end()
        (image,) = channel
    assert image.data.any()


@pytest.mark.usefixtures("long_minute")
def test_refused_peer_that_trickles_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HANDSHAKE", 0.6)
    with worker(tmp_path, rates=Rates(address=1)) as running:
        (image,) = client_scan(running, tiny.stream())
        assert image.data.any()
        with socket.create_connection(running.listeners["client"].address) as slow:
            slow.sendall(beginning(tiny.stream()))
            assert b"ERROR: Too many scans" in received(slow)
            wait_for(lambda: not running.listeners["client"]._live)


def test_rates_of_the_command_line() -> None:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    arguments = ["--memory-gb", "1", "--rate", "5", "--rate-total", "0"]
    assert serve.options_of(parser.parse_args(arguments)).rates == Rates(5, 0)
    assert serve.options_of(parser.parse_args(arguments[:2])).rates == Rates()
    with pytest.raises(SystemExit):
        parser.parse_args(["--rate", "-1"])
