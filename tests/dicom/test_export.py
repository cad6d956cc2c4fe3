"""A worker that sends what its scans make to a real PACS: all of it, once, and no scan notices."""

import errno
import io
import logging
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onebreath.commands.status import describe_export
from onebreath.dicom.queue import Queue
from onebreath.errors import ConfigError
from onebreath.host.handover import ask
from tests.dicom.orthanc import Orthanc, free_port
from tests.host import processes, standin, tiny
from tests.host.test_late import LATER, retrieve, sent
from tests.host.test_worker import client_scan, gadget_scan
from tests.host.workers import spooled_bytes, wait_for, worker

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

from onebreath.dicom.export import collecting  # noqa: E402
from onebreath.dicom.export import export as module  # noqa: E402
from onebreath.dicom.export.beside import exporting  # noqa: E402
from onebreath.dicom.export.options import ExportOptions  # noqa: E402

PHASES = 60


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path)
    yield server
    server.kill()


def name_of(pacs: Orthanc) -> str:
    return f"ORTHANC@{pacs.address}"


@contextmanager
def sending(folder: Path, *names: str, options: dict[str, Any] | None = None, **more: Any) -> Iterator[Any]:
    """A worker in this process that sends to each PACS of some names."""
    with worker(folder, **more) as running, exporting(running, ExportOptions(names, **(options or {}))):
        yield running


def state(running: Any) -> dict[str, Any]:
    return running.status()["exports"][0]


def settled(running: Any, count: int) -> bool:
    now = state(running)
    return now["sent"] == count and not now["waiting"] and not now["scans"]


def queue_of(folder: Path) -> Queue:
    (found,) = (folder / "state/pacs").iterdir()
    return Queue(found)


def many() -> bytes:
    return b"".join(tiny.pieces(tiny.configuration(), PHASES))


def test_the_images_of_each_scan_arrive_with_their_pixels(
    tmp_path: Path, pacs: Orthanc, caplog: pytest.LogCaptureFixture
) -> None:
    pacs.start()
    with sending(tmp_path, name_of(pacs)) as running, caplog.at_level(logging.INFO):
        images = gadget_scan(running, b"".join(tiny.pieces(tiny.configuration(), 3))).images
        wait_for(lambda: settled(running, 3))
        wait_for(lambda: re.search(r"series \d+ of scan", caplog.text))
        line = describe_export(state(running))
        assert running.troubles() == []
    scan = images[0].meta["Onebreath_host_scan"]
    said = [record.getMessage() for record in caplog.records if re.match(r"series \d+ of scan", record.getMessage())]
    assert len(said) == 1, "one line for a series"
    assert f"scan {scan}: 3 of 3 instances are at {name_of(pacs)}" in said[0]
    assert line.startswith(f"pacs {name_of(pacs)}: 3 instances sent, 0 wait")
    stored = [
        pydicom.dcmread(io.BytesIO(pacs.bytes_of(f"/instances/{one['ID']}/file")))
        for one in pacs.get("/instances?expand")
    ]
    stored.sort(key=lambda one: one.InstanceNumber)
    assert [one.PatientID for one in stored] == ["TINY-1"] * 3
    for one, image in zip(stored, images, strict=True):
        values = one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
        np.testing.assert_allclose(values, image.data[0, 0], atol=0.5001 * float(one.RescaleSlope))
    assert not list((tmp_path / "state/pacs").rglob("*.h5")), "nothing is left of what was sent"


def test_names_are_left_out_and_frames_are_in_one_instance_where_that_is_asked_for(
    tmp_path: Path, pacs: Orthanc
) -> None:
    pacs.start()
    options = {"anonymise": "NOBODY", "enhanced": True}
    with sending(tmp_path, name_of(pacs), options=options) as running:
        images = gadget_scan(running, b"".join(tiny.pieces(tiny.configuration(), 3))).images
        wait_for(lambda: settled(running, 1))
    (one,) = pacs.get("/instances?expand")
    stored = pydicom.dcmread(io.BytesIO(pacs.bytes_of(f"/instances/{one['ID']}/file")))
    assert (stored.PatientID, stored.NumberOfFrames) == ("NOBODY", 3)
    assert "TINY-1" not in str(stored)
    rescale = stored.PerFrameFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    values = stored.pixel_array * float(rescale.RescaleSlope) + float(rescale.RescaleIntercept)
    np.testing.assert_allclose(values, tiny.pixels(images), atol=0.5001 * float(rescale.RescaleSlope))


