"""Who and what instances belong to: patient, study, and identifiers that neither mix patients nor change."""

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from onebreath.cli import main
from tests.images.files import image, write
from tests.images.scans import change_header, images_of, patient, simulated

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("jinja2")

from onebreath.dicom.texts import fitting  # noqa: E402


def made(images: Path, *options: str) -> list[Any]:
    folder = images.with_suffix("")
    assert main(["dicom", str(images), *options, "-o", str(folder), "--overwrite"]) == 0
    return [pydicom.dcmread(file) for file in sorted(folder.glob("*/*.dcm"))]


def single(path: Path, value: int = 1, **meta: str) -> Any:
    """The instance of an image of one value; empty entries of its meta are empty elements, as other programs write."""
    stated = {"measurementID": "", "deviceID": "", "patientID": ""} | meta
    (one,) = made(write(path, {1: [image(np.full((1, 4, 4), value, np.uint16), meta=stated)]}))
    return one


@pytest.mark.parametrize("identifier", ["1", "45085_0_0_12", "45085___12", ""])
def test_patients_whose_ids_are_not_stated_are_not_put_into_one_study(tmp_path: Path, identifier: str) -> None:
    parts = identifier.split("_") if "_" in identifier else ["", "", ""]
    stated = dict(zip(("measurementID", "deviceID", "patientID", "studyID"), [identifier, *parts[:3]], strict=True))
    first, second = (single(tmp_path / f"{value}.h5", value, **stated) for value in (1, 2))
    assert first.StudyInstanceUID != second.StudyInstanceUID
    assert first.FrameOfReferenceUID != second.FrameOfReferenceUID
    assert first.PatientID == second.PatientID == ""
    assert "None" not in {
        str(first.get(name)) for name in ("StudyID", "PatientName", "ProtocolName", "PatientPosition")
    }


@pytest.mark.parametrize("identifier", ["1", "dev_1_1_5"])
def test_patients_that_only_the_header_names_have_studies_of_their_own(tmp_path: Path, identifier: str) -> None:
    studies = {}
    for name, number in (("ANNA", 1), ("BERTA", 1), ("ANNA", 2)):
        subject = f"<patientName>{name}</patientName><patientID>ID-{name}</patientID>"
        study = "<studyDate>2024-03-01</studyDate><accessionNumber>A7</accessionNumber>"
        scan = tmp_path / f"{name}{number}.h5"
        simulated(scan, subject=subject, study=study, measurementID=identifier, H1resonanceFrequency_Hz=str(number))
        images = images_of(scan, tmp_path / f"{name}{number}_images.h5")
        one, *_ = made(images, str(scan))
        assert (one.PatientName, one.PatientID) == (f"{name}^", f"ID-{name}")
        studies[name, number] = (one.StudyInstanceUID, one.FrameOfReferenceUID)
    assert studies["ANNA", 1] == studies["ANNA", 2], "two scans of one exam"
    assert not set(studies["ANNA", 1]) & set(studies["BERTA", 1])


def test_equal_images_of_two_patients_are_two_studies(tmp_path: Path) -> None:
    """Copies of one scan under two names, as phantoms and simulations are: their pixels tell nothing."""
    scan = simulated(tmp_path / "scan.h5", measurementID="1")
    images, found = images_of(scan, tmp_path / "images.h5"), set()
    for name in ("ANNA", "BERTA"):
        change_header(scan, subject=f"<patientName>{name}</patientName><patientID>ID-{name}</patientID>")
        one, *_ = made(images, str(scan))
        found |= {one.StudyInstanceUID, one.FrameOfReferenceUID, one.SOPInstanceUID}
    assert len(found) == 6


