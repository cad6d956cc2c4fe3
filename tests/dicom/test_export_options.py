"""A worker that sends: what it is asked to do, what it imports for that, and its journal."""

import errno
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from onebreath.cli import main
from onebreath.dicom.export.beside import exporting
from onebreath.dicom.export.options import ExportOptions
from onebreath.dicom.queue import Queue
from onebreath.errors import ConfigError
from tests.host.test_worker import gadget_scan
from tests.host.workers import wait_for, worker
from tests.images.files import cine
from tests.web.served import served


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
@pytest.mark.parametrize(
    "name", ["host:104", "@host:104", "TITLE@host", "A_TITLE_OF_MORE_THAN_16@host:104", "Ä@host:104"]
)
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
            "onebreath.dicom onebreath.dicom.export onebreath.dicom.export.beside onebreath.dicom.export.options",
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


@needs_packages
def test_a_disk_that_is_full_for_instances_keeps_the_images_until_it_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from onebreath.dicom.export import outgoing
    from onebreath.dicom.export.process import Sender, Task

    sender = Sender(Task(str(tmp_path / "queue"), "127.0.0.1:104", "PACS", "ONEBREATH", "", False))
    path = outgoing.keep(sender.incoming, "20260101-000000-abcdef", b"", cine(slices=1, phases=3))
    add, added = Queue.add, 0

    def full_soon(self: Queue, uid: str, content: bytes) -> bool:
        nonlocal added
        added += 1
        if added == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return add(self, uid, content)

    monkeypatch.setattr(Queue, "add", full_soon)
    assert sender._take_in() == "the disk does not take instances: No space left on device"
    assert path.exists()
    assert len(sender.queue.left()) == 1
    assert sender._take_in() == ""
    assert not path.exists()
    assert len(sender.queue.left()) == 3
    for file in sender.queue.left():
        sender.queue.done(sender.queue.begin(file))
        sender._after(file.stem, True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (series,) = [one for one in told if one["event"] == "series"]
    assert (series["scan"], series["instances"], series["refused"]) == ("20260101-000000-abcdef", 3, 0)
    assert not list((tmp_path / "queue/series").iterdir())


@needs_packages
def test_a_restart_knows_which_series_are_under_way(tmp_path: Path) -> None:
    from onebreath.dicom.export.register import Expected, Register

    found: list[Expected] = []
    register = Register(tmp_path / "series", found.append)
    register.expect("1.2", "scan", 7, ["1.2.1", "1.2.2"], 5.0)
    register.count("1.2.1")
    again = Register(tmp_path / "series", found.append)
    again.settle({"1.2.1": None}, ())
    assert not found
    again.count("1.2.2", refused=True)
    assert [(one.scan, one.number, one.refused, one.since) for one in found] == [("scan", 7, 1, 5.0)]
    assert not list((tmp_path / "series").iterdir())


def test_the_page_shows_what_waits_for_the_pacs(tmp_path: Path) -> None:
    class Sends:
        def state(self) -> dict[str, object]:
            counts = {"scans": 1, "waiting": 25, "sent": 7, "refused": 0, "failed": 0, "lost": 0}
            return {"pacs": "PACS@pacs.example:104", **counts, "problem": "the PACS does not answer"}

        def troubles(self) -> list[str]:
            return ["25 instances wait for PACS@pacs.example:104"]

    with served(tmp_path) as page:
        page.worker.exports.append(Sends())
        shown = page.get("/").text
        assert 'data-pacs="PACS@pacs.example:104"' in shown
        assert "<b>7</b> instances sent, <b>25</b> wait" in shown
        assert "the PACS does not answer" in shown
        assert "25 instances wait for PACS@pacs.example:104" in shown
        assert page.worker.troubles() == ["25 instances wait for PACS@pacs.example:104"]


@needs_packages
def test_a_pacs_that_talks_nonsense_costs_no_scan(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def babble() -> None:
            with suppress(OSError):
                while True:
                    taken, _ = listening.accept()
                    with taken:
                        taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(range(256)))

        thread = threading.Thread(target=babble, name="babbling", daemon=True)
        thread.start()
        name = f"PACS@127.0.0.1:{listening.getsockname()[1]}"
        with worker(tmp_path) as running, exporting(running, ExportOptions((name,))):
            assert len(gadget_scan(running).images) == 1
            wait_for(lambda: running.export_states()[0]["problem"].startswith("the PACS "))
            assert running.export_states()[0]["waiting"] == 1
            assert len(gadget_scan(running).images) == 1
            assert running.troubles() == []
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)