def test_a_pacs_that_is_down_or_dies_gets_all_later_and_no_scan_waits(
    tmp_path: Path, pacs: Orthanc, caplog: pytest.LogCaptureFixture
) -> None:
    with sending(tmp_path, name_of(pacs)) as running:
        assert len(gadget_scan(running, many()).images) == PHASES
        wait_for(lambda: state(running)["waiting"] == PHASES and state(running)["problem"])
        assert state(running)["problem"] == "the PACS does not answer"
        assert len(gadget_scan(running).images) == 1, "scans go on"
        pacs.start()
        wait_for(lambda: state(running)["sent"] > 5)
        pacs.kill()
        assert state(running)["sent"] < PHASES, "it was to be killed in the middle"
        wait_for(lambda: state(running)["problem"])
        pacs.start()
        wait_for(lambda: settled(running, PHASES + 1))
        assert state(running)["problem"] == ""
    assert len(pacs.stored()) == len(set(pacs.stored())) == PHASES + 1
    assert "does not answer" in caplog.text


def test_a_worker_killed_in_the_middle_of_sending_is_followed_by_one_that_sends_the_rest(
    tmp_path: Path, pacs: Orthanc
) -> None:
    pacs.start()
    options = ("--pacs", name_of(pacs))
    with processes.served(tmp_path, *options) as process:
        with standin.connect(processes.address(tmp_path)) as server:
            assert len(server.exchange(many()).images) == PHASES
        wait_for(lambda: len(pacs.stored()) >= 5)
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
    wait_for(lambda: not _locked(queue_of(tmp_path)), 30)
    before = len(pacs.stored())
    assert before < PHASES, "it was to be killed in the middle"
    with processes.served(tmp_path, *options) as process:
        path = tmp_path / "worker.sock"
        wait_for(lambda: len(pacs.stored()) == PHASES)
        wait_for(lambda: not ask(path, "status")["exports"][0]["waiting"])
        wait_for(lambda: f"{PHASES} of {PHASES} instances are at" in (tmp_path / "log").read_text())
        os.kill(process.pid, signal.SIGHUP)
        wait_for(lambda: (tmp_path / "log").read_text().count("ready\n") == 3)
        assert len(gadget(tmp_path)) == 1, "it sends after a restart as well"
        wait_for(lambda: len(pacs.stored()) == PHASES + 1)
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == 0
    changes = pacs.get("/changes?limit=10000")["Changes"]
    new = [one["ID"] for one in changes if one["ChangeType"] == "NewInstance"]
    assert len(new) == len(set(new)) == PHASES + 1, "nothing was sent twice"
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_scan_whose_worker_was_killed_is_made_again_and_sent(tmp_path: Path, pacs: Orthanc) -> None:
    pacs.start()
    options = ("--pacs", name_of(pacs), "--spool", "always")
    with processes.served(tmp_path, *options) as process, standin.connect(processes.address(tmp_path)) as server:
        pieces = tiny.pieces(tiny.configuration(), 2)
        server.sock.sendall(b"".join(pieces[:-1]))  # all lines, and the scan is still open
        size = sum(map(len, pieces[1:-1]))
        wait_for(lambda: spooled_bytes(tmp_path / "state") == [size])  # nothing else: all lines
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
    assert not pacs.stored()
    with processes.served(tmp_path, *options):
        wait_for(lambda: len(pacs.stored()) == 2)


def gadget(folder: Path) -> list[Any]:
    with standin.connect(processes.address(folder)) as server:
        return list(server.exchange(b"".join(tiny.pieces(tiny.configuration()))).images)


