"""A folder and a server as stores: the newest that fits comes back, in time, and failures say what failed."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from onebreath.storage.base import StorageError, Store, Tags
from onebreath.storage.folder import FolderStore
from onebreath.storage.server import ServerStore
from tests.storage.standin import StandIn, storage_server

TAGS = Tags("patient 7/ä", "scanner", "study", "noise_covariance", "scanner_p7_study_12")


@pytest.fixture
def server() -> Iterator[StandIn]:
    with storage_server() as running:
        yield running


@pytest.fixture(params=["folder", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path / "new" / "storage")
    return ServerStore(request.getfixturevalue("server").url)


def test_nothing_is_found_in_an_empty_store(store: Store) -> None:
    assert store.latest(TAGS) is None
    store.check()


def test_the_newest_that_has_all_stated_tags_comes_back(store: Store) -> None:
    store.put(TAGS, b"first")
    store.put(replace(TAGS, measurement="scanner_p7_study_13"), b"second")
    store.put(replace(TAGS, subject="patient 8"), b"other")
    store.put(replace(TAGS, name="calibration"), b"lines")
    assert store.latest(TAGS) == b"first"
    assert store.latest(replace(TAGS, measurement="")) == b"second"
    assert store.latest(replace(TAGS, measurement="", device="", session="")) == b"second"
    assert store.latest(replace(TAGS, session="another")) is None


def test_the_server_is_asked_as_gadgetron_asks_it(server: StandIn) -> None:
    store = ServerStore(server.url + "/")
    store.put(TAGS, b"x")
    store.latest(TAGS)
    (posted, path, tags), (got, latest, asked) = server.requests
    assert (posted, path, tags.pop("_ttl")) == ("POST", "/v1/blobs/data", "172800s")
    assert (got, latest) == ("GET", "/v1/blobs/data/latest")
    assert tags == asked == dict(TAGS.pairs())


@pytest.mark.parametrize("status", [302, 400, 500, 503])
def test_a_server_that_fails_is_a_storage_error(server: StandIn, status: int) -> None:
    server.fails_with = status
    store = ServerStore(server.url)
    for ask in (lambda: store.latest(TAGS), lambda: store.put(TAGS, b"x"), store.check):
        with pytest.raises(StorageError, match=str(status)):
            ask()


def test_a_server_that_is_down_or_silent_is_a_storage_error(server: StandIn) -> None:
    with pytest.raises(StorageError, match="cannot be reached"):
        ServerStore("http://127.0.0.1:9").latest(TAGS)
    server.silent.set()
    with pytest.raises(StorageError, match="cannot be reached"):
        ServerStore(server.url, patience=0.1).latest(TAGS)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "localhost:9112", "http://", "ftp://host"])
def test_only_http_addresses_are_taken(address: str) -> None:
    with pytest.raises(StorageError, match="http://HOST:PORT"):
        ServerStore(address)


def test_a_folder_forgets_in_time_and_removes_the_files(tmp_path: Path) -> None:
    time = [1000.0]
    store = FolderStore(tmp_path, lambda: time[0])
    store.put(TAGS, b"x", seconds=60)
    time[0] += 59
    assert store.latest(TAGS) == b"x"
    time[0] += 1
    assert store.latest(TAGS) is None
    store.put(replace(TAGS, subject="another"), b"y")
    assert sum(path.read_bytes() == b"x" for path in tmp_path.rglob("*") if path.is_file()) == 0


def test_a_folder_tells_no_id_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    FolderStore(root).put(TAGS, b"x")
    names = " ".join(str(path.relative_to(root)) for path in root.rglob("*"))
    assert not any(part in names for part in ("patient", "scanner", "study"))
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (root, *root.rglob("*")))
    assert FolderStore(root).latest(TAGS) == b"x"


def test_two_folders_give_a_patient_different_names(tmp_path: Path) -> None:
    found = []
    for name in "ab":
        FolderStore(tmp_path / name).put(TAGS, b"x")
        found.append({path.name for path in (tmp_path / name).iterdir() if path.is_dir()})
    assert not found[0] & found[1]


@pytest.mark.parametrize("name", ["", "../x", "A", "a.b", "a" * 101])
def test_a_folder_takes_no_name_that_could_be_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="no name"):
        FolderStore(tmp_path).put(replace(TAGS, name=name), b"x")


def test_a_folder_that_cannot_be_had_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = FolderStore(tmp_path / "file" / "storage")
    for ask in (lambda: store.put(TAGS, b"x"), store.check):
        with pytest.raises(StorageError, match="cannot be written"):
            ask()
