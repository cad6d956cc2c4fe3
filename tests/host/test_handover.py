"""``<execute>`` nodes that hand their sockets to a resident worker, and what they do without one."""

import os
import signal
import socket
import subprocess
import sys
import threading

import ismrmrd
import numpy as np
import pytest

from onebreath.host import entry, handover
from onebreath.host.handover import HandoverFailed, as_bytes, as_text, hand_over, worker_sockets
from tests.host import standin, tiny
from tests.host.wiring import CLOSE, encoded, pair, start
from tests.host.workers import at_rest, books, repeated, wait_for, worker
from tests.storage.standin import storage_server

SCAN = b"".join(tiny.pieces(tiny.configuration()))


def host_facts(seen):
    return host_facts_of(seen.images[0])


def host_facts_of(image):
    return image.meta["Onebreath_host_served_by"]


def test_shim_imports_nothing_heavy():
    code = (
        "import sys, gadgetron; before = set(sys.modules); import onebreath.host.entry; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=standin.environment(), capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= {
        "onebreath",
        "configparser",  # of platformdirs 4.0
        "json",
        "_json",
        "pathlib",
        "fnmatch",
        "urllib",
        "ipaddress",
        "platformdirs",
    }


def test_scan_is_handed_over_and_equals_that_of_the_process_itself(tmp_path):
    with worker(tmp_path) as running:
        with standin.execute(ONEBREATH_WORKER=str(tmp_path / "worker.sock")) as (server, process, log):
            there = server.exchange(SCAN)
            assert server.sock.recv(10) == b""  # nothing follows CLOSE, the stock connection's own neither
        assert process.returncode == 0
        assert books(running, "ended") == ["done"]
        assert host_facts(there) == f"worker {os.getpid()}"
        assert "reconstructs as scan" in "".join(log)
    with standin.execute(ONEBREATH_WORKER=str(tmp_path / "worker.sock")) as (server, process, log):
        here = server.exchange(SCAN)
    assert process.returncode == 0
    assert host_facts(here).startswith(f"own process; no worker at {tmp_path}")
    assert "this process reconstructs by itself" in "".join(log)
    np.testing.assert_array_equal(tiny.pixels(there.images), tiny.pixels(here.images))


def noise_scan(*properties):
    """A scan with a noise line before its lines, for the chain."""
    noise = ismrmrd.Acquisition(tiny.lines()[0].getHead(), tiny.lines()[0].data)
    noise.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    return start(tiny.configuration("zero_filled", *properties), tiny.header()) + encoded(noise, *tiny.lines()) + CLOSE


