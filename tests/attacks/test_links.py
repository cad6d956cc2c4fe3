"""Links and pipes where the worker expects its own files: never followed, never waited for, never written through."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onebreath.errors import ScanError
from onebreath.keeping import (
    DAMAGED,
    Space,
    private_folder,
    read_document,
    sealed,
    secret,
    unsealed,
    write,
    write_document,
)
from onebreath.storage.base import Tags
from onebreath.storage.folder import KEY, FolderStore
from onebreath.storage.results import Results
from onebreath.worker.spooling.spool import left_behind

TAGS = Tags("77", name="noise_covariance")


def _pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("put", [Path.symlink_to, _pipe])
def test_what_is_no_file_is_set_aside_and_not_read(tmp_path, put):
    foreign = tmp_path / "foreign"
    foreign.write_bytes(sealed(b"of somebody else"))
    put(tmp_path / "mine", foreign)
    assert unsealed(tmp_path / "mine") is None
    assert [path.name for path in tmp_path.glob(f"{DAMAGED}*")] == [f"{DAMAGED}mine"]
    assert foreign.read_bytes() == sealed(b"of somebody else")
    document = tmp_path / "document"
    write_document(foreign, {"a": 1})
    put(document, foreign)
    with pytest.raises(ValueError, match=r"it is (a link|no file)"):
        read_document(document)


@pytest.mark.parametrize("put", [Path.symlink_to, _pipe])
def test_a_key_that_is_no_file_is_replaced(tmp_path, put):
    foreign = tmp_path / "foreign"
    foreign.write_bytes(sealed(b"k" * 32))
    put(tmp_path / KEY, foreign)
    made = secret(tmp_path / KEY, make=True)
    assert made is not None
    assert made != b"k" * 32
    assert secret(tmp_path / KEY, make=False) == made


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_writing_replaces_a_link_and_not_what_it_leads_to(tmp_path, link):
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"as it was")
    link(tmp_path / "mine", foreign)
    write(tmp_path / "mine", b"new")
    assert foreign.read_bytes() == b"as it was"
    assert (tmp_path / "mine").read_bytes() == b"new"


def test_a_folder_is_not_opened_or_closed_through_a_link(tmp_path):
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    open_to_all.chmod(0o755)
    (tmp_path / "state").symlink_to(open_to_all)
    with pytest.raises(OSError, match="is a link to a folder that others may enter"):
        private_folder(tmp_path / "state")
    assert open_to_all.stat().st_mode & 0o777 == 0o755
    open_to_all.chmod(0o700)
    assert private_folder(tmp_path / "state").is_symlink()  # an administrator may keep the state on another disk


def test_links_in_the_storage_hide_nothing_and_remove_nothing(tmp_path):
    store = FolderStore(tmp_path / "storage")
    store.put(TAGS, b"first")
    (folder,) = (path for path in store.root.iterdir() if path.is_dir())
    (kept,) = folder.iterdir()
    stamp, _, rest = kept.name.partition(".")
    foreign = tmp_path / "foreign"
    foreign.write_bytes(sealed(b"forged"))
    (folder / f"{int(stamp) + 1}.{rest}").symlink_to(foreign)
    assert store.latest(TAGS) == b"first"
    store.put(TAGS, b"second")
    assert store.latest(TAGS) == b"second"
    assert foreign.exists()


def test_a_linked_result_and_a_linked_scan_are_none(tmp_path):
    results = Results(tmp_path / "results")
    results.begin("scan-1", "exam", "title")
    note = results.folder / "scan-1.json"
    note.rename(tmp_path / "elsewhere.json")
    note.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ScanError, match="damaged"):
        results.read("scan-1")
    spool, other = tmp_path / "spool", tmp_path / "other"
    spool.mkdir()
    other.mkdir()
    (other / "precious").write_text("x")
    (spool / "scan").symlink_to(other)
    (spool / ".scan").symlink_to(other)
    assert list(left_behind(spool)) == []
    assert (other / "precious").exists()
    assert not (spool / ".scan").is_symlink()


def test_a_link_to_a_large_file_takes_no_quota(tmp_path):
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 30)
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "link").symlink_to(large)
    Space(folder, quota=1 << 20).take(1 << 10)
