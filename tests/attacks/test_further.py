"""Further attacks of the same kinds, each on another place than the ones before."""

import os
import socket
import threading
import zipfile

import ismrmrd
import numpy as np
import pytest
from gadgetron.types.recon_data import ReconBit, ReconBuffer, ReconData, SamplingDescription

from onebreath import threads
from onebreath.chain.chain import build
from onebreath.config.stream_config import as_xml, own_node, parse
from onebreath.diagnostics.reports import SpoolError
from onebreath.errors import ConfigError, ModelError, ScanError
from onebreath.host.listener import Listener
from onebreath.keeping import Space
from onebreath.mrd.buffers import checked
from onebreath.storage.noise import LARGEST, StoredCovariance
from onebreath.wire.connection import parse_header
from onebreath.wire.xml_guard import unpadded
from onebreath.worker.metrics import AT_ONCE, Metrics, serving_metrics
from onebreath.worker.spooling.resume import resume
from onebreath.worker.spooling.spool import SpooledScan
from onebreath.zoo.card import CARD_FILE, MOST_PROBLEMS, read_card
from tests.host import tiny
from tests.host.test_late import leave_behind
from tests.host.test_worker import gadget_scan
from tests.host.workers import worker
from tests.scans import header as scan_header

# --- C: arrays from the wire


def recon(shape, headers):
    filled = np.empty(headers, object)
    filled.fill(ismrmrd.AcquisitionHeader())
    return ReconBuffer(np.zeros(shape, np.complex64), None, None, filled, SamplingDescription())


@pytest.mark.parametrize(
    ("shape", "headers"),
    [
        ((0,) * 7, (8, 1, 1, 1, 1)),
        ((), (8, 1, 1, 1, 1)),
        ((16, 8, 1, 2, 1, 1), (8, 1, 1, 1, 1)),
        ((16, 8, 1, 2, 1, 1, 1), (8,)),
        ((16, 8, 1, 2, 1, 1, 1), (0, 1, 1, 1, 1)),
        ((16, 8, 1, 2, 3, 1, 1), (8, 1, 2, 1, 1)),
        ((16, 8, 1, 2, 1, 1, 2), (8, 1, 1, 1, 1)),
    ],
)
def test_arrays_with_other_axes_are_an_error_in_words(shape, headers):
    checked(ReconData([ReconBit(recon((16, 8, 1, 2, 1, 1, 1), (8, 1, 1, 1, 1)))]))
    for gadget in (("calibrate", {}), ("reconstruct", {"method": "zero_filled"})):
        chain = build(scan_header(12, 16), [gadget])
        with pytest.raises(ScanError, match=r"have the axes|headers of"):
            list(chain.run([ReconData([ReconBit(recon(shape, headers))])]))


def test_a_message_without_arrays_is_an_error_in_words():
    with pytest.raises(ScanError, match="holds no k-space"):
        list(build(scan_header(12, 16), [("calibrate", {})]).run([ReconData([])]))


def test_an_archive_that_unpacks_to_much_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("matrix.npy", bytes(LARGEST + 1))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ConfigError, match="holds more than 64 MB"):
        StoredCovariance.load(str(path))


# --- A and B: threads and places


def test_a_thread_that_cannot_begin_is_an_error_and_hangs_nobody(monkeypatch):
    monkeypatch.setattr(threads, "BEGINS", 0.2)
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda self: None)  # as one whose first call finds no memory
    with pytest.raises(MemoryError, match="did not begin"):
        threads.begin(threading.Thread(target=print, daemon=True))


def test_a_thread_for_which_there_is_no_address_space_is_an_error_before_it_begins(monkeypatch):
    monkeypatch.setattr(threads, "ROOM", 1 << 60)
    begun = threading.Event()
    with pytest.raises(MemoryError, match="of address space for a thread"):
        threads.begin(threading.Thread(target=begun.set, daemon=True))
    assert not begun.is_set()


def test_a_connection_for_which_there_is_no_thread_is_closed_and_the_next_is_served(monkeypatch):
    real, failing = threads.begin, [True]

    def begin(thread):
        if failing and thread.name.startswith("onebreath-("):
            failing.pop()
            raise MemoryError("no room")
        real(thread)

    monkeypatch.setattr("onebreath.host.listener.begin", begin)
    with Listener(lambda sock: sock.sendall(b"served")) as listener:
        for expected in (b"", b"served"):
            with socket.create_connection(listener.address, 30) as sock:
                assert sock.recv(10) == expected
        assert listener.accepts


