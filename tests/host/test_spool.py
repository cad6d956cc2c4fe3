"""Raw data on disk: every byte, once, in order, also when the disk is full or the process is gone."""

import os
import socket
import threading
from types import SimpleNamespace

import pytest

from onebreath.commands import status
from onebreath.diagnostics.reports import SpoolError
from onebreath.errors import ConnectionLost, WireError
from onebreath.keeping import DAMAGED
from onebreath.wire.channel import Channel
from onebreath.worker.spooling.spool import Request, SpooledScan, left_behind, scan_id
from onebreath.worker.spooling.stream import SpoolStream
from tests.host.wiring import CLOSE, acquisition, encoded, pair
from tests.host.workers import worker

REQUEST = Request("20260101-000000-abcdef", "chain", "<configuration/>", "<header/>")
LINES = [acquisition(line, samples=900) for line in range(40)]
DATA = encoded(*LINES) + CLOSE


class FullDisk:
    """A file that takes a number of bytes, and then has no room."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if self.room <= 0:
            raise OSError(28, os.strerror(28))
        written = self.file.write(data[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.fixture
def spooled(tmp_path):
    scan = SpooledScan.create(tmp_path, REQUEST)
    yield scan
    scan.release(remove=True)


def sending(sock, data):
    thread = threading.Thread(target=sock.sendall, args=(data,))
    thread.start()
    return thread


@pytest.mark.parametrize("absorbed", [0, 1, 3])
@pytest.mark.parametrize("keep", [True, False])
def test_all_messages_come_whether_through_the_disk_or_not(spooled, absorbed, keep):
    with pair() as (one, two):
        stream = SpoolStream(one)
        channel = Channel(stream)
        sender = sending(two, encoded(LINES[0]) + DATA)
        first = channel.read()[1]  # more than this message has been received with it
        stream.record(spooled.data, keep=keep)
        for _ in range(absorbed):
            stream.absorb(1.0)
        messages = [first, *channel]
        sender.join(60)
        stream.close()
    assert encoded(*messages) + CLOSE == encoded(LINES[0]) + DATA
    if keep:
        assert spooled.data.read_bytes() == DATA


def test_scan_that_waits_goes_to_the_disk_and_not_to_the_senders_memory(spooled):
    with pair() as (one, two):
        stream = SpoolStream(one)
        stream.record(spooled.data, keep=False)
        sender = sending(two, DATA)
        while sender.is_alive():
            stream.absorb(0.05)
        assert encoded(*Channel(stream)) + CLOSE == DATA
        stream.close()


@pytest.mark.parametrize("room", [0, 1, 100_000, 300_001])
@pytest.mark.parametrize("waits", [True, False])
def test_full_disk_loses_no_data(spooled, room, waits):
    with pair() as (one, two):
        stream = SpoolStream(one)
        stream.record(spooled.data, keep=True)
        stream._writer = FullDisk(stream._writer, room)
        sender = sending(two, DATA)
        if waits:
            for _ in range(6):
                stream.absorb(0.02)
        assert encoded(*Channel(stream)) + CLOSE == DATA
        sender.join(60)
        assert isinstance(stream.lost, SpoolError)
        assert "No space left" in str(stream.lost)
        stream.close()
    assert DATA.startswith(spooled.data.read_bytes())


def test_waiting_sees_a_reset(spooled):
    with pair(tcp=True) as (one, two):
        stream = SpoolStream(one)
        stream.record(spooled.data, keep=False)
        two.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        two.close()
        with pytest.raises(ConnectionLost, match="while the scan waited"):
            stream.absorb(1.0)
        stream.close()


def test_file_is_read_back_to_its_last_whole_message(spooled):
    spooled.data.write_bytes(DATA[:-1000])
    channel = Channel(SpoolStream.over(spooled.data))
    messages = []
    with pytest.raises(WireError):
        messages.extend(iter(channel))  # list.extend keeps what came before the error
    channel.close()
    assert encoded(*messages) == encoded(*LINES[:-1])


def test_only_folders_that_nobody_works_on_are_taken_up(tmp_path):
    scan = SpooledScan.create(tmp_path, REQUEST)
    (tmp_path / "rubbish").mkdir()
    assert list(left_behind(tmp_path)) == []
    scan.finish()
    scan.release(remove=False)
    (found,) = left_behind(tmp_path)
    assert found.request == REQUEST
    assert found.complete
    found.release(remove=True)
    assert not found.folder.exists()
    assert list(left_behind(tmp_path / "absent")) == []


def test_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="cannot be kept"):
        SpooledScan.create(tmp_path / "file", REQUEST)


def test_raw_data_are_for_this_user_only(tmp_path):
    scan = SpooledScan.create(tmp_path / "spool", REQUEST)
    assert scan.folder.stat().st_mode & 0o077 == 0
    scan.release(remove=True)


def test_identifiers_differ_and_sort_by_time():
    made = [scan_id() for _ in range(50)]
    assert len(set(made)) == 50
    assert [name[:15] for name in made] == sorted(name[:15] for name in made)


def test_what_a_crash_left_half_made_or_half_removed_goes_and_what_is_damaged_after_two_days(tmp_path):
    for name in (".20260101-000000-aaaaaa", f"{DAMAGED}old", f"{DAMAGED}new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "request.json").write_text("of a patient")
    os.utime(tmp_path / f"{DAMAGED}old", (0, 0))
    with_work = SpooledScan.create(tmp_path, REQUEST)
    assert list(left_behind(tmp_path)) == []
    assert {path.name for path in tmp_path.glob("*")} == {REQUEST.scan, f"{DAMAGED}new"}
    with_work.release(remove=True)
    assert {path.name for path in tmp_path.glob("*")} == {f"{DAMAGED}new"}


@pytest.mark.parametrize("name", ["spool", "results"])
def test_health_tells_of_folders_that_cannot_be_written(tmp_path, capsys, name):
    path, folder = tmp_path / "worker.sock", tmp_path / "state" / name
    with worker(tmp_path) as running:
        assert running.troubles() == []
        folder.mkdir(parents=True, exist_ok=True)
        assert running.troubles() == []
        assert not list(folder.iterdir())
        folder.rmdir()
        assert running.troubles() == [], "it is made when a scan needs it"
        folder.touch()
        assert running.troubles() == [f"{folder} cannot be written: Not a directory"]
        assert status.run(SimpleNamespace(socket=[path], timeout=10.0, json=False, health=True)) == 1
        assert f"TROUBLE: {folder} cannot be written" in capsys.readouterr().err
    with worker(tmp_path, spool="off") as running:
        assert running.troubles() == [], "where nothing is kept, nothing needs to be written"
