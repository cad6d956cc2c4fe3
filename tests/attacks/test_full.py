"""A disk that is full at each thing that a worker does to it: images or a text, no promise is lost, and it goes on.

`ONEBREATH_FULL` says how many of these places are tried (default 3, spread over the scan; 0: all, some minutes).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from onebreath.host.handover import ask
from tests.attacks.disk_changes import changes_made, count_changes
from tests.host import processes, standin, tiny
from tests.host.standin import Seen
from tests.host.test_late import LATER, RETRIEVE, sent
from tests.host.workers import wait_for

TRIED = int(os.environ.get("ONEBREATH_FULL", "3"))
CHANGES = ("open", "os.link", "os.mkdir", "os.rename", "os.truncate")
"""Python's audit events of what needs room on a disk."""


def serve(arguments: list[str], log: Path, variables: dict[str, str]) -> None:
    """Be a worker whose disk is full from change ``FULL_AT`` on, for ``FULL_FOR`` changes."""
    first = int(variables["FULL_AT"])
    last = first + int(variables["FULL_FOR"])

    def refuse(number: int, path: str) -> None:
        if first <= number < last:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    count_changes(variables["STATE"], CHANGES, refuse)
    processes.serve(arguments, log, variables)


def exchanged(folder: Path, *scans: bytes) -> list[Seen]:
    """Send scans one after the other."""
    seen = []
    for scan in scans:
        with standin.connect(processes.address(folder)) as server:
            seen.append(server.exchange(scan))
    return seen


def attacked(folder: Path, number: int, length: int) -> tuple[list[Seen], int]:
    """Give a worker a scan whose images come later on a disk that is full for a while, ask for them, and send another.

    Returns
    -------
    tuple
        What came of the scan, of the question and of the other scan; changes made.
    """
    variables = {"STATE": str(folder / "state"), "FULL_AT": str(number), "FULL_FOR": str(length)}
    ask_for = b"".join(tiny.pieces(RETRIEVE.format(60, "").encode()))
    with processes.served(folder, "--spool", "always", target=serve, **variables):
        seen = exchanged(folder, sent("cg_sense", *LATER), ask_for, sent("cg_sense"))
        wait_for(lambda: not list((folder / "state/spool").glob("*")))
        status = ask(folder / "worker.sock", "status")
        assert status["troubles"] == []
        assert status["running"] == status["waiting"] == []
        assert status["reserved_mb"] == 0
    return seen, changes_made(folder)


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[np.ndarray], int]:
    """Pixels of the quick and of the later series, and of another scan; what a worker does to its disk."""
    seen, changes = attacked(tmp_path_factory.mktemp("unharmed"), 0, 0)
    assert changes > TRIED
    return [tiny.pixels(one.images) for one in seen], changes


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("part", range(TRIED or 200))
def test_a_scan_on_a_full_disk_gives_images_or_a_text_and_the_worker_goes_on(
    unharmed: tuple[list[np.ndarray], int], tmp_path: Path, part: int, length: int
) -> None:
    expected, changes = unharmed
    number = round((part + 0.5) * changes / TRIED) if TRIED else part + 1
    if number > changes:
        pytest.skip(f"a scan has only {changes} changes")
    seen, _ = attacked(tmp_path, number, length)
    for one, pixels in zip(seen, expected, strict=True):
        if one.images and not one.text:
            np.testing.assert_array_equal(tiny.pixels(one.images), pixels)
        else:
            assert one.text
    if not seen[0].text:
        assert seen[1].images or "could not be reconstructed" in seen[1].text, "a promise that a client has is kept"
