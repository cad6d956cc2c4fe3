"""Disks that are full, read-only or that lie, and what lies on them: books come last and always, damage is seen."""

import os
import socket
import stat
import threading

import numpy as np
import pytest

from onebreath.commands import status as status_command
from onebreath.errors import ConfigError, ScanError
from onebreath.host.handover import ask
from onebreath.keeping import private_folder, read_document, write, write_document
from onebreath.storage.base import Tags
from onebreath.storage.folder import FolderStore
from onebreath.storage.noise import StoredCovariance
from onebreath.storage.results import Result, Results
from onebreath.worker import late as late_module
from tests.host import standin, tiny
from tests.host.test_late import LATER, leave_behind, retrieve, sent
from tests.host.test_worker import gadget_scan
from tests.host.workers import at_rest, books, wait_for, worker


class FullDisk:
    """Makes what is written to results and marks fail as on a full disk, while it is full."""

    def __init__(self, monkeypatch):
        self.full = False
        for place in ("onebreath.storage.results.write_document", "onebreath.worker.spooling.spool.write"):
            monkeypatch.setattr(
                place, self._unless_full({"write_document": write_document, "write": write}[place.split(".")[-1]])
            )

    def _unless_full(self, real):
        def put(*args):
            if self.full:
                raise OSError(28, "No space left on device")
            return real(*args)

        return put


@pytest.fixture
def disk(monkeypatch):
    """The disk of the state folder."""
    monkeypatch.setattr(late_module, "LOOK", 0.1)
    monkeypatch.setattr(late_module, "ATTEMPTS", 1000)
    return FullDisk(monkeypatch)


def test_a_lost_scan_on_a_full_disk_gives_its_place_back_and_is_made_when_there_is_room(tmp_path, disk):
    pieces = tiny.pieces(tiny.configuration())
    with worker(tmp_path, spool="always", slots=1) as running:
        for _ in range(2):
            with standin.connect(running.listeners["gadget"].address) as server:
                server.send(b"".join(pieces[:-1]))
                wait_for(lambda: books(running, "running"))
                disk.full = True
            wait_for(lambda: at_rest(running))
            disk.full = False
            assert gadget_scan(running).images
        wait_for(lambda: [r.state for r in running.service.late.results.all()] == ["done", "done"])


def test_a_disk_that_is_full_when_a_later_scan_ends_is_said_and_frees_the_place(tmp_path, disk):
    first, *rest = tiny.pieces(tiny.configuration("cg_sense", *LATER))
    with worker(tmp_path, slots=1) as running:
        with standin.connect(running.listeners["gadget"].address) as server:
            server.send(first + b"".join(rest[:3]))
            wait_for(lambda: books(running, "running"))
            disk.full = True
            assert "The disk of the reconstruction computer is full" in server.exchange(b"".join(rest[3:])).text
        wait_for(lambda: at_rest(running))
        disk.full = False
        assert gadget_scan(running, sent("cg_sense", *LATER)).images
        assert retrieve(running).images


def test_the_thread_of_late_scans_outlives_a_full_disk_and_a_note_that_somebody_removed(tmp_path, disk, monkeypatch):
    real = late_module.resume
    harm = []

    def harmful(*args):
        made = real(*args)
        if harm:
            harm.pop()()
        return made

    monkeypatch.setattr(late_module, "resume", harmful)
    with worker(tmp_path) as running:
        late = running.service.late
        harm.append(lambda: [path.unlink() for path in late.results.folder.glob("*.json")])
        assert gadget_scan(running, sent("cg_sense", *LATER)).images
        wait_for(lambda: [result.state for result in late.results.all()] == ["done"])
        harm.append(lambda: setattr(disk, "full", True))
        assert gadget_scan(running, sent("cg_sense", *LATER)).images
        wait_for(lambda: "put off" in books(running, "ended"))
        disk.full = False
        wait_for(lambda: [result.state for result in late.results.all()] == ["done", "done"])
        harm.append(lambda: {}["a bug"])
        assert gadget_scan(running, sent("cg_sense", *LATER)).images
        wait_for(lambda: "failed" in [result.state for result in late.results.all()])
        assert late.works
        assert running.troubles() == []


def test_a_worker_starts_beside_a_scan_that_it_cannot_take_up(tmp_path, disk):
    scan = leave_behind(tmp_path, tiny.pieces(tiny.configuration())[1:], complete=True)
    disk.full = True
    with worker(tmp_path) as running:
        assert gadget_scan(running).images
        assert running.service.late.results.all() == []
        disk.full = False
        wait_for(lambda: [r.state for r in running.service.late.results.all()] == ["done"])
        assert running.service.late.results.read(scan).state == "done"


@pytest.mark.parametrize(
    "bad",
    [{"created": "x"}, {"created": None}, {"state": "dond"}, {"scan": "../../x"}, {"exam": 5}, {"created": 1e400}],
)
def test_notes_with_wrong_values_are_set_aside_and_the_worker_works_on(tmp_path, bad):
    results = Results(tmp_path / "state/results")
    results.write(Result("1-1-1", "e", "chain", 1.0e12))
    note = results.folder / "1-1-1.json"
    content = {**read_document(note), **bad}
    write_document(note, content)  # with a digest that fits
    with worker(tmp_path) as running:
        assert gadget_scan(running, sent("cg_sense", *LATER)).images
        assert retrieve(running).images
        assert (results.folder / ".damaged-1-1-1.json").exists()
        assert running.service.late.works


