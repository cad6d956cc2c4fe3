"""The resident worker as a process: start, signals, restart, death."""

import argparse
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from onebreath.commands import serve, status
from onebreath.host import entry
from onebreath.host.handover import ask
from onebreath.storage.results import Results
from tests.host import processes, standin, tiny
from tests.host.workers import repeated, spooled_bytes, wait_for, worker

PIECES = tiny.pieces(tiny.configuration())
SCAN = b"".join(PIECES)


def under_way(address, count, finish):
    """Scans in the middle of their data; `finish` lets them go on. Gives threads and what they saw."""
    seen, ready = [], threading.Barrier(count + 1)

    def scan():
        with standin.connect(address) as server:
            server.send(b"".join(PIECES[:4]))
            ready.wait(60)
            finish.wait(60)
            seen.append(server.exchange(b"".join(PIECES[4:])))

    threads = [threading.Thread(target=scan) for _ in range(count)]
    for thread in threads:
        thread.start()
    ready.wait(60)
    return threads, seen


def counted(folder, **expected):
    """Whether so many scans run and wait."""
    found = ask(folder / "worker.sock", "status")
    return all(len(found[part]) == number for part, number in expected.items())


@repeated
def test_stop_under_load_ends_all_scans_that_were_accepted(tmp_path):
    with processes.served(tmp_path, "--slots", "2", "--queue", "8") as process:
        finish = threading.Event()
        threads, seen = under_way(processes.address(tmp_path), 5, finish)
        wait_for(lambda: counted(tmp_path, running=2, waiting=3))
        os.kill(process.pid, signal.SIGTERM)
        wait_for(lambda: not (tmp_path / "worker.sock").exists())
        finish.set()
        for thread in threads:
            thread.join(60)
        process.join(60)
        assert process.exitcode == 0
    assert [len(one.images) for one in seen] == [1] * 5, [one.text for one in seen]


@repeated
def test_restart_ends_running_scans_and_lets_new_ones_wait(tmp_path):
    with processes.served(tmp_path) as process:
        address = processes.address(tmp_path)
        finish = threading.Event()
        threads, seen = under_way(address, 2, finish)
        wait_for(lambda: counted(tmp_path, running=2))
        os.kill(process.pid, signal.SIGHUP)
        wait_for(lambda: "no more scans" in (tmp_path / "log").read_text())
        new = standin.connect(address)
        with new as server:
            server.send(SCAN)
            finish.set()
            after = server.receive()
        for thread in threads:
            thread.join(60)
        wait_for(lambda: processes.answers(tmp_path / "worker.sock") == process.pid, 60)
        assert processes.address(tmp_path) == address
        assert ask(tmp_path / "worker.sock", "status")["counts"] == {"done": 3}, "those before the restart count"
        assert len(ask(tmp_path / "worker.sock", "status")["ended"]) == 3
        assert ask(tmp_path / "worker.sock", "status")["listens"]["gadget"] == f"{address[0]}:{address[1]}"
        assert not list((tmp_path / "state").glob("history-*"))
        assert (tmp_path / "log").read_text().count("INFO onebreath.scans: scan ") == 3
    assert [len(one.images) for one in (*seen, after)] == [1] * 3


def test_another_signal_to_restart_amid_a_restart_is_kept_for_the_new_program(tmp_path):
    with processes.served(tmp_path) as process:
        command = Path(f"/proc/{process.pid}/cmdline")
        if not command.is_file():
            pytest.skip("needs /proc to see when the program is replaced")
        os.kill(process.pid, signal.SIGHUP)
        wait_for(lambda: b"onebreath.cli" in command.read_bytes())
        os.kill(process.pid, signal.SIGHUP)
        wait_for(lambda: (tmp_path / "log").read_text().count("ready\n") == 3 or not process.is_alive(), 60)
        assert process.is_alive()
        assert processes.answers(tmp_path / "worker.sock") == process.pid


