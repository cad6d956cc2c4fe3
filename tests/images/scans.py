"""Small scans of named patients, and their images."""

import re
from pathlib import Path

import h5py

from onebreath.cli import main

SMALL = ("--matrix", "32", "32", "--slices", "1", "--phases", "2", "--coils", "3")


def simulated(path: Path, **header: str) -> Path:
    """A raw file of a scan; see `change_header`."""
    assert main(["simulate", str(path), *SMALL]) == 0
    return change_header(path, **header)


def change_header(path: Path, subject: str = "", study: str = "", **elements: str) -> Path:
    """Set elements of a raw file's header, and put XML into the sections of subject and study."""
    with h5py.File(path, "r+") as file:
        xml = file["dataset/xml"][0].decode()
        for name, text in elements.items():
            before, first, rest = xml.partition(f"<{name}>")
            assert first, name
            xml = before + first + text + rest[rest.index(f"</{name}>") :]
        for name, text in (("studyInformation", study), ("subjectInformation", subject)):
            if text:
                xml = re.sub(f" *<{name}>.*?</{name}>\n?", "", xml, flags=re.DOTALL)
                xml = xml.replace("<measurementInformation>", f"<{name}>{text}</{name}><measurementInformation>", 1)
        if not xml.isascii():
            xml = xml.replace('encoding="ascii"', 'encoding="UTF-8"')
        del file["dataset/xml"]
        stored = file["dataset"].create_dataset("xml", (1,), dtype=h5py.string_dtype("utf-8"))
        stored[0] = xml.encode()
    return path


def patient(path: Path, name: str, identifier: str) -> Path:
    """A raw file of a scan of a patient."""
    subject = f"<patientName>{name}</patientName><patientID>{identifier}</patientID>"
    return simulated(path, subject=subject, measurementID=f"dev_{identifier}_1_1")


def images_of(scan: Path, path: Path) -> Path:
    """Images of a raw file."""
    assert main(["replay", str(scan), "-c", "Onebreath_Cine_ZeroFilled.xml", "-o", str(path)]) == 0
    return path
