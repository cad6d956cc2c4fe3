"""Sending to a real PACS: all arrives, once, whatever is killed in between."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from onebreath.cli import main
from onebreath.dicom.queue import Queue
from tests.dicom.orthanc import Orthanc, free_port
from tests.images.files import image, write

pydicom = pytest.importorskip("pydicom")
pynetdicom = pytest.importorskip("pynetdicom")

COUNT = 150


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path)
    server.start()
    yield server
    server.kill()


def scan(path: Path, count: int = COUNT, gfactor: ismrmrd.Image | None = None) -> Path:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 4000, (count, 1, 64, 64)).astype(np.uint16)
    images = [image(one, number=k + 1, phase=k) for k, one in enumerate(pixels)]
    return write(path, {1: images, 20: [gfactor] if gfactor is not None else []})


def command(pacs: Orthanc, queue: Path, *images: Path, patience: float = 60) -> list[str]:
    options = ["--send", pacs.address, "--called", "ORTHANC", "--queue", str(queue), "--patience", str(patience)]
    return ["dicom", *map(str, images), *options]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.002)


def sender(pacs: Orthanc, queue: Path, *images: Path) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "onebreath.cli", *command(pacs, queue, *images)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def test_what_was_sent_is_found_and_has_the_same_pixels(tmp_path: Path, pacs: Orthanc) -> None:
    gfactor = image(np.full((1, 64, 64), 1.5, np.float32), series=20, meta={"GADGETRON_DataRole": "Gfactor"})
    images = scan(tmp_path / "i.h5", 4, gfactor)
    assert main([*command(pacs, tmp_path / "queue", images), "-o", str(tmp_path / "files")]) == 0
    written = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, (tmp_path / "files").glob("*/*.dcm"))}
    entity = pynetdicom.AE()
    entity.add_requested_context("1.2.840.10008.5.1.4.1.2.2.1")
    association = entity.associate("127.0.0.1", pacs.port, ae_title="ORTHANC")
    question = pydicom.Dataset()
    question.QueryRetrieveLevel, question.PatientID, question.StudyInstanceUID = "STUDY", "PAT4711", ""
    found = [data for _, data in association.send_c_find(question, "1.2.840.10008.5.1.4.1.2.2.1") if data]
    association.release()
    assert [one.StudyInstanceUID for one in found] == [next(iter(written.values())).StudyInstanceUID]
    for one in pacs.get("/instances?expand"):
        stored = pydicom.dcmread(io.BytesIO(pacs.bytes_of(f"/instances/{one['ID']}/file")))
        for name in ("PixelData", "FloatPixelData"):
            assert stored.get(name) == written[stored.SOPInstanceUID].get(name)
        assert stored == written[stored.SOPInstanceUID]
    assert len(pacs.stored()) == len(written) == 5


def test_a_pacs_that_dies_in_the_middle_gets_the_rest_later(tmp_path: Path, pacs: Orthanc) -> None:
    queue = Queue(tmp_path / "queue")
    process = sender(pacs, queue.folder, scan(tmp_path / "i.h5"))
    wait_for(lambda: len(queue.sent()) >= 5)
    pacs.kill()
    assert len(queue.sent()) < COUNT, "it was to be killed in the middle"
    time.sleep(0.5)
    pacs.start()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"{COUNT} instances arrived" in out
    assert "instances wait" in err, "the break is told"
    uids = list(queue.sent())
    assert len(uids) == COUNT
    assert pacs.stored() == sorted(uids)
    assert not queue.left()


def test_a_sender_that_dies_in_the_middle_loses_nothing_and_sends_nothing_twice(tmp_path: Path, pacs: Orthanc) -> None:
    queue = Queue(tmp_path / "queue")
    images = scan(tmp_path / "i.h5")
    process = sender(pacs, queue.folder, images)
    wait_for(lambda: len(queue.sent()) >= 5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = len(queue.sent())
    assert before + len(queue.left()) >= COUNT
    assert before < COUNT, "it was to be killed in the middle"
    assert main(command(pacs, queue.folder)) == 0
    assert len(queue.sent()) == COUNT
    assert pacs.stored() == sorted(queue.sent())
    assert main(command(pacs, queue.folder, images)) == 0, "taken in again, nothing is sent"
    changes = pacs.get("/changes?limit=10000")["Changes"]
    new = [one["ID"] for one in changes if one["ChangeType"] == "NewInstance"]
    assert len(new) == len(set(new)) == COUNT


def test_what_arrived_unseen_is_asked_for_and_not_sent_again(
    tmp_path: Path, pacs: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = scan(tmp_path / "i.h5", 3)
    assert main([*command(pacs, tmp_path / "first", images), "-o", str(tmp_path / "files")]) == 0
    queue = Queue(tmp_path / "second")
    for file in sorted((tmp_path / "files").glob("*/*.dcm")):
        uid = str(pydicom.dcmread(file).SOPInstanceUID)
        queue.add(uid, file.read_bytes())
        queue.begin(queue.waiting / f"{uid}.dcm")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was stored already")

    monkeypatch.setattr(pynetdicom.association.Association, "send_c_store", never)
    assert main(command(pacs, queue.folder)) == 0
    assert len(queue.sent()) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom leaves its socket open
def test_a_pacs_that_is_down_leaves_everything_in_the_queue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = scan(tmp_path / "i.h5", 2)
    arguments = ["--send", f"127.0.0.1:{free_port()}", "--queue", str(tmp_path / "queue"), "--patience", "0"]
    assert main(["dicom", str(images), *arguments]) == 1
    told = capsys.readouterr().out
    assert "2 wait in" in told and f"'onebreath dicom {' '.join(arguments[:4])}' sends them" in told
    assert (tmp_path / "queue").stat().st_mode & 0o077 == 0
    assert len(Queue(tmp_path / "queue").left()) == 2


def test_what_a_pacs_refuses_is_set_aside_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(event: object) -> int:
        return 0xC001

    entity = pynetdicom.AE(ae_title="STRICT")
    entity.supported_contexts = pynetdicom.StoragePresentationContexts
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(pynetdicom.evt.EVT_C_STORE, refuse)])
    try:
        port = server.socket.getsockname()[1]
        arguments = ["--send", f"127.0.0.1:{port}", "--queue", str(tmp_path / "queue"), "--patience", "1"]
        assert main(["dicom", str(scan(tmp_path / "i.h5", 2)), *arguments]) == 1
    finally:
        server.shutdown()
    assert "2 were refused" in capsys.readouterr().out
    reasons = [path.read_text() for path in (tmp_path / "queue" / "refused").glob("*.txt")]
    assert len(reasons) == 2
    assert "0xC001" in reasons[0]


@pytest.mark.parametrize("address", ["host", "host:", ":104", "host:0", "host:99999"])
def test_an_invalid_address_is_refused(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dicom", "--send", address]) == 1
    assert "not the address of a PACS" in capsys.readouterr().err
