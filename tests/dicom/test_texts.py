"""Texts of headers in instances: every script, and nothing that a validator or reader takes for something else."""

import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from onebreath.cli import main
from tests.dicom.test_instances import program
from tests.images.files import image, write
from tests.images.scans import images_of, simulated

pydicom = pytest.importorskip("pydicom")

from onebreath.dicom.texts import fitting  # noqa: E402

LONG = "x" * 40
SHORTENED = f"Herz/{'ü' * 29}"  # of 64 bytes at most


@pytest.mark.parametrize(
    ("keyword", "text", "expected"),
    [
        ("StationName", LONG, LONG[:16]),
        ("StudyID", "a\\b", "a/b"),
        ("StudyDescription", "Herz\\Knie\x1b[2J\n", "Herz/Knie [2J"),
        ("ImageComments", "one\\\ntwo", "one\\\ntwo"),
        ("DerivationDescription", "y" * 2000, "y" * 1024),
        ("PatientName", "Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("PatientName", "a^b^c^d^e^f", "a^b^c^d^e f"),
        ("PatientName", "Mu\u0308ller", "Müller"),
        ("MagneticFieldStrength", "2.8936200141906738", "2.89362001419067"),
        ("MagneticFieldStrength", "strong", ""),
        ("PatientBirthDate", "19700231", ""),
        ("PatientBirthDate", "19700228", "19700228"),
        ("StudyTime", "101112", "101112"),
        ("StudyTime", "2510", ""),
        ("PatientPosition", "hfs-1", "HFS_1"),
    ],
)
def test_each_text_is_as_its_attribute_takes_it(keyword: str, text: str, expected: str) -> None:
    assert fitting(keyword, text) == expected


def described(path: Path) -> Path:
    subject = "<patientName>Müller\\Groß^Jürgen=山田^太郎</patientName><patientID>Ä\\1</patientID>"
    subject += "<patientBirthdate>1970-02-03</patientBirthdate>"
    study = f"<studyDate>2024-03-01</studyDate><studyTime>10:11:12</studyTime><studyID>{'7' * 30}</studyID>"
    study += f"<accessionNumber>{'8' * 20}</accessionNumber><studyDescription>Herz\\{'ü' * 90}</studyDescription>"
    system = {
        "systemVendor": "Ünë\\Vendor",
        "systemFieldStrength_T": "2.8936200141906738",
        "institutionName": "Köln\\2",
    }
    return simulated(path, subject=subject, study=study, protocolName="Čine\\Ω" + "z" * 80, **system)


@pytest.mark.parametrize("options", [[], ["--enhanced"], ["--anonymise"]], ids=["classic", "enhanced", "anonymous"])
def test_texts_of_any_script_and_length_are_valid_and_come_back(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    validator, dump = program("dciodvfy"), program("dcmdump")
    scan = described(tmp_path / "scan.h5")
    images = images_of(scan, tmp_path / "images.h5")
    gfactor = {
        "GADGETRON_DataRole": "Gfactor",
        "SeriesDescription": "G-Fäktor\\1",
        "measurementID": "",
        "patientID": "",
    }
    gfactor |= {"protocolName": "", "deviceID": ""}
    alone = write(tmp_path / "map.h5", {20: [image(np.ones((1, 4, 6), np.float32), series=20, meta=gfactor)]})
    with h5py.File(alone) as source, h5py.File(images, "a") as target:
        source.copy("images/image_20", target[last(images)])
    folder = tmp_path / "dcm"
    assert main(["dicom", str(images), str(scan), "-o", str(folder), "--overwrite", *options]) == 0
    files = sorted(folder.glob("*/*.dcm"))
    assert len(files) == (1 if "--enhanced" in options else 2) + 1
    for file in files:
        said = subprocess.run([validator, str(file)], capture_output=True, text=True, errors="replace", check=False)
        assert not [line for line in said.stderr.splitlines() if line.startswith("Error")], file
        one = pydicom.dcmread(file)
        assert one.SpecificCharacterSet == "ISO_IR 192"
        if "--anonymise" in options:
            continue
        assert str(one.PatientName) == "Müller/Groß^Jürgen=山田^太郎"
        assert (one.PatientID, one.StudyID, one.AccessionNumber) == ("Ä/1", "7" * 16, "8" * 16)
        assert one.get("StudyDescription", SHORTENED) == SHORTENED
        read: Any = subprocess.run([dump, "+U8", str(file)], capture_output=True, check=True).stdout.decode()
        assert "Müller/Groß^Jürgen=山田^太郎" in read
    assert str(pydicom.dcmread(files[0]).ProtocolName).startswith("Čine/Ωzz")
    if "--anonymise" not in options:
        told = capsys.readouterr().err
        assert "StudyID of the scan is longer than DICOM takes" in told
        assert "Müller" not in told


def last(images: Path) -> str:
    import h5py

    with h5py.File(images) as file:
        return str(list(file)[-1])
