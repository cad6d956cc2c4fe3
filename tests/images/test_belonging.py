"""Images and the raw file that is named with them are of one scan, or nothing is made."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from onebreath.cli import main
from tests.images.scans import change_header, images_of, patient, simulated

pytest.importorskip("pydicom")
pytest.importorskip("jinja2")


def use(command: str, images: Path, scan: Path, folder: Path) -> int:
    given = {
        "dicom": ["dicom", str(images), str(scan), "-o", str(folder / "made")],
        "report": ["report", str(images), str(scan), "-o", str(folder / "made.html")],
        "reproduce": ["reproduce", str(images), "--raw", str(scan)],
    }
    return main(given[command])


@pytest.mark.parametrize("command", ["dicom", "report", "reproduce"])
def test_the_raw_data_of_another_patient_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    scans = [patient(tmp_path / f"{name}.h5", name, f"ID-{name}") for name in ("ANNA", "BERTA")]
    images = images_of(scans[0], tmp_path / "images.h5")
    assert use(command, images, scans[0], tmp_path) == 0
    for made in tmp_path.glob("made*"):
        made.rename(tmp_path / f"of_{made.name}")
    assert use(command, images, scans[1], tmp_path) == 1
    said = capsys.readouterr().err
    assert f"{scans[1]} is not the raw data of these images" in said
    assert "measurementID is 'dev_ID-ANNA_1_1' in the images, but 'dev_ID-BERTA_1_1' in the raw data" in said
    assert not list(tmp_path.glob("made*"))


@pytest.mark.parametrize(
    ("element", "text", "words"),
    [
        ("protocolName", "spine", "protocolName is 'onebreath_cine' in the images, but 'spine' in the raw data"),
        ("patientPosition", "FFP", "patient_position is 'HFS' in the images, but 'FFP' in the raw data"),
        ("TR", "7.5", " ms in the images, but 7.5 ms in the raw data"),
        ("y", "", "the matrix is 32 x 32 x 1 in the images, but 32 x 31 x 1 in the raw data"),
        ("time", "", "the time stamp of lines is "),
    ],
)
def test_whatever_both_state_must_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], element: str, text: str, words: str
) -> None:
    scan = simulated(tmp_path / "scan.h5", measurementID="1")
    images = images_of(scan, tmp_path / "images.h5")
    if element == "time":
        with h5py.File(scan, "r+") as file:
            lines = file["dataset/data"][:]
            lines["head"]["acquisition_time_stamp"] += 5000
            file["dataset/data"][:] = lines
    elif element == "y":
        with h5py.File(scan, "r+") as file:
            xml = file["dataset/xml"][0].decode()
            before, space, after = xml.partition("<reconSpace>")
            file["dataset/xml"][0] = before + space + after.replace("<y>32</y>", "<y>31</y>", 1)
    else:
        change_header(scan, **{element: text})
    assert use("dicom", images, scan, tmp_path) == 1
    assert words in capsys.readouterr().err


def test_what_only_one_of_them_states_does_not_matter(tmp_path: Path) -> None:
    """Some scanners write nothing but the patient's own identifier, which is not the one in the measurement's."""
    scan = simulated(tmp_path / "scan.h5", measurementID="dev_4711_81_5", subject="<patientID>MR-9</patientID>")
    images = images_of(scan, tmp_path / "images.h5")
    change_header(scan, study="<studyID>12</studyID><accessionNumber>A7</accessionNumber>")
    assert use("dicom", images, scan, tmp_path) == 0


def test_images_of_a_scan_over_midnight_belong_to_its_raw_data(tmp_path: Path) -> None:
    """The scanner's stamps begin again in the middle of the lines; those of the images go on."""
    scan = simulated(tmp_path / "night.h5")
    with h5py.File(scan, "a") as file:
        lines = file["dataset/data"][()]
        stamps = lines["head"]["acquisition_time_stamp"].astype(np.int64)
        day = 24 * 3600 * 400
        lines["head"]["acquisition_time_stamp"] = (stamps - int(np.median(stamps)) + day) % day
        file["dataset/data"][...] = lines
    images = images_of(scan, tmp_path / "images.h5")
    assert use("report", images, scan, tmp_path) == 0