def test_a_listener_that_goes_no_round_is_ill(monkeypatch):
    with Listener(lambda sock: None) as listener:
        assert listener.accepts
        monkeypatch.setattr("onebreath.host.listener.STANDS", -1.0)
        assert not listener.accepts


def test_silent_connections_to_the_metrics_take_no_more_threads_than_are_for_them():
    metrics = Metrics(lambda: {"running": [], "waiting": [], "reserved_mb": 0, "memory_mb": 0})
    with serving_metrics(metrics, 0) as port:
        before = threading.active_count()
        silent = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(40)]
        refused = 0
        for sock in silent[AT_ONCE:]:
            try:
                refused += sock.recv(1) == b""
            except ConnectionResetError:
                refused += 1
        assert refused == len(silent) - AT_ONCE
        assert threading.active_count() - before <= AT_ONCE
        for sock in silent:
            sock.close()


# --- D and E: texts in another form


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8"])
def test_padding_takes_no_byte_of_a_text(encoding):
    text = tiny.header().decode().replace('encoding="utf-8"', f'encoding="{encoding}"')
    octets = text.encode(encoding)
    for padding in (b"", b"\0", b"\0\0\0"):
        assert unpadded(octets + padding) == octets


def test_a_header_in_utf_16_is_read():
    text = '<?xml version="1.0" encoding="UTF-16"?>' + tiny.header().decode().partition("?>")[2]
    assert parse_header(text.encode("utf-16") + b"\0").subjectInformation.patientID == "TINY-1"


def test_cards_that_are_no_files_are_refused_at_once(tmp_path):
    folder = tmp_path / "crunet_mr.x"
    folder.mkdir()
    os.mkfifo(folder / CARD_FILE)
    with pytest.raises(ModelError, match="is no file"):
        read_card(folder)
    (folder / CARD_FILE).unlink()
    (folder / CARD_FILE).symlink_to("/dev/zero")
    with pytest.raises(ModelError, match="is no file"):
        read_card(folder)


def test_a_card_of_many_mistakes_is_told_of_some(tmp_path):
    folder = tmp_path / "crunet_mr.x"
    folder.mkdir()
    (folder / CARD_FILE).write_text("".join(f"k{n}: 1\n" for n in range(500)))
    with pytest.raises(ModelError) as caught:
        read_card(folder)
    assert str(caught.value).count("there is no field") <= MOST_PROBLEMS
    assert "more" in str(caught.value)


# --- G: what stands in an uploaded configuration


@pytest.mark.parametrize(
    "hidden",
    [
        b'<!-- <configuration/></external><external><connect address="127.0.0.1" port="9"/> -->',
        b'<?pi <configuration></external><external><connect address="127.0.0.1" port="9"/> ?>',
    ],
)
def test_no_text_around_a_configuration_becomes_a_node_of_what_is_made_later(hidden):
    inner = b'<configuration><gadget name="prewhiten"/></configuration>'
    for text in (hidden + inner, inner + hidden):
        (node,) = parse(as_xml([own_node("chain", text)]).encode()).nodes
        assert b"prewhiten" in node.configuration
        assert b"connect" not in node.configuration


# --- H: a full disk in other stages


def test_late_images_beyond_the_quota_are_not_written(tmp_path):
    from functools import partial

    from onebreath.host.server import HostOptions, run_spooled
    from onebreath.storage.results import Results

    scan = leave_behind(tmp_path, tiny.pieces(tiny.configuration())[1:], complete=True)
    spooled, results = SpooledScan(tmp_path / "state/spool" / scan), Results(tmp_path / "results")
    results.begin(scan, "exam", "chain")
    run = partial(run_spooled, options=HostOptions())
    with pytest.raises(OSError, match="more than their quota"):
        resume(spooled, results, run, Space(tmp_path / "results", quota=600).take)
    assert resume(spooled, results, run, Space(tmp_path / "results", quota=1 << 20).take).images == 1
    spooled.release(remove=True)


def test_a_gadget_whose_disk_is_full_says_so(tmp_path, monkeypatch):
    def full(self, messages):
        list(messages)
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr("onebreath.gadgets.sort.sort.Sort.process", full)
    with pytest.raises(SpoolError, match="gadget sort cannot write"):
        list(build(scan_header(12, 16), [("sort", {})]).run(tiny.lines()))
    with worker(tmp_path) as running:
        assert "The disk of the reconstruction computer is full" in gadget_scan(running).text