def test_images_made_again_from_the_scan_have_the_same_identifiers(tmp_path: Path) -> None:
    """Their meta differ, for the seconds that gadgets took are others, and so may be the length of the meta."""
    scan, uids, lengths = simulated(tmp_path / "scan.h5", measurementID="1"), [], []
    for number in range(2):
        path = images_of(scan, tmp_path / f"images{number}.h5")
        if number:  # of a time with more digits than all others can lack, so that no chance makes lengths equal
            with h5py.File(path, "r+") as file:
                (group,) = file.values()
                texts = [text.decode() for text in group["image_1/attributes"][:]]
                seconds = re.compile("(<name>Onebreath_seconds_sort</name>.*?<value>)", re.DOTALL)
                changed = [seconds.sub(rf"\g<1>{'0' * 64}", text) for text in texts]
                assert changed != texts
                group["image_1/attributes"][:] = changed
                heads = group["image_1/header"][:]
                heads["attribute_string_len"] = [len(text) for text in changed]
                group["image_1/header"][:] = heads
        lengths.append([len(one) for one in texts_of(path)])
        instances = made(path)
        uids.append([(one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID) for one in instances])
        anonymous = made(path, "--anonymise")
        uids[-1] += [(one.StudyInstanceUID, one.PatientID, one.SOPInstanceUID) for one in anonymous]
    assert lengths[0] != lengths[1]
    assert uids[0] == uids[1]


def texts_of(path: Path) -> list[str]:
    """The meta of each image of a file, as text."""
    with h5py.File(path) as file:
        (group,) = file.values()
        return [text.decode() for text in group["image_1/attributes"][:]]


def test_the_name_of_a_file_is_no_pseudonym(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = patient(tmp_path / "sA.h5", "ANNA", "ID-ANNA")
    images = images_of(scan, tmp_path / "A.h5")
    spellings = ([str(images), "--anonymise", str(scan)], ["--anonymise", str(images), str(scan)])
    for number, spelling in enumerate(spellings):
        assert main(["dicom", *spelling, "-o", str(tmp_path / f"d{number}")]) == 0
        one = pydicom.dcmread(next((tmp_path / f"d{number}").glob("*/*.dcm")))
        assert str(one.PatientID).startswith("ANON-")
        assert one.ManufacturerModelName == "simulation", "the raw data are read"
    assert main(["dicom", str(images), str(scan), "--anonymise", str(tmp_path / "other.h5")]) == 1
    assert "other.h5' behind --anonymise is a file" in capsys.readouterr().err
    for options in (["--pseudonym", "Subject 2"], ["--anonymise", "--pseudonym", "Subject 2"]):
        assert {str(one.PatientID) for one in made(images, *options)} == {"Subject 2"}


MET = "Cine_John Doe, LEE jo johndoe 7 of dOE^jOHN 1970-01-31 AC-99 in 1.7 mm and 17"


def test_no_part_of_a_name_is_left_in_what_a_person_has_written(tmp_path: Path) -> None:
    """Not in instances, and not on a page, wherever the name came from and however it is spelt."""
    subject = (
        "<patientName>Doe^John^Jo</patientName><patientID>7</patientID><patientBirthdate>1970-01-31</patientBirthdate>"
    )
    study = "<accessionNumber>AC-99</accessionNumber><referringPhysicianName>Lee^Al</referringPhysicianName>"
    scan = simulated(tmp_path / "scan.h5", subject=subject, study=study, protocolName=MET)
    images = images_of(scan, tmp_path / "images_of_Doe.h5")
    one, *_ = made(images, str(scan), "--anonymise")
    assert one.ProtocolName == fitting(
        "ProtocolName",
        "Cine_[removed] [removed], [removed] [removed] [removed][removed] [removed] of [removed]^[removed] "
        "[removed] [removed] in 1.7 mm and 17",
    )
    (tmp_path / "open").mkdir()
    named, *_ = made(images, str(scan))
    assert named.ProtocolName == MET[:64].strip()
    page = tmp_path / "page.html"
    assert main(["report", str(images), str(scan), "-o", str(page)]) == 0
    text = page.read_text().partition("<script")[0].lower()
    for secret in ("john", "doe", "ac-99", "1970", " lee"):
        assert secret not in text, text[max(0, text.index(secret) - 80) : text.index(secret) + 80]
    assert "cine_[hidden]" in text
