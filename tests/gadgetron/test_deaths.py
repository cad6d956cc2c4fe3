"""A gadget that crashes, and a resident worker that is killed in mid-scan, at the real server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onebreath.host.handover import ask
from tests.gadgetron import crashing
from tests.gadgetron.real import CONFIGS, Ran, Server, finish, serving
from tests.host import processes
from tests.host.workers import wait_for
from tests.storage.standin import StandIn

RUNS = int(os.environ.get("ONEBREATH_FAULT_RUNS", "2"))
"""How often each fault is made."""
CONFIG = "Onebreath_Static_GRAPPA.xml"
GRAPPA = (CONFIGS / CONFIG).read_text(encoding="utf-8")
BEFORE = '<gadget name="sort"/>'
CRASH = '<gadget name="crash"><property name="how" value="{}"/></gadget>'
PATIENCE = 60
PAUSES = (0.0, 0.2, 0.05, 0.5)
"""Seconds for which a worker lives on after a scan has begun."""
PROCESS_GONE = "Received illegal message id from external peer: 0"
"""What the server says of a node whose process ended without a word; nothing of ours is left to say more."""


def served_by(ran: Ran) -> str:
    assert (ran.status, ran.errors) == (0, []), ran.text
    assert ran.images.keys() == {1, 20}
    return str(ran.images[1][0].meta["Onebreath_host_served_by"])


@pytest.fixture(scope="module")
def crashes(prefix: Path, storage: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a real server whose nodes find the gadget that crashes."""
    folder = tmp_path_factory.mktemp("crashes")
    with serving(prefix, folder, storage.url, PYTHONPATH=crashing.install(folder / "site")) as running:
        yield running


@pytest.mark.parametrize("how", crashing.WAYS)
def test_a_gadget_that_crashes(how: str, crashes: Server, siemens: Path, tmp_path: Path) -> None:
    assert GRAPPA.count(BEFORE) == 1
    config = tmp_path / "config.xml"
    config.write_text(GRAPPA.replace(BEFORE, CRASH.format(how) + BEFORE), encoding="utf-8")
    for number in range(RUNS):
        ran = crashes.run(siemens, str(config), tmp_path / f"{number}.h5", local=True, timeout=PATIENCE)
        assert ran.images == {}
        if how == "raise":
            assert crashing.TEXT in ran.text.partition("For the physicist: ")[2]
        else:
            assert PROCESS_GONE in ran.text
    wait_for(lambda: not crashes.children(), 30)
    assert served_by(crashes.run(siemens, CONFIG, tmp_path / "next.h5")).startswith("own process")


def test_a_worker_that_is_killed_in_mid_scan(prefix: Path, storage: StandIn, siemens: Path, tmp_path: Path) -> None:
    """The client gets an error in words, or the images if they were made already; the next worker serves again."""
    folder, told = tmp_path / "worker", []
    folder.mkdir()
    path = folder / "worker.sock"
    with serving(prefix, tmp_path / "server", storage.url, ONEBREATH_WORKER=str(path)) as server:
        for number in range(RUNS):
            with processes.served(folder) as worker:
                pid = worker.pid
                output = tmp_path / f"{number}.h5"
                client = server.start(siemens, CONFIG, output)
                wait_for(lambda: ask(path, "status")["running"], PATIENCE)
                time.sleep(PAUSES[number % len(PAUSES)])
                worker.kill()
                ran = finish(client, output, PATIENCE)
            if ran.images:
                assert served_by(ran) == f"worker {pid}"
            else:
                told.append(ran.text)
                assert "The reconstruction broke off. Send the scan again." in ran.text
                assert "died while it reconstructed scan" in ran.text.partition("For the physicist: ")[2]
            wait_for(lambda: not server.children(), 30)
            with processes.served(folder) as again:
                following = server.run(siemens, CONFIG, tmp_path / f"next {number}.h5", timeout=PATIENCE)
                assert served_by(following) == f"worker {again.pid}"
    assert told, "no worker was killed before its scan was done"