def test_worker_uses_the_storage_of_the_node_not_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("ONEBREATH_STORAGE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    path = str(tmp_path / "worker.sock")
    with worker(tmp_path), storage_server() as stored:
        for address in (stored.url, ""):
            with standin.execute(ONEBREATH_WORKER=path, GADGETRON_STORAGE_ADDRESS=address) as (server, _, _):
                (image,) = server.exchange(noise_scan()).images
            assert host_facts_of(image).startswith("worker")
            assert [tags["name"] for tags, _ in stored.blobs] == ["noise_covariance"]
            kept = image.meta["Onebreath_prewhiten_noise_kept"]
            assert kept == (f"in the storage server {stored.url}" if address else "no: storage is switched off")
    assert not (tmp_path / "own").exists()


def test_later_series_uses_the_storage_of_the_node(tmp_path, monkeypatch):
    monkeypatch.delenv("ONEBREATH_STORAGE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    later = '<property name="deliver" value="later"/>', '<property name="quick_method" value="zero_filled"/>'
    with worker(tmp_path) as running, storage_server() as stored:
        path = str(tmp_path / "worker.sock")
        with standin.execute(ONEBREATH_WORKER=path, GADGETRON_STORAGE_ADDRESS=stored.url) as (server, _, _):
            assert server.exchange(noise_scan(*later)).images
        wait_for(lambda: at_rest(running) and books(running, "ended") == ["done", "done"])
        assert [tags["name"] for tags, _ in stored.blobs] == ["noise_covariance"] * 2  # of either series
    assert not (tmp_path / "own").exists()


def test_gadget_that_fails_in_the_worker_is_reported_by_it(tmp_path):
    wrong = b"".join(tiny.pieces(tiny.configuration("grapa")))
    with worker(tmp_path), standin.execute(ONEBREATH_WORKER=str(tmp_path / "worker.sock")) as (server, process, _):
        seen = server.exchange(wrong)
    assert seen.text.startswith("Errors received: This configuration cannot be used.")
    assert process.returncode == 0


def test_full_and_stopping_workers_refuse_and_the_next_is_asked(tmp_path):
    paths = [tmp_path / "absent.sock", tmp_path / "one" / "worker.sock", tmp_path / "two" / "worker.sock"]
    with worker(tmp_path / "one", queue=0) as full, worker(tmp_path / "two") as stopping, pair() as (ours, _):
        stopping.stopping = True
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ONEBREATH_WORKER", os.pathsep.join(map(str, paths)))
            with pytest.raises(HandoverFailed) as failed:
                hand_over(ours, "chain", b"", b"")
            text = str(failed.value)
            assert "no worker at" in text
            assert "too many scans wait" in text
            assert "it is stopping" in text
            stopping.stopping = False
            control, answer = hand_over(ours, "chain", *(b"<configuration/>", tiny.header()))
            control.close()
            assert answer["state"] == "accepted"
            wait_for(lambda: at_rest(stopping))
        assert at_rest(full)


def test_worker_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(handover, "ANSWER_TIME", 0.1)
    path = tmp_path / "hung.sock"
    monkeypatch.setenv("ONEBREATH_WORKER", str(path))
    with socket.socket(socket.AF_UNIX) as hung, pair() as (ours, _):
        hung.bind(str(path))
        hung.listen()
        with pytest.raises(HandoverFailed, match="timed out"):
            hand_over(ours, "chain", b"", b"")


@pytest.mark.parametrize("spooled", [True, False])
def test_death_of_the_worker_is_reported_once_the_data_ended(monkeypatch, spooled):
    monkeypatch.setattr("onebreath.wire.channel.QUIET", 0.2)
    answer = {"worker": 7, "scan": "s", "spooled": spooled}
    with pair() as (server, node), pair() as (control, worker_end):
        connection = type("Stock", (), {})()
        connection.raw_bytes = type("Raw", (), {"config": b"", "header": b""})
        connection.socket = type("Wrapper", (), {"socket": node})
        monkeypatch.setattr(entry, "hand_over", lambda *_: (control, answer))
        shim = threading.Thread(target=entry.run_target, args=(connection, "chain"))
        shim.start()
        server.sendall(SCAN[:5000])
        worker_end.close()
        server.sendall(SCAN[5000:])
        peer = standin.Server.__new__(standin.Server)
        peer.sock, peer.drained = server, threading.Event()
        peer.drained.set()
        seen = peer.receive()
        shim.join(60)
        connection.socket.close()  # as the stock connection does: nothing more goes out
        assert not shim.is_alive()
    assert "Errors received: The reconstruction broke off" in seen.text
    assert "worker 7 died" in seen.text
    assert ("is kept" in seen.text) == spooled


@repeated
def test_server_that_dies_leaves_no_process_and_no_scan_behind(tmp_path):
    with worker(tmp_path) as running:
        with standin.execute(ONEBREATH_WORKER=str(tmp_path / "worker.sock")) as (server, process, _):
            server.send(SCAN[:-2000])
            wait_for(lambda: books(running, "running"))
            server.sock.close()
            assert process.wait(60) == 0
        assert books(running, "ended") == ["lost"]


@repeated
def test_scan_is_cancelled_when_the_shim_is_killed(tmp_path):
    with (
        worker(tmp_path) as running,
        standin.execute(ONEBREATH_WORKER=str(tmp_path / "worker.sock")) as (server, process, _),
    ):
        server.send(SCAN[:-2000])
        wait_for(lambda: books(running, "running"))
        process.send_signal(signal.SIGKILL)
        wait_for(lambda: books(running, "ended") == ["lost"])
        assert server.sock.recv(100) in (b"", b"\4\0")


def test_any_bytes_travel_as_text():
    octets = bytes(range(256)) + "Müller".encode()
    assert as_bytes(as_text(octets)) == octets


def test_where_workers_are_looked_for(monkeypatch, tmp_path):
    assert worker_sockets() == []
    monkeypatch.setenv("ONEBREATH_WORKER", f"/a{os.pathsep}/b")
    assert [str(path) for path in worker_sockets()] == ["/a", "/b"]
    monkeypatch.delenv("ONEBREATH_WORKER")
    assert worker_sockets() == [tmp_path / "state" / "worker.sock"]
    monkeypatch.delenv("ONEBREATH_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert [str(path) for path in worker_sockets()] == ["/s/onebreath/worker.sock"]
