"""Which store is used, by environment; and a scan's tags."""

from pathlib import Path

import pytest

from onebreath.mrd.header import ScanHeader
from onebreath.shim_settings import STORAGE_OF_SCAN
from onebreath.storage.base import StorageError, Tags, tags_of
from onebreath.storage.find import open_store
from tests.raw import scan_header


@pytest.mark.parametrize(
    ("own", "gadgetron", "where"),
    [
        (None, None, "folder HOME/onebreath/storage"),
        (None, "http://gt:9112", "storage server http://gt:9112"),
        (None, "", None),
        ("off", "http://gt:9112", None),
        ("", None, None),
        ("https://own/", "http://gt:9112", "storage server https://own"),
        ("/var/x", "http://gt:9112", "folder /var/x"),
    ],
)
def test_the_environment_chooses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str | None, gadgetron: str | None, where: str | None
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for name, value in (("ONEBREATH_STORAGE", own), ("GADGETRON_STORAGE_ADDRESS", gadgetron)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    store = open_store()
    assert (store and store.where) == (where and where.replace("HOME", str(tmp_path)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("said", "where"), [("off", None), ("http://node:1", "storage server http://node:1")])
def test_what_the_scan_brings_goes_before_the_process(
    monkeypatch: pytest.MonkeyPatch, said: str, where: str | None
) -> None:
    monkeypatch.setenv("ONEBREATH_STORAGE", "/var/x")
    token = STORAGE_OF_SCAN.set(said)
    store = open_store()
    STORAGE_OF_SCAN.reset(token)
    assert (store and store.where) == where


def test_a_wrong_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEBREATH_STORAGE", "gopher://x")
    with pytest.raises(StorageError, match="gopher"):
        open_store()


@pytest.mark.parametrize(
    ("stated", "measurement", "tags"),
    [
        ({}, "", None),
        ({"measurement_id": "no structure"}, "", None),
        ({"measurement_id": "dev_pat_ses_9"}, "", Tags("pat", "dev", "ses", "n")),
        ({"patient_id": "P", "measurement_id": "dev_pat_ses_9"}, "", Tags("P", "dev", "ses", "n")),
        ({"patient_id": "P", "study_id": "S", "device_id": "D"}, "x", Tags("P", "D", "S", "n", "x")),
        ({}, "dev_pat_ses_8", Tags("pat", "dev", "ses", "n", "dev_pat_ses_8")),
    ],
)
def test_tags(monkeypatch: pytest.MonkeyPatch, stated: dict[str, str], measurement: str, tags: Tags | None) -> None:
    header = ScanHeader(scan_header())
    for name, value in stated.items():
        monkeypatch.setattr(ScanHeader, name, value)
    assert tags_of(header, "n", measurement) == tags
