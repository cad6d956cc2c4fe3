"""Nodes of one scan at a resident worker: handed over by the real server's processes, or dialled by the server."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from onebreath.host.handover import ask
from tests.gadgetron.real import Ran, Server, finish, serving
from tests.host import processes
from tests.host.workers import wait_for
from tests.storage.standin import StandIn

STAGED = "Onebreath_Static_Staged.xml"


def pixels(ran: Ran) -> np.ndarray:
    assert (ran.status, ran.errors) == (0, []), ran.text
    ((image,),) = ran.images.values()
    return image.data


def served_by(ran: Ran) -> str:
    return str(ran.images[1][0].meta["Onebreath_host_served_by"])


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of a worker that takes one scan at a time."""
    folder = tmp_path_factory.mktemp("worker")
    with processes.served(folder, "--slots", "1"):
        yield folder


@pytest.fixture(scope="module")
def handing(prefix: Path, storage: StandIn, narrow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a real server whose nodes hand their scans to that worker."""
    folder = tmp_path_factory.mktemp("handing")
    with serving(prefix, folder, storage.url, ONEBREATH_WORKER=str(narrow / "worker.sock")) as running:
        yield running


def books(folder: Path) -> dict[str, list[dict[str, object]]]:
    status = ask(folder / "worker.sock", "status")
    return {part: status[part] for part in ("running", "waiting", "ended")}


def at_rest(folder: Path) -> bool:
    found = books(folder)
    return not found["running"] and not found["waiting"]


def test_six_nodes_on_a_worker_that_takes_one_scan_at_a_time(
    handing: Server, server: Server, narrow: Path, siemens: Path, tmp_path: Path
) -> None:
    alone = pixels(server.run(siemens, STAGED, tmp_path / "alone.h5"))
    for number in range(3):
        ran = handing.run(siemens, STAGED, tmp_path / f"{number}.h5", timeout=60)
        np.testing.assert_array_equal(pixels(ran), alone)
        assert served_by(ran).startswith("worker ")
    clients = [handing.start(siemens, STAGED, tmp_path / f"at once {number}.h5") for number in range(3)]
    for number, client in enumerate(clients):
        np.testing.assert_array_equal(pixels(finish(client, tmp_path / f"at once {number}.h5", 120)), alone)
    wait_for(lambda: at_rest(narrow))
    ended = books(narrow)["ended"]
    assert {scan["outcome"] for scan in ended} == {"done"}
    assert sum(int(str(scan["images"])) for scan in ended) == 6


def test_a_client_that_goes_away_leaves_no_node_behind(
    handing: Server, narrow: Path, siemens: Path, tmp_path: Path
) -> None:
    for pause in (0.2, 0.6, 1.0):
        client = handing.start(siemens, STAGED, tmp_path / "gone.h5")
        time.sleep(pause)
        client.kill()
        client.communicate()
        wait_for(lambda: not handing.children() and at_rest(narrow), 30)
    pixels(handing.run(siemens, STAGED, tmp_path / "next.h5"))


@pytest.fixture(scope="module")
def damaged(siemens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scan with NaN in its last line."""
    path = tmp_path_factory.mktemp("damaged") / "nan.h5"
    shutil.copyfile(siemens, path)
    path.chmod(0o600)
    with h5py.File(path, "r+") as file:
        table = file["dataset/data"]
        row = table[len(table) - 1]
        row["data"][:] = np.nan
        table[len(table) - 1] = row
    return path


def test_no_image_is_made_of_what_came_before_a_damaged_line(
    handing: Server, server: Server, damaged: Path, siemens: Path, tmp_path: Path
) -> None:
    for number, served in enumerate((handing, server)):
        ran = served.run(damaged, STAGED, tmp_path / f"damaged {number}.h5")
        assert ran.images == {}
        assert "For the physicist" in ran.text
        assert "node of gadget 'prewhiten' broke off" in ran.text
        pixels(served.run(siemens, STAGED, tmp_path / f"next {number}.h5"))
        wait_for(lambda served=served: not served.children(), 30)  # the process of the connection ends after its client
