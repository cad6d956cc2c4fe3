"""What lies on disk after a crash, a flipped bit, or a clock that jumped: seen, and never used for another scan."""

import json
import random
import stat

import ismrmrd
import numpy as np
import pytest

from onebreath.diagnostics.reports import SpoolError
from onebreath.keeping import DAMAGED
from onebreath.storage.base import TIME_TO_LIVE, Tags
from onebreath.storage.folder import KEY, FolderStore
from onebreath.storage.results import KEPT_SECONDS, Result, Results
from onebreath.worker.spooling.spool import Request, SpooledScan, scan_id
from onebreath.worker.spooling.stream import SUMS, SpoolStream
from tests.host import tiny
from tests.host.test_late import LATER, leave_behind, sent
from tests.host.test_worker import gadget_scan
from tests.host.wiring import CLOSE, encoded, start
from tests.host.workers import wait_for, worker
from tests.scans import line_header

TAGS = Tags("77", name="noise_covariance")


def noise():
    rng = np.random.default_rng(5)
    samples = rng.standard_normal((tiny.COILS, 400)) + 1j * rng.standard_normal((tiny.COILS, 400))
    head = line_header(0, 400, tiny.COILS)
    line = ismrmrd.Acquisition(head, (0.1 * samples).astype(np.complex64))
    line.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    return encoded(line)


# --- kill -9 in the middle


def test_noise_of_a_scan_that_a_crash_cut_off_is_used_for_no_other(tmp_path, monkeypatch):
    store = tmp_path / "store"
    monkeypatch.setenv("ONEBREATH_STORAGE", str(store))
    left = leave_behind(tmp_path, [noise(), *tiny.pieces(tiny.configuration())[1:-4]])
    with worker(tmp_path) as running:
        wait_for(lambda: running.service.late.results.all()[0].state != "pending")
        results = running.service.late.results
        assert results.read(left).state == "done", results.read(left)
        (image,) = results.images(left)
        assert "the scan was probably broken off" in image.meta["Onebreath_warnings"], "which is no error"
        assert image.meta["Onebreath_prewhiten_whitened"] == "True"
        assert "ended early" in image.meta["Onebreath_prewhiten_noise_kept"]
        assert not [path for path in store.rglob("*") if path.is_file()]
        whole = b"".join([start(tiny.configuration(), tiny.header()), noise(), *map(encoded, tiny.lines()), CLOSE])
        assert "in the folder" in gadget_scan(running, whole).images[0].meta["Onebreath_prewhiten_noise_kept"]


def recorded(folder, pieces):
    """A scan on disk as a stream writes it that is broken off."""
    spooled = SpooledScan.create(folder, Request(scan_id(), "chain", "<configuration/>", tiny.header().decode()))
    import socket

    ours, theirs = socket.socketpair()
    stream = SpoolStream(ours)
    stream.record(spooled.data, keep=True)
    for piece in pieces:
        theirs.sendall(piece)
        stream.absorb(5)
    stream.stop_recording()
    stream.abort()
    ours.close()
    theirs.close()
    return spooled


@pytest.mark.parametrize("file", ["data.bin", SUMS])
def test_every_flipped_bit_of_data_that_a_crash_cut_off_is_seen(tmp_path, file):
    spooled = recorded(tmp_path, [bytes([n]) * (100 + n) for n in range(9)])
    spooled.check()
    path, chance = spooled.folder / file, random.Random(4)
    whole = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for _ in range(200):
        changed = bytearray(whole)
        changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(SpoolError, match="damaged on the disk"):
            spooled.check()
    path.write_bytes(whole)
    spooled.check()
    spooled.release(remove=True)


def test_data_that_end_in_the_middle_of_a_piece_are_what_a_crash_leaves(tmp_path):
    spooled = recorded(tmp_path, [bytes(100)] * 3)
    whole = spooled.data.read_bytes()
    for size in (0, 1, 99, 100, 299):
        spooled.data.write_bytes(whole[:size])
        spooled.check()
    spooled.data.write_bytes(whole + b"more")
    with pytest.raises(SpoolError, match="more than came"):
        spooled.check()
    spooled.release(remove=True)


# --- the key of the store