def test_health_tells_of_threads_that_ended_and_places_that_do_not_come_back(tmp_path, monkeypatch, capsys):
    path = tmp_path / "worker.sock"
    with worker(tmp_path) as running:
        arguments = _status_arguments(path)
        assert status_command.run(arguments) == 0
        real = running.service.late._thread
        running.service.late._thread = threading.Thread()
        assert ask(path, "status")["troubles"] == ["the thread of late scans has ended"]
        assert status_command.run(arguments) == 1
        running.service.late._thread = real
        monkeypatch.setattr(
            type(running.listeners["client"]),
            "accepts",
            property(lambda self: self.address[1] != running.listeners["client"].address[1]),
        )
        assert running.troubles() == ["the client side accepts no connections"]
        monkeypatch.undo()
        with standin.connect(running.listeners["gadget"].address) as server:
            server.send(tiny.pieces(tiny.configuration())[0])
            wait_for(lambda: books(running, "running"))
            (ticket,) = running.service.scheduler._running
            ticket.clock -= 7 * 3600
            assert "has run and waited for 7.0 h" in running.troubles()[0]
    assert capsys.readouterr().out == ""


def _status_arguments(path):
    import argparse

    parser = argparse.ArgumentParser()
    status_command.add_arguments(parser)
    return parser.parse_args(["--socket", str(path), "--health"])


def test_a_listener_outlives_what_goes_wrong_with_one_connection(tmp_path, monkeypatch):
    with worker(tmp_path) as running:
        real, failed = threading.Thread.start, []

        def start(thread):
            if "127.0.0.1" in thread.name and not failed:
                failed.append(thread.name)
                raise RuntimeError("can't start new thread")
            real(thread)

        monkeypatch.setattr(threading.Thread, "start", start)
        with socket.create_connection(running.listeners["gadget"].address) as sock:
            sock.settimeout(60)
            assert sock.recv(1) == b""
        assert failed
        assert running.listeners["gadget"].accepts
        assert gadget_scan(running).images


def test_an_observer_or_an_accelerator_that_fails_keeps_no_place(tmp_path, monkeypatch):
    def broken(*args):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr("onebreath.worker.scan_service.free_accelerator", broken)
    with worker(tmp_path, slots=1) as running:
        running.service.observers.append(broken)
        for _ in range(3):
            assert "no parameter 'nosuch'" in gadget_scan(running, _unknown_parameter()).text
        assert gadget_scan(running).images
        assert running.service.watcher.works


def _unknown_parameter():
    config = tiny.configuration("cg_sense").decode()
    config = config.replace('value="cg_sense"/>', 'value="cg_sense"/><property name="nosuch" value="1"/>')
    return b"".join(tiny.pieces(config.encode()))


# --- what others of this machine see


def test_nobody_else_reads_what_is_kept_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        with worker(tmp_path, spool="always") as running:
            assert gadget_scan(running, sent("cg_sense", *LATER)).images
            wait_for(lambda: [result.state for result in running.service.late.results.all()] == ["done"])
            leave_behind(tmp_path / "other", tiny.pieces(b"")[1:], complete=True)
        StoredCovariance(np.eye(2, dtype=np.complex64), 2.0).save(str(tmp_path / "state/results/noise.npz"))
        store = FolderStore(tmp_path / "store")
        store.put(Tags("77", name="noise"), b"x")
    finally:
        os.umask(before)
    roots = [tmp_path / "state/results", tmp_path / "other/state/spool", tmp_path / "store"]
    seen = [path for root in roots for path in (root, *root.rglob("*"))]
    assert len(seen) > 8
    assert [path for path in seen if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_a_folder_that_was_open_is_closed(tmp_path):
    (tmp_path / "results").mkdir(mode=0o755)
    private_folder(tmp_path / "results")
    assert stat.S_IMODE((tmp_path / "results").stat().st_mode) == 0o700


# --- digests


def test_changed_bits_of_late_results_are_never_sent(tmp_path):
    with worker(tmp_path) as running:
        assert gadget_scan(running, sent("cg_sense", *LATER)).images
        good = tiny.pixels(retrieve(running).images)
        results = running.service.late.results
        (result,) = results.all()
        whole = results.path(result.scan).read_bytes()
        rng = np.random.default_rng(1)
        for place in rng.integers(0, 8 * len(whole), 25):
            changed = bytearray(whole)
            changed[place // 8] ^= 1 << place % 8
            results.path(result.scan).write_bytes(bytes(changed))
            seen = retrieve(running)
            assert not seen.images
            assert "damaged on the disk" in seen.text
            results.path(result.scan).write_bytes(whole)
            results.write(result)
        assert np.array_equal(tiny.pixels(retrieve(running).images), good)


def test_changed_bits_of_notes_and_cut_files_are_never_used(tmp_path):
    results = Results(tmp_path)
    results.write(Result("1-1-1", "e" * 64, "chain", 1.0e9, "done"))
    note = tmp_path / "1-1-1.json"
    whole, good = note.read_bytes(), results.read("1-1-1")
    for place in range(0, 8 * len(whole), 3):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        note.write_bytes(bytes(changed))
        try:
            assert results.read("1-1-1") == good
        except ScanError as error:
            assert "damaged" in str(error)


def test_changed_bits_of_covariances_are_never_used(tmp_path):
    path = tmp_path / "noise.npz"
    rng = np.random.default_rng(2)
    matrix = (rng.standard_normal((4, 4)) + 1j * rng.standard_normal((4, 4))).astype(np.complex64)
    good = StoredCovariance(matrix, 2.5, ("a", "b", "c", "d"), 100, "scan 1")
    good.save(str(path))
    whole = path.read_bytes()
    for place in rng.integers(0, 8 * len(whole), 400):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(bytes(changed))
        try:
            found = StoredCovariance.load(str(path))
        except ConfigError:
            continue
        same = (found.dwell_us, found.labels, found.samples, found.source)
        assert same == (good.dwell_us, good.labels, good.samples, good.source)
        assert np.array_equal(found.matrix, good.matrix)