def test_second_signal_breaks_off_what_runs(tmp_path):
    with processes.served(tmp_path) as process:
        threads, seen = under_way(processes.address(tmp_path), 1, never := threading.Event())
        wait_for(lambda: counted(tmp_path, running=1))
        os.kill(process.pid, signal.SIGTERM)
        wait_for(lambda: not (tmp_path / "worker.sock").exists())
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == 0
        never.set()
        threads[0].join(60)
    assert not seen[0].images


@repeated
def test_killed_worker_is_reported_and_its_scan_is_taken_up_again(tmp_path, monkeypatch):
    monkeypatch.setattr("onebreath.wire.channel.QUIET", 0.2)
    monkeypatch.setenv("ONEBREATH_WORKER", str(tmp_path / "worker.sock"))
    with processes.served(tmp_path, "--spool", "always") as process, socket.create_server(("127.0.0.1", 0)) as server:
        shim = threading.Thread(target=run_shim, args=(server.getsockname(),))
        shim.start()
        gadgetron = standin.Server(server.accept()[0])
        lines = b"".join(PIECES[1:-1])
        gadgetron.send(PIECES[0])
        gadgetron.send(lines)
        wait_for(lambda: spooled_bytes(tmp_path / "state") == [len(lines)])
        process.kill()
        gadgetron.send(PIECES[-1])
        seen = gadgetron.receive()
        shim.join(60)
        gadgetron.sock.close()
        assert not shim.is_alive()
    assert "died while it reconstructed" in seen.text
    assert "What it had received is kept" in seen.text
    results = Results(tmp_path / "state/results")
    with processes.served(tmp_path):
        wait_for(lambda: [result.state for result in results.all()] == ["done"], 60)
        (result,) = results.all()
        assert len(list(results.images(result.scan))) == 1


def run_shim(address):
    """What ``python -m gadgetron`` does, in a thread."""
    from gadgetron.external.connection import Connection

    with Connection(socket.create_connection(address)) as connection:
        entry.run_target(connection, "chain")


def test_status_and_health_of_workers(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    status.add_arguments(parser)
    ask_at = ["--socket", str(tmp_path / "worker.sock")]
    assert status.run(parser.parse_args([])) == 1
    assert status.run(parser.parse_args([*ask_at, "--health"])) == 1
    assert capsys.readouterr().err == ""
    with worker(tmp_path) as running:
        with standin.connect(running.listeners["gadget"].address) as server:
            server.exchange(SCAN)
        assert status.run(parser.parse_args([*ask_at, "--health"])) == 0
        assert capsys.readouterr().out == ""
        assert status.run(parser.parse_args(ask_at)) == 0
        text = capsys.readouterr().out
        assert f"worker {os.getpid()} at " in text
        assert "scans so far: 1 done" in text
        assert status.run(parser.parse_args([*ask_at, "--json"])) == 0
        assert '"pid"' in capsys.readouterr().out


def test_options_of_the_command_line(tmp_path, monkeypatch):
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    options = serve.options_of(parser.parse_args(["--port", "-1", "--socket", "", "--memory-gb", "0.5"]))
    assert (options.port, options.gadget_port, options.path, options.memory) == (None, None, None, 1 << 29)
    monkeypatch.setenv("ONEBREATH_WORKER", f"{tmp_path}/a{os.pathsep}{tmp_path}/b")
    monkeypatch.setattr(serve, "memory_for_scans", lambda: 7)
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    options = serve.options_of(parser.parse_args([]))
    assert options.path == tmp_path / "a"
    assert options.memory == 7


def test_sockets_of_another_process_are_not_taken(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "2")
    assert serve.inherited_sockets() == {}
    assert "LISTEN_FDS" not in os.environ


def test_warm_up_loads_torch(monkeypatch):
    torch = pytest.importorskip("torch")
    loaded = []
    monkeypatch.setattr("onebreath.zoo.load", lambda name, device: loaded.append((name, device)))
    serve.warm_up(["a.b"], "cpu")
    assert loaded == [("a.b", "cpu")]
    assert torch.__version__
