"""What goes wrong in a hospital: after each fault the worker is at rest, and the next scan works.

`workers.worker` checks at the end of every test that no thread and no descriptor is left.
"""

import itertools
import socket
import time

import ismrmrd
import numpy as np
import pytest

from onebreath.storage.server import ServerStore
from onebreath.wire.channel import Channel
from onebreath.wire.messages import ConfigText, HeaderText
from tests.helpers import READERS_AND_WRITERS
from tests.host import standin, tiny
from tests.host.test_worker import gadget_scan, hold
from tests.host.wiring import acquisition, encoded, start
from tests.host.workers import at_rest, books, repeated, wait_for, worker
from tests.storage.standin import storage_server

PIECES = tiny.pieces(tiny.configuration())
BOUNDARIES = list(itertools.accumulate(map(len, PIECES)))[:-1]
MIDDLES = [end - 1 for end in BOUNDARIES] + [begin + 1 for begin in BOUNDARIES] + [1, 3, 7]
REPEATS = 20


def dial(running, side="gadget"):
    return socket.create_connection(running.listeners[side].address, 60)


@pytest.mark.parametrize("spool", ["auto", "always"])
@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("cuts", [BOUNDARIES, MIDDLES], ids=["between messages", "in messages"])
def test_client_that_dies_anywhere(tmp_path, cuts, end, spool):
    data = b"".join(PIECES)
    with worker(tmp_path, spool=spool, slots=4) as running:
        alone = gadget_scan(running).images
        for cut in cuts * (1 + REPEATS // len(cuts)):
            sock = dial(running)
            sock.sendall(data[:cut])
            sock.close() if end == "close" else standin.reset(sock)
        wait_for(lambda: at_rest(running), 60)
        after: list[ismrmrd.Image] = []

        def served() -> bool:
            """Connections that were cut are noticed one by one; until then a scan may be refused, as too many wait."""
            after[:] = gadget_scan(running).images
            return bool(after)

        wait_for(served, 60)
        assert np.array_equal(tiny.pixels(after), tiny.pixels(alone))
        assert running.service.scheduler.snapshot()["counts"].get("done", 0) >= 2
    if spool == "auto":
        assert not list((tmp_path / "state").glob("spool/*"))


def test_client_that_resets_while_images_come(tmp_path):
    phases = 6
    data = b"".join(tiny.pieces(tiny.configuration(), phases))
    with worker(tmp_path) as running:
        for run in range(REPEATS):
            sock = dial(running)
            sock.sendall(data)
            sock.recv(1 + 211 * (run % 10))
            standin.reset(sock)
        wait_for(lambda: at_rest(running), 60)
        with standin.connect(running.listeners["gadget"].address) as server:
            assert len(server.exchange(data).images) == phases


def test_half_open_connections_do_not_keep_others_out(tmp_path):
    with worker(tmp_path, silence=1.0, slots=1, queue=3) as running:
        silent = [dial(running, side) for side in ("gadget", "client") for _ in range(REPEATS // 2)]
        for sock in silent[::2]:
            sock.sendall(PIECES[0][:5])
        assert gadget_scan(running).images
        for sock in silent:
            sock.close()


def test_scan_that_falls_silent_is_given_up(tmp_path):
    with worker(tmp_path, silence=1.0, slots=1) as running:
        for _ in range(3):
            holding = hold(running)
            assert gadget_scan(running).images
            holding.close()
        assert sorted(books(running, "ended")) == ["done"] * 3 + ["lost"] * 3


PASS_THROUGH = (
    f"<configuration><version>2</version>{READERS_AND_WRITERS}<stream><external>"
    '<execute name="tests.host.targets" target="pass_through" type="python"/>'
    "</external></stream></configuration>"
).encode()
LARGE = encoded(*[acquisition(line, channels=32, samples=512) for line in range(300)])
"""More than sockets and the receive room hold."""


def large_scan(running):
    sock = dial(running, "client")
    sock.sendall(encoded(ConfigText(PASS_THROUGH), HeaderText(tiny.header())))
    sock.settimeout(0.5)
    with pytest.raises(TimeoutError):  # back-pressure: nobody reads the answers, so nobody takes more data
        sock.sendall(LARGE)
    return sock


@repeated
def test_reader_that_never_reads_is_given_up_and_one_that_is_slow_is_not(tmp_path):
    with worker(tmp_path, silence=1.5, slots=1) as running:
        stuck = large_scan(running)
        assert gadget_scan(running).images
        stuck.close()
        slow = dial(running, "client")
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        some = [acquisition(line, channels=8, samples=256) for line in range(40)]
        slow.sendall(encoded(ConfigText(PASS_THROUGH), HeaderText(tiny.header()), *some) + PIECES[-1])
        channel, got = Channel(slow), 0
        for _ in channel:
            got += 1
            time.sleep(0.02)
        channel.close()
        assert got == 40


def test_nonsense_after_a_good_beginning(tmp_path):
    with worker(tmp_path) as running:
        for run in range(REPEATS):
            with standin.connect(running.listeners["gadget"].address) as server:
                junk = np.random.default_rng(run).bytes(300)
                sent = b"".join(PIECES[: 1 + run % 5]) + junk
                server.sock.sendall(sent)
                server.sock.shutdown(socket.SHUT_WR)
                server.drained.set()
                server.receive()
        wait_for(lambda: at_rest(running), 60)
        assert gadget_scan(running).images


def test_out_of_memory_in_a_gadget_is_told_as_such(tmp_path, monkeypatch):
    def nothing_left(*args):
        raise MemoryError

    with worker(tmp_path) as running:
        with monkeypatch.context() as patch:
            patch.setattr("onebreath.gadgets.reconstruct.gather.kspace_of", nothing_left)
            for _ in range(REPEATS):
                seen = gadget_scan(running)
                assert "The computer's memory is too small for this scan." in seen.text
        assert gadget_scan(running).images
        assert books(running, "ended").count("failed") == REPEATS


def test_jump_of_the_clock_changes_nothing(tmp_path, monkeypatch):
    with worker(tmp_path) as running:
        pieces = tiny.pieces(tiny.configuration("zero_filled", '<property name="deadline_s" value="30"/>'))
        true = time.time
        for jump in (1e6, -1e6) * (REPEATS // 2):
            with standin.connect(running.listeners["gadget"].address) as server, monkeypatch.context() as patch:
                server.send(b"".join(pieces[:4]))
                patch.setattr("time.time", lambda shift=jump: true() + shift)
                assert len(server.exchange(b"".join(pieces[4:])).images) == 1


@pytest.mark.parametrize("harm", ["down", "failing", "hanging"])
def test_storage_server_in_trouble_costs_no_scan(tmp_path, monkeypatch, harm):
    if harm == "hanging":
        monkeypatch.setattr(ServerStore.__init__, "__defaults__", (0.05,))  # seconds of patience
    with storage_server() as storage, worker(tmp_path) as running:
        monkeypatch.setenv("ONEBREATH_STORAGE", storage.url if harm != "down" else "http://127.0.0.1:9")
        alone = gadget_scan(running).images
        if harm == "failing":
            storage.fails_with = 500
        elif harm == "hanging":
            storage.silent.set()
        for _ in range(REPEATS):
            (image,) = gadget_scan(running).images
            assert np.array_equal(image.data, alone[0].data)
            assert image.meta["Onebreath_prewhiten_noise_storage"].startswith("not used: ")
        assert books(running, "ended") == ["done"] * (1 + REPEATS)


def test_header_that_is_no_header(tmp_path):
    with worker(tmp_path) as running:
        seen = gadget_scan(running, start(tiny.configuration(), b"<x/>") + b"".join(PIECES[1:]))
        assert "not an ISMRMRD header" in seen.text
        assert gadget_scan(running).images
