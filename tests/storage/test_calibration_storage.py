"""Calibration lines of another scan: found for the same slice and the same channels, and as good as one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gadgetron.types import ReconData

from onebreath.chain.gadget import gadget_class, parse_properties
from onebreath.chain.notes import note, read_note
from onebreath.errors import ScanError
from onebreath.storage.base import StorageError
from onebreath.storage.folder import FolderStore
from tests.helpers import nrmse
from tests.scans import coil_scan, header, recon_data

Y, X = 48, 40
IMAGES, _, KSPACE = coil_scan(frames=1, y=Y, x=X)
CENTRE, EVERY_SECOND = np.zeros((1, Y), bool), np.zeros((1, Y), bool)
CENTRE[:, Y // 2 - 12 : Y // 2 + 12] = True
EVERY_SECOND[:, ::2] = True
KEEP, USE = {"keep_calibration": "true", "calibration_size": "24"}, {"no_acs": "storage", "calibration_size": "24"}


@pytest.fixture(autouse=True)
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEBREATH_STORAGE", str(tmp_path))


def calibrate(
    lines: np.ndarray, pairs: dict[str, str], *notes: Any, head: Any = None, shift: float = 0.0, own: Any = None
) -> tuple[dict[str, Any], ReconData]:
    data = recon_data(KSPACE, lines, own)
    for line in data.bits[0].data.headers.flat:
        line.position = (10.0, 20.0, 30.0 + shift)
    cls = gadget_class("calibrate")
    made = list(cls(head or header(Y, X), parse_properties(cls, pairs)).process([*notes, data]))
    written = read_note(made[-2])
    assert written is not None
    return written[1], made[-1]


def reconstruct(data: ReconData, method: str) -> np.ndarray:
    cls = gadget_class("reconstruct")
    (images,) = cls(header(Y, X, factor=2, mode="external"), parse_properties(cls, {"method": method})).process([data])
    return np.asarray(images.data[:, :, 0, 0, 0, 0, 0].T)


@pytest.mark.parametrize("method", ["cg_sense", "grappa"])
def test_lines_of_another_scan_serve_like_separate_ones_of_the_scan_itself(method: str) -> None:
    kept, _ = calibrate(CENTRE, KEEP)
    assert kept["calibration_kept"]["text"].startswith("in the folder")
    facts, data = calibrate(EVERY_SECOND, USE)
    assert facts["calibration_storage"]["text"] == "found: the latest of this session"
    assert (facts["mode"], facts["acs_lines"]) == ("external", 24)
    _, separate = calibrate(EVERY_SECOND, {"calibration_size": "24"}, own=CENTRE)
    found = reconstruct(data, method)
    assert nrmse(found, reconstruct(separate, method)) < 1e-5
    assert nrmse(np.abs(found), np.abs(IMAGES[0])) < 0.1


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({}, {"shift": 5.0}, "no scan of this slice is in the folder"),
        ({}, {"notes": [note("prewhiten", whitened=True)]}, "whitened otherwise"),
        ({}, {"notes": [note("compress", mode="pca", channels=8, channels_kept=4)]}, "channels are compressed"),
        ({}, {"head": header(Y, X, factor=2, mode="embedded")}, "calibration lines of its own"),
        ({"notes": [note("compress", mode="pca", channels=8, channels_kept=4)]}, {}, "no scan of this slice"),
    ],
)
def test_what_does_not_fit_is_told_and_the_scan_has_no_calibration(
    first: dict[str, Any], second: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    calibrate(CENTRE, KEEP, *first.pop("notes", []), **first)
    with pytest.raises(ScanError, match="no calibration lines"):
        calibrate(EVERY_SECOND, USE, *second.pop("notes", []), **second)
    assert reason in caplog.text


def test_channels_that_compress_left_alone_are_kept() -> None:
    kept, _ = calibrate(
        CENTRE, KEEP, note("compress", mode="none", channels=8, channels_kept=4), note("prewhiten", whitened=True)
    )
    assert kept["calibration_kept"]["text"].startswith("in the")


def test_a_scan_with_its_own_lines_looks_for_no_others() -> None:
    facts, _ = calibrate(CENTRE, USE)
    assert "calibration_storage" not in facts


def test_damaged_lines_are_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for content in (b"junk", StorageError("the disk is gone")):

        def latest(*_: Any, content: Any = content) -> bytes:
            if isinstance(content, StorageError):
                raise content
            return content

        monkeypatch.setattr(FolderStore, "latest", latest)
        with pytest.raises(ScanError, match="no calibration lines"):
            calibrate(EVERY_SECOND, USE)
    assert "cannot be read" in caplog.text
    assert "the disk is gone" in caplog.text


def test_storage_that_cannot_be_written_costs_no_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("ONEBREATH_STORAGE", str(tmp_path / "file"))
    facts, _ = calibrate(CENTRE, KEEP)
    assert "cannot be written" in facts["calibration_kept"]["text"]