@pytest.mark.parametrize("harm", [lambda key: key[:-1], lambda key: bytes([key[0] ^ 1]) + key[1:], lambda key: b""])
def test_a_harmed_key_is_set_aside_and_a_new_one_made(tmp_path, harm):
    store, path = FolderStore(tmp_path), tmp_path / KEY
    store.put(TAGS, b"content")
    path.write_bytes(harm(path.read_bytes()))
    assert store.latest(TAGS) is None
    assert (tmp_path / f"{DAMAGED}{KEY}").exists()
    store.put(TAGS, b"again")
    assert store.latest(TAGS) == b"again"
    assert len(path.read_bytes()) == 64


def test_a_full_disk_leaves_no_part_of_a_key(tmp_path, monkeypatch):
    def full(path, content):
        path.write_bytes(content[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("onebreath.keeping.write_new", full)
    with pytest.raises(Exception, match="cannot be written"):
        FolderStore(tmp_path).put(TAGS, b"content")
    assert not list(tmp_path.iterdir())


# --- clocks that jump


@pytest.mark.parametrize("jump", [-400 * 86400, -3600, 3600, 30 * 3600, 400 * 86400])
def test_the_latest_is_what_was_kept_last_however_the_clock_jumped(tmp_path, jump, monkeypatch):
    now = [1.8e9]
    store, results = FolderStore(tmp_path / "store", lambda: now[0]), Results(tmp_path / "results")
    monkeypatch.setattr("onebreath.storage.results.time.time", lambda: now[0])
    store.put(TAGS, b"one")
    results.begin("1-1", "exam", "chain")
    now[0] += jump
    store.put(TAGS, b"two")
    results.begin("2-2", "exam", "chain")
    now[0] -= jump - 1
    store.put(TAGS, b"three")
    results.begin("3-3", "exam", "chain")
    assert store.latest(TAGS) == b"three"
    assert results.latest("exam").scan == "3-3"


def test_nothing_outlives_its_time_because_a_clock_was_wrong(tmp_path):
    now = [1.8e9 + 400 * 86400]
    store = FolderStore(tmp_path / "store", lambda: now[0])
    store.put(TAGS, b"of the future")
    results = Results(tmp_path / "results")
    results.write(Result("1-1", "exam", "chain", now[0]))
    now[0] = 1.8e9
    store.put(TAGS, b"now")
    results.prune(now[0])
    assert len([path for path in (tmp_path / "store").rglob("*.*.*") if path.is_file()]) == 1
    assert results.all() == []
    assert TIME_TO_LIVE == KEPT_SECONDS


def test_a_clock_that_jumps_while_a_later_series_is_made_loses_nothing(tmp_path, monkeypatch):
    import time

    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    with worker(tmp_path) as running:
        for jump in (-3 * 86400.0, 3 * 86400.0, 0.0):
            ahead[0] = jump
            scan = gadget_scan(running, sent("cg_sense", *LATER)).images[0].meta["Onebreath_host_scan"]
            wait_for(lambda scan=scan: running.service.late.results.read(scan).state == "done")
            assert running.service.late.results.latest(running.service.late.results.read(scan).exam).scan == scan


def test_damaged_stored_data_are_set_aside_and_the_older_are_used(tmp_path, caplog):
    now = [1000.0]
    store = FolderStore(tmp_path, lambda: now[0])
    tags = Tags("77", name="noise_covariance")
    store.put(tags, b"older")
    now[0] += 1
    store.put(tags, b"newer")
    newest = max(path for path in tmp_path.rglob("*.*.*") if path.is_file())
    newest.write_bytes(newest.read_bytes().replace(b"newer", b"never"))
    assert store.latest(tags) == b"older"
    assert "is damaged and set aside" in caplog.text


def test_raw_data_that_were_damaged_on_the_disk_make_no_images(tmp_path):
    pieces = tiny.pieces(tiny.configuration())[1:]
    scan = leave_behind(tmp_path, pieces, complete=True)
    data = tmp_path / "state/spool" / scan / "data.bin"
    changed = bytearray(data.read_bytes())
    changed[-50] ^= 4
    data.write_bytes(bytes(changed))
    broken = leave_behind(tmp_path, pieces, complete=True)
    request = tmp_path / "state/spool" / broken / "request.json"
    request.write_text(json.dumps({**json.loads(request.read_text()), "title": "other"}))
    with worker(tmp_path) as running:
        wait_for(lambda: [result.state for result in running.service.late.results.all()] == ["failed"])
        assert "damaged on the disk" in running.service.late.results.read(scan).text
        assert (tmp_path / "state/spool" / f".damaged-{broken}").exists()
