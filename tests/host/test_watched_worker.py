"""A worker behind TLS and token, watched: what its metrics and logs say of a scan, and of one that was refused."""

from __future__ import annotations

import json
import logging
import socket
import urllib.request
from pathlib import Path

import pytest

from onebreath.commands.serve import watching
from onebreath.diagnostics import logs
from onebreath.host.listener import Listener
from onebreath.worker.secure import Security, dial
from tests.host import standin, tiny
from tests.host.test_worker import client_scan
from tests.host.wiring import received
from tests.host.workers import books, worker

TOKEN = b"correct horse battery"


def metrics(text: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_metrics_of_a_worker_count_its_scans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with worker(tmp_path) as running, watching(running, 0, "127.0.0.1"):
        address = capsys.readouterr().out.removeprefix("metrics: ").strip()
        client_scan(running, tiny.stream())
        client_scan(running, b"<configuration/>")
        assert books(running, "ended") == ["done"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
            found = metrics(answer.read().decode())
    assert found['onebreath_scans_total{outcome="done",side="client"}'] == 1
    assert found["onebreath_images_total"] > 0
    assert found['onebreath_gadget_seconds_count{gadget="reconstruct"}'] == 1
    assert found['onebreath_errors_total{kind="ConfigError"}'] == 1
    assert found["onebreath_waiting_scans"] == 0


def test_without_a_port_nothing_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with worker(tmp_path) as running, watching(running, None, "127.0.0.1"):
        assert running.service.observers == []
    assert capsys.readouterr().out == ""


def test_lines_of_a_scan_have_its_id(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    logs.configure("INFO", "json")
    try:
        with worker(tmp_path) as running:
            client_scan(running, tiny.stream())
            (scan,) = (entry["scan"] for entry in running.service.scheduler.snapshot()["ended"])
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    decided = [line for line in lines if line["logger"] in ("onebreath.prewhiten", "onebreath.reconstruct")]
    assert decided
    assert {line["scan"] for line in decided} == {scan}


def test_both_ports_ask_for_the_token(tmp_path: Path) -> None:
    with worker(tmp_path, security=Security(None, TOKEN)) as running:
        for name in ("client", "gadget"):
            with socket.create_connection(running.listeners[name].address) as sock:
                sock.sendall(bytes(32))
                assert len(received(sock)) == 48
        address = running.listeners["gadget"].address

        def tunnel(sock: socket.socket) -> None:
            from onebreath.worker.relay import relay

            relay(sock, dial(address, None, TOKEN))

        with Listener(tunnel) as through, standin.connect(through.address) as server:
            images = server.exchange(b"".join(tiny.pieces(tiny.configuration("zero_filled")))).images
        assert books(running, "ended") == ["done"]
    assert images[0].data.any()