def _locked(queue: Queue) -> bool:
    try:
        with queue.locked():
            return False
    except ConfigError:
        return True


def test_the_later_series_is_sent_as_well_and_what_is_fetched_is_not_sent_again(tmp_path: Path, pacs: Orthanc) -> None:
    pacs.start()
    with sending(tmp_path, name_of(pacs)) as running:
        gadget_scan(running, sent("cg_sense", *LATER))
        assert len(retrieve(running).images) == 1
        wait_for(lambda: settled(running, 2))
        assert len(retrieve(running).images) == 1
        gadget_scan(running, b"".join(tiny.pieces(tiny.configuration(), 2)))
        wait_for(lambda: settled(running, 4))
        client_scan(running, tiny.stream())
        wait_for(lambda: not state(running)["scans"] and running.exports[0].collector.held == 0)
    assert len(pacs.stored()) == 4, "images that were sent already, equal to the last bit, are not sent again"


def test_a_full_disk_delays_the_sending_only(tmp_path: Path, pacs: Orthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    pacs.start()
    full, kept = [True], module.keep

    def keep(*given: Any) -> Any:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return kept(*given)

    monkeypatch.setattr(module, "keep", keep)
    monkeypatch.setattr(module, "PAUSE", 0.05)
    with sending(tmp_path, name_of(pacs)) as running:
        assert len(gadget_scan(running).images) == 1
        wait_for(lambda: running.troubles())
        assert running.troubles() == [f"images cannot be kept for {name_of(pacs)}: No space left on device"]
        assert state(running)["scans"] >= 0
        full[0] = False
        wait_for(lambda: settled(running, 1))
        assert running.troubles() == []


def test_images_beyond_what_may_wait_are_told_to_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(collecting, "MOST_BYTES", 100)
    with sending(tmp_path, f"NOBODY@127.0.0.1:{free_port()}") as running:
        assert len(gadget_scan(running).images) == 1
        wait_for(lambda: state(running)["lost"] == 1)
        assert running.exports[0].collector.held == 0
    assert "are LOST for NOBODY@" in caplog.text


def test_a_scan_that_fails_is_not_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with sending(tmp_path, f"NOBODY@127.0.0.1:{free_port()}") as running, caplog.at_level(logging.INFO):
        cut = b"".join(tiny.pieces(tiny.configuration())[:3])
        with standin.connect(running.listeners["gadget"].address) as server:
            server.sock.sendall(cut)
        wait_for(lambda: running.service.scheduler.snapshot()["ended"])
        time.sleep(0.3)
        assert (state(running)["scans"], state(running)["waiting"]) == (0, 0)


def test_images_that_cannot_be_instances_are_set_aside_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep = module.keep

    def broken(folder: Path, scan: str, header: bytes, images: Any) -> Path:
        for image in images:
            image.getHead().field_of_view[:] = (0.0, 0.0, 0.0)
        for one in images:
            one.field_of_view[:] = (0.0, 0.0, 0.0)
        return keep(folder, scan, header, images)

    monkeypatch.setattr(module, "keep", broken)
    with sending(tmp_path, f"NOBODY@127.0.0.1:{free_port()}") as running:
        gadget_scan(running)
        wait_for(lambda: state(running)["failed"] == 1)
        (reason,) = (tmp_path / "state/pacs").rglob("failed/*.txt")
        assert "field of view" in reason.read_text()
        assert len(list(reason.parent.glob("*.h5"))) == 1, "the images are kept"
    assert "has no instances: The field of view" in caplog.text


def test_a_process_that_is_killed_is_started_again(
    tmp_path: Path, pacs: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.05)
    pacs.start()
    with sending(tmp_path, name_of(pacs)) as running:
        export = running.exports[0]
        wait_for(lambda: export._process is not None)
        first = export._process
        first.kill()
        wait_for(lambda: export._process not in (None, first))
        gadget_scan(running)
        wait_for(lambda: settled(running, 1))
