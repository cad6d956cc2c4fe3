"""Instances that wait: what is known later of their patient reaches the PACS, or it is said that it does not."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onebreath.cli import main
from onebreath.dicom.queue import Queue
from tests.dicom.orthanc import Orthanc
from tests.images.scans import images_of, simulated

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("pynetdicom")

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom leaves sockets


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path)
    yield server
    server.kill()


def send(pacs: Orthanc, folder: Path, *files: Path) -> int:
    options = ["--send", pacs.address, "--called", "ORTHANC", "--queue", str(folder / "queue"), "--patience", "0"]
    return main(["dicom", *map(str, files), *options])


def stored(pacs: Orthanc) -> list[Any]:
    found = pacs.get("/instances?expand")
    return [pydicom.dcmread(io.BytesIO(pacs.bytes_of(f"/instances/{one['ID']}/file"))) for one in found]


def named(folder: Path, own_ids: bool) -> Path:
    """A scan whose header only repeats the ids that the images have as well, or knows more of the exam."""
    if own_ids:
        subject = "<patientID>ID-ANNA</patientID><patientGender>F</patientGender>"
        return simulated(folder / "scan.h5", subject=subject, measurementID="dev_ID-ANNA_1_1")
    subject = "<patientName>ANNA</patientName><patientID>ID-ANNA</patientID><patientGender>F</patientGender>"
    study = "<studyDate>2024-03-01</studyDate>"
    return simulated(folder / "scan.h5", subject=subject, study=study, measurementID="1")


@pytest.mark.parametrize("own_ids", [True, False])
def test_a_name_that_is_known_later_arrives_with_what_waits(
    tmp_path: Path, pacs: Orthanc, capsys: pytest.CaptureFixture[str], own_ids: bool
) -> None:
    scan = named(tmp_path, own_ids)
    images = images_of(scan, tmp_path / "images.h5")
    assert send(pacs, tmp_path, images) == 1, "the PACS is down"
    capsys.readouterr()
    assert send(pacs, tmp_path, images) == 1
    assert "0 instances added" in (told := capsys.readouterr().out)
    assert "2 wait there already" in told
    pacs.start()
    assert send(pacs, tmp_path, images, scan) == 0
    told = capsys.readouterr().out
    if own_ids:
        assert "2 that waited there with other texts are replaced" in told
    else:
        assert "2 instances that waited without what the raw data say are taken out of the queue" in told
    assert [(str(one.PatientName), one.PatientSex) for one in stored(pacs)] == [("" if own_ids else "ANNA^", "F")] * 2


@pytest.mark.parametrize("own_ids", [True, False])
def test_a_name_that_does_not_arrive_is_said_not_to(
    tmp_path: Path, pacs: Orthanc, capsys: pytest.CaptureFixture[str], own_ids: bool
) -> None:
    pacs.start()
    scan = named(tmp_path, own_ids)
    images = images_of(scan, tmp_path / "images.h5")
    assert send(pacs, tmp_path, images) == 0
    assert send(pacs, tmp_path, images, scan) == 0
    told = capsys.readouterr().out
    if own_ids:
        assert (
            "2 were sent before and are not sent again: texts that are new now, such as a name, do not arrive" in told
        )
    else:
        assert "2 instances of these images were sent before without what the raw data say" in told


def test_the_queue_says_what_became_of_an_instance(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    assert [queue.add("1.2", text) for text in (b"a", b"a", b"b")] == ["new", "waits", "replaced"]
    assert (queue.waiting / "1.2.dcm").read_bytes() == b"b"
    path = queue.begin(queue.waiting / "1.2.dcm")
    assert [queue.add("1.2", text) for text in (b"b", b"c")] == ["waits", "under way"]
    queue.done(path)
    assert queue.add("1.2", b"c") == "sent"
    assert not queue.left()
