"""A worker that sends: what it is asked to do, what it imports for that, and its journal."""

import errno
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onebreath.cli import main
from onebreath.dicom.export.options import ExportOptions, exporting
from onebreath.dicom.queue import Queue
from onebreath.errors import ConfigError
from tests.host.workers import worker


@contextmanager
def begun(folder: Path, name: str) -> Iterator[None]:
    with worker(folder) as running, exporting(running, ExportOptions((name,))):
        yield


def test_a_journal_that_the_disk_does_not_take_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(tmp_path / "queue")
    for uid in ("1.2", "1.3"):
        queue.add(uid, b"x")
    queue.done(queue.begin(queue.waiting / "1.2.dcm"))

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):
        patched.setattr(os, "fsync", full)
        queue.done(queue.begin(queue.waiting / "1.3.dcm"))
    assert queue.journal.read_text() == "1.2\n"
    assert [path.stem for path in queue.left()] == ["1.3"]
    queue.done(queue.left()[0])
    assert list(Queue(tmp_path / "queue").sent()) == ["1.2", "1.3"]
    queue.forget(1)
    assert list(Queue(tmp_path / "queue").sent()) == ["1.3"]


needs_packages = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("pydicom", "pynetdicom", "highdicom"))), reason="needs onebreath[dicom]"
)


@needs_packages
@pytest.mark.parametrize("name", ["host:104", "@host:104", "TITLE@host", "A_TITLE_OF_MORE_THAN_16@host:104"])
def test_what_is_no_pacs_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"is not (a PACS|the address|a valid AE title)"), begun(tmp_path, name):
        pass


def test_the_worker_without_it_and_the_process_of_gadgetron_import_nothing_of_it() -> None:
    show = "import sys; print(*sorted(n for n in sys.modules if n.split('.')[0] in ('pydicom', 'pynetdicom')"
    show += " or n.startswith('onebreath.dicom')))"
    for statement, expected in (
        ("import onebreath.host.entry", ""),
        (
            "import onebreath.commands.serve, onebreath.chain.chain",
            "onebreath.dicom onebreath.dicom.export onebreath.dicom.export.options",
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-c", f"{statement}; {show}"], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected


def test_a_missing_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    expected = r"Sending to a PACS needs the package pynetdicom: pip install 'onebreath\[dicom\]'"
    with pytest.raises(ConfigError, match=expected), begun(tmp_path, "A@127.0.0.1:104"):
        pass


def test_the_option_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "AETITLE@HOST:PORT" in capsys.readouterr().out
