"""Noise that was measured in another scan: found, matched by coil label, told; never a failed scan."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.errors import ConfigError, NoiseNotKept, ScanError
from onebreath.storage.base import StorageError
from onebreath.storage.blob import pack, unpack
from onebreath.storage.noise import StoredCovariance
from tests.helpers import complex_normal
from tests.raw import line, run, scan_header
from tests.storage.standin import StandIn, chosen_store, storage_server

LABELS = ("left", "right", "top")
NOISE_ID, SCAN_ID = "dev_pat_ses_1", "dev_pat_ses_2"


@pytest.fixture(params=["folder", "server"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with chosen_store(request.param, tmp_path, monkeypatch) as server:
        yield server


def header(measurement: str, depends_on: str = "", labels: tuple[str, ...] = LABELS) -> Any:
    made = scan_header(labels=labels)
    made.measurementInformation = ismrmrd.xsd.measurementInformationType(
        measurementID=measurement, patientPosition=ismrmrd.xsd.patientPositionType.HFS
    )
    if depends_on:
        dependency = ismrmrd.xsd.measurementDependencyType(dependencyType="Noise", measurementID=depends_on)
        made.measurementInformation.measurementDependency.append(dependency)
    return made


def noise_lines() -> list[ismrmrd.Acquisition]:
    rng = np.random.default_rng(5)
    mixing = complex_normal(rng, (3, 3))
    return [line(mixing @ complex_normal(rng, (3, 2000)), 0, 19)]


def data() -> np.ndarray:
    return complex_normal(np.random.default_rng(6), (3, 16))


def imaging(order: tuple[int, ...] = (0, 1, 2)) -> list[ismrmrd.Acquisition]:
    return [line(data()[list(order)], sample_time_us=5.0)]


def measure_noise() -> dict[str, Any]:
    made, notes = run("prewhiten", header(NOISE_ID), noise_lines())
    assert made == []
    return notes[-1]


def test_a_separate_noise_scan_whitens_as_its_own_lines_would(storage: StandIn | None) -> None:
    assert measure_noise()["noise_kept"].startswith("in the ")
    (found,), notes = run("prewhiten", header(SCAN_ID, NOISE_ID), imaging())
    (direct,), _ = run("prewhiten", header(SCAN_ID), [*noise_lines(), *imaging()])
    assert np.array_equal(found.data, direct.data)
    assert notes[0]["noise"] == "storage"
    assert notes[0]["noise_storage"] == "found: the noise scan that the header names"
    assert notes[0]["noise_source"] == NOISE_ID
    assert notes[0]["noise_samples"] == 2000


def test_without_a_named_dependency_the_latest_of_the_session_is_taken(storage: StandIn | None) -> None:
    run("prewhiten", header(NOISE_ID), [*noise_lines(), *imaging()])  # a scan with noise lines leaves them, too
    _, notes = run("prewhiten", header(SCAN_ID), imaging())
    assert notes[0]["noise_storage"] == "found: the latest noise scan of this session"
    _, notes = run("prewhiten", header("dev_pat_tomorrow_2"), imaging())
    assert notes[0]["noise_storage"].startswith("not used: the latest noise scan of this session is not in the")
    assert notes[0]["whitened"] is False


def test_channels_are_matched_by_their_labels(storage: StandIn | None) -> None:
    measure_noise()
    (ordered,), _ = run("prewhiten", header(SCAN_ID, NOISE_ID), imaging())
    labels = tuple(LABELS[i] for i in (2, 0, 1))
    (permuted,), notes = run("prewhiten", header(SCAN_ID, NOISE_ID, labels), imaging((2, 0, 1)))
    assert notes[0]["channel_order"] == "permuted by coil label"
    energy = [np.linalg.norm(made.data, axis=0) for made in (ordered, permuted)]
    assert energy[0] == pytest.approx(energy[1], rel=1e-4)


def test_noise_of_other_coils_is_told_and_not_used(storage: StandIn | None) -> None:
    measure_noise()
    (made,), notes = run("prewhiten", header(SCAN_ID, NOISE_ID, ("left", "right", "spine")), imaging())
    assert np.array_equal(made.data, data().astype(np.complex64))
    assert notes[0]["noise"] == "none"
    assert "spine are not in it" in notes[0]["noise_storage"]


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", pack(np.ones((2, 3), np.complex64), {}), pack(np.eye(3, dtype=np.complex64), {})],
    ids=["empty", "junk", "not square", "no facts"],
)
def test_what_is_no_covariance_is_told_and_not_used(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with storage_server() as server:
        monkeypatch.setenv("ONEBREATH_STORAGE", server.url)
        measure_noise()
        server.blobs[:] = [(tags, content) for tags, _ in server.blobs]
        _, notes = run("prewhiten", header(SCAN_ID, NOISE_ID), imaging())
    assert notes[0]["noise_storage"].startswith("not used: the stored")


def test_a_server_that_is_down_costs_the_noise_and_not_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEBREATH_STORAGE", "http://127.0.0.1:9")
    (made,), notes = run("prewhiten", header(SCAN_ID, NOISE_ID), imaging())
    assert np.array_equal(made.data, data().astype(np.complex64))
    assert "storage server http://127.0.0.1:9 cannot be reached" in notes[0]["noise_storage"]
    made, notes = run("prewhiten", header(NOISE_ID), [*noise_lines(), *imaging()])
    assert notes[0]["whitened"] is True
    assert "cannot be reached" in notes[-1]["noise_kept"]


def test_images_name_no_path_of_a_folder_and_the_log_names_the_one_that_users_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "store"
    monkeypatch.setenv("ONEBREATH_STORAGE", str(folder))
    told = [measure_noise()["noise_kept"]]
    assert told == ["in the folder of stored data"]

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{path.parent}/.{path.name}.0123abcd.part")

    monkeypatch.setattr("onebreath.storage.folder.write", full)
    told.append(measure_noise()["noise_kept"])
    assert told[-1] == "no: folder of stored data cannot be written: No space left on device"
    assert f"folder {folder} cannot be written: No space left on device" in caplog.text
    assert ".part" not in caplog.text
    monkeypatch.setenv("ONEBREATH_STORAGE", str(folder / "key"))  # a file
    told.append(measure_noise()["noise_kept"])
    told.append(run("prewhiten", header(SCAN_ID, NOISE_ID), imaging())[1][0]["noise_storage"])
    assert not [text for text in told if str(tmp_path) in text]


def test_switched_off_it_is_not_asked(storage: StandIn | None) -> None:
    measure_noise()
    _, notes = run("prewhiten", header(SCAN_ID, NOISE_ID), imaging(), use_storage=False)
    assert (notes[0]["noise"], "noise_storage" in notes[0]) == ("none", False)


def test_a_header_that_names_nobody_is_told() -> None:
    _, notes = run("prewhiten", scan_header(), imaging())
    assert notes[0]["noise_storage"].startswith("not asked: the header names no noise scan")
    _, notes = run("prewhiten", scan_header(), noise_lines())
    assert notes[-1]["noise_kept"].startswith("no: the header names no measurement")


def test_only_noise_sends_nothing_on(storage: StandIn | None) -> None:
    made, notes = run("prewhiten", header(NOISE_ID), [*noise_lines(), *imaging()], only_noise=True)
    assert (made, notes) == ([], [])
    _, notes = run("prewhiten", header(SCAN_ID, NOISE_ID), imaging())
    assert notes[0]["noise"] == "storage"


def test_a_noise_scan_that_leaves_no_noise_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It makes no image whose meta could tell that the scans that follow will find nothing."""
    whole = [*noise_lines(), *imaging()]
    for scan in (noise_lines(), whole):
        for address, said in (("http://127.0.0.1:9", "cannot be reached"), ("off", "storage is switched off")):
            monkeypatch.setenv("ONEBREATH_STORAGE", address)
            with pytest.raises(NoiseNotKept, match=said):
                run("prewhiten", header(NOISE_ID), scan, only_noise=True)
    assert run("prewhiten", header(NOISE_ID), whole) != []  # that has images to tell it
    monkeypatch.setenv("ONEBREATH_STORAGE", str(tmp_path / "store"))
    with pytest.raises(NoiseNotKept, match="names no measurement"):
        run("prewhiten", scan_header(), noise_lines(), only_noise=True)
    with pytest.raises(NoiseNotKept, match="name no file"):
        run("prewhiten", header(NOISE_ID), noise_lines(), only_noise=True, keep_noise=False)
    with pytest.raises(ScanError, match="begins with no noise lines"):
        run("prewhiten", header(NOISE_ID), imaging(), only_noise=True)
    monkeypatch.setenv("ONEBREATH_FOLDERS", str(tmp_path))
    file = tmp_path / "noise.npz"
    for scan in (noise_lines(), whole):
        given = {"only_noise": True, "use_storage": False, "store_noise_covariance": str(file)}
        assert run("prewhiten", header(NOISE_ID), scan, **given) == ([], [])
        assert StoredCovariance.load(str(file)).matrix.shape == (3, 3)


def test_the_blob_is_gadgetrons() -> None:
    covariance = StoredCovariance(np.diag([1, 2, 3]).astype(np.complex64), 2.5, LABELS, 100, "x")
    matrix, facts = unpack(covariance.to_blob(0.8))
    assert np.array_equal(matrix, covariance.matrix)
    assert facts == {
        "channels": 3, "sampleCount": 100, "labels": list(LABELS), "noiseDwellTimeUs": 2.5,
        "receiverNoiseBandwidth": 0.8,
    }  # fmt: skip
    assert StoredCovariance.from_blob(pack(matrix, facts), "x").labels == LABELS
    for wrong in ({"labels": ["a"]}, {"sampleCount": "many"}, {"noiseDwellTimeUs": float("inf")}):
        with pytest.raises(StorageError):
            StoredCovariance.from_blob(pack(matrix, facts | wrong), "x")


def test_a_misspelt_property_is_refused() -> None:
    with pytest.raises(ConfigError, match="use_storage"):
        run("prewhiten", scan_header(), [], use_store=True)
