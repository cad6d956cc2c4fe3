"""kill -9 at each thing a worker does to its state on disk: the next worker starts, serves, and lost no promise.

`ONEBREATH_KILLS` says how many of these places are tried (default 6, spread over the scan; 0: all, some minutes).
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from onebreath.errors import OnebreathError
from tests.attacks.disk_changes import changes_made, count_changes
from tests.host import processes, standin, tiny
from tests.host.standin import Seen
from tests.host.test_late import LATER, sent
from tests.host.test_worker import gadget_scan
from tests.host.workers import wait_for, worker

TRIED = int(os.environ.get("ONEBREATH_KILLS", "6"))
CHANGES = ("open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate")
"""Python's audit events of what changes a disk."""


def serve(arguments: list[str], log: Path, variables: dict[str, str]) -> None:
    """Be a worker that counts what it does to its state, and dies before the change of number ``KILL_AT``."""
    last = int(variables["KILL_AT"])

    def die(number: int, _: str) -> None:
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

    count_changes(variables["STATE"], CHANGES, die)
    processes.serve(arguments, log, variables)


def attacked(folder: Path, number: int) -> tuple[Seen, int]:
    """Give a worker one scan whose images come later and kill it at a change; its answer, and changes made."""
    variables = {"STATE": str(folder / "state"), "KILL_AT": str(number)}
    seen = Seen()
    with processes.served(folder, "--spool", "always", target=serve, **variables) as process:
        with suppress(OSError, OnebreathError), standin.connect(processes.address(folder)) as server:
            seen = server.exchange(sent("cg_sense", *LATER))
        if number:
            process.join(60)
            assert process.exitcode == -signal.SIGKILL
        else:
            wait_for(lambda: [path for path in (folder / "state/results").glob("*.h5") if path.stat().st_size])
            wait_for(lambda: not list((folder / "state/spool").glob("*")))
    return seen, changes_made(folder)


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, int]:
    """Pixels of the later series, and what a worker does to its disk from its start to the end of this scan."""
    folder = tmp_path_factory.mktemp("unharmed")
    seen, changes = attacked(folder, 0)
    assert seen.images
    assert changes > TRIED
    with worker(folder) as running:
        (result,) = running.service.late.results.all()
        return tiny.pixels(list(running.service.late.results.images(result.scan))), changes


@pytest.mark.parametrize("part", range(TRIED or 200))
def test_the_next_worker_serves_and_keeps_what_was_promised(
    unharmed: tuple[np.ndarray, int], tmp_path: Path, part: int
) -> None:
    expected, changes = unharmed
    number = round((part + 0.5) * changes / TRIED) if TRIED else part + 1
    if number > changes:
        pytest.skip(f"a scan has only {changes} changes")
    seen, _ = attacked(tmp_path, number)
    with worker(tmp_path) as running:
        results = running.service.late.results
        wait_for(lambda: all(result.state != "pending" for result in results.all()))
        wait_for(lambda: not list((tmp_path / "state/spool").glob("*")))  # hidden ones, too
        after = {result.scan: result for result in results.all()}
        promised = [image.meta["Onebreath_host_scan"] for image in seen.images]
        assert set(promised) <= set(after), "a promise that a client has is kept"
        for scan, result in after.items():
            if result.state == "done" and not result.text:
                np.testing.assert_array_equal(tiny.pixels(list(results.images(scan))), expected)
            else:
                assert scan not in promised, result
                assert result.text, "what ended early says so"
        assert gadget_scan(running, sent()).images
