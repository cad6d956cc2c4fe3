"""Series that are made after their client has gone, and scans that a crash left behind."""

import json
import shutil
import threading
import time
from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest

from onebreath.chain.chain import build
from onebreath.config.node_options import read_options
from onebreath.config.stream_config import External, as_xml, own_node, parse
from onebreath.errors import ScanError
from onebreath.host.server import start_gadget_service
from onebreath.images.completeness import why_incomplete
from onebreath.mrd.meta import read_warnings
from onebreath.storage.results import KEPT_SECONDS, Result, Results, exam_of
from onebreath.worker.late import POLL
from onebreath.worker.spooling.resume import resume
from onebreath.worker.spooling.spool import Request, SpooledScan, scan_id
from onebreath.worker.worker import Worker, WorkerOptions
from tests.host import standin, tiny
from tests.host.test_worker import gadget_scan
from tests.host.workers import at_rest, books, wait_for, worker
from tests.scans import header

LATER = ('<property name="deliver" value="later"/>', '<property name="quick_method" value="zero_filled"/>')
CONFIGS = Path(__file__).parents[2] / "configs"
RETRIEVE = '<configuration><gadget name="retrieve"><property name="wait_s" value="{}"/>{}</gadget></configuration>'


def sent(method="zero_filled", *properties):
    return b"".join(tiny.pieces(tiny.configuration(method, *properties)))


def retrieve(running, wait=60, more=""):
    return gadget_scan(running, b"".join(tiny.pieces(RETRIEVE.format(wait, more).encode())))


def test_quick_series_now_and_the_other_later_by_connection_and_by_file(tmp_path):
    with worker(tmp_path) as running:
        at_once = gadget_scan(running, sent("cg_sense")).images
        quick = gadget_scan(running, sent("cg_sense", *LATER)).images
        late = retrieve(running).images
        (file,) = (tmp_path / "state/results").glob("*.h5")
    scan = quick[0].meta["Onebreath_host_scan"]
    assert quick[0].meta["Onebreath_host_deliver"] == f"later: scan {scan}"
    assert quick[0].meta["Onebreath_reconstruct_method"] == "zero_filled"
    assert late[0].meta["Onebreath_reconstruct_method"] == "cg_sense"
    assert late[0].meta["Onebreath_host_deliver"] == "later; this is the later series"
    np.testing.assert_array_equal(tiny.pixels(late), tiny.pixels(at_once))
    assert bytes(late[0].getHead())[:20] == bytes(at_once[0].getHead())[:20]
    assert file.stem == scan == late[0].meta["Onebreath_host_scan"]


def test_retrieval_by_name_and_of_nothing(tmp_path):
    with worker(tmp_path) as running:
        assert "nothing is kept of this exam" in retrieve(running).text
        scan = gadget_scan(running, sent("zero_filled", *LATER)).images[0].meta["Onebreath_host_scan"]
        named = '<property name="scan" value="{}"/>'
        assert retrieve(running, 10, named.format(scan)).images
        assert "nothing is kept of scan" in retrieve(running, 0, named.format("20000101-000000-000000")).text
        assert "is not the identifier of a scan" in retrieve(running, 0, named.format("../spool/x")).text
        other = Results(tmp_path / "state/results")
        other.write(Result("1-1-1", "another exam", "chain", time.time(), "done"))
        assert "of another patient" in retrieve(running, 0, named.format("1-1-1")).text
        other.write(Result("2-2-2", exam_of(parsed()), "chain", time.time() + 9))
        assert "still being reconstructed" in retrieve(running, 0).text
        other.update("2-2-2", "failed", "no kernel")
        assert "could not be reconstructed: no kernel" in retrieve(running, 0).text


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.xml")), ids=lambda path: path.stem)
def test_every_configuration_can_deliver_later(path):
    for node in parse(path.read_bytes()).nodes:
        if not isinstance(node, External) or str(node.action).partition(":")[2] != "chain":
            continue
        options = read_options(fromstring(node.configuration), "chain")
        if any(name == "reconstruct" for name, _ in options.steps):
            assert build(parsed(), options.quick()).gadgets


def parsed():
    import ismrmrd

    return ismrmrd.xsd.CreateFromDocument(tiny.header())


def test_later_without_a_spool_or_a_worker_is_said(tmp_path):
    with worker(tmp_path, spool="off") as running:
        assert "which is switched off here" in gadget_scan(running, sent("zero_filled", *LATER)).text
    with start_gadget_service() as service, standin.connect(service.address) as server:
        (image,) = server.exchange(sent("cg_sense", *LATER)).images
    assert image.meta["Onebreath_host_deliver"] == "now; only a resident worker can deliver later"
    assert image.meta["Onebreath_reconstruct_method"] == "cg_sense"


def test_mistake_in_the_later_series_is_said_at_once(tmp_path):
    with worker(tmp_path) as running:
        assert "grapa" in gadget_scan(running, sent("grapa", *LATER)).text
        assert at_rest(running)
        assert running.service.late.results.all() == []


def test_full_disk_at_a_promise_gives_the_quick_series_and_an_error(tmp_path, monkeypatch):
    with worker(tmp_path) as running:
        monkeypatch.setattr("onebreath.worker.spooling.spool.DATA", "../../full")
        (tmp_path / "state").mkdir(exist_ok=True)
        (tmp_path / "state" / "full").symlink_to("/dev/full")
        seen = gadget_scan(running, sent("cg_sense", *LATER))
        assert len(seen.images) == 1
        assert "The disk of the reconstruction computer is full" in seen.text
        monkeypatch.undo()
        (result,) = running.service.late.results.all()
        assert result.state == "failed"
        assert gadget_scan(running, sent()).images


@pytest.mark.parametrize("blocked", ["spool", "results", "."])
def test_folder_that_cannot_be_written_gives_the_quick_series_and_an_error(tmp_path, blocked):
    folder = tmp_path / "state" / blocked
    with worker(tmp_path) as running:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        folder.touch()  # no folder can be made in a file, whoever tries
        seen = gadget_scan(running, sent("cg_sense", *LATER))
        (image,) = seen.images
        assert image.meta["Onebreath_reconstruct_method"] == "zero_filled"
        assert image.meta["Onebreath_host_deliver"] == "the quick series only, as the data cannot be kept for later"
        assert "The disk of the reconstruction computer is full" in seen.text
        assert "cannot be kept for later" in seen.text
        assert at_rest(running)
        assert gadget_scan(running, sent()).images


def test_full_disk_does_not_hurt_a_scan_that_is_kept_for_crashes_only(tmp_path, monkeypatch):
    with worker(tmp_path, spool="always") as running:
        (tmp_path / "state").mkdir(exist_ok=True)
        (tmp_path / "state" / "full").symlink_to("/dev/full")
        monkeypatch.setattr("onebreath.worker.spooling.spool.DATA", "../../full")
        for _ in range(20):
            assert gadget_scan(running, sent()).images
        shutil.rmtree(tmp_path / "state/spool")
        (tmp_path / "state/spool").touch()  # no folder can be made in a file
        assert gadget_scan(running, sent()).images


def leave_behind(folder, pieces, method="zero_filled", complete=False):
    """What a worker that was killed leaves on disk."""
    node = own_node("chain", tiny.configuration(method))
    request = Request(scan_id(), "chain", as_xml([node]), tiny.header().decode())
    spooled = SpooledScan.create(folder / "state/spool", request)
    spooled.data.write_bytes(b"".join(pieces))
    if complete:
        spooled.finish()
    spooled.release(remove=False)
    return request.scan


def test_what_a_crash_left_behind_is_reconstructed_at_the_next_start(tmp_path):
    pieces = tiny.pieces(tiny.configuration())[1:]
    whole = leave_behind(tmp_path, pieces, complete=True)
    cut = leave_behind(tmp_path, [*pieces[:-3], pieces[-3][:40]])
    with worker(tmp_path) as running:
        wait_for(lambda: {result.state for result in running.service.late.results.all()} <= {"done", "failed"})
        wait_for(lambda: not list((tmp_path / "state/spool").iterdir()))
        results = running.service.late.results
        (again,) = results.images(whole)
        expected = gadget_scan(running, sent()).images[0]
        assert results.read(whole).state == "done"
        assert results.read(cut).text != ""
    np.testing.assert_array_equal(again.data, expected.data)
    assert "from the disk" in again.meta["Onebreath_host_served_by"]


def test_images_of_a_scan_that_was_cut_short_say_so(tmp_path):
    scan = leave_behind(tmp_path, tiny.pieces(tiny.configuration())[1:-2])
    with worker(tmp_path) as running:
        results = running.service.late.results
        wait_for(lambda: results.all() and results.read(scan).state == "done")
        seen = retrieve(running)
    said = f"Images of scan {scan} may be incomplete: the data ended before the scan did."
    assert [said in read_warnings(image.meta) for image in seen.images] == [True]
    assert why_incomplete(results.path(scan)) == "the data ended before the scan did"


def test_why_there_are_no_images_is_told_once_and_does_not_ask_for_another_scan_of_the_patient(tmp_path):
    leave_behind(tmp_path, tiny.pieces(tiny.configuration())[1:-8])
    with worker(tmp_path) as running:
        results = running.service.late.results
        wait_for(lambda: [result.state for result in results.all()] == ["failed"])
        text = retrieve(running).text
    assert "k-space centre is not among them. Repeat the scan. (log id " in text
    assert text.count("For the physicist") == text.count("For the developer") == 1
    assert "The images of the earlier scan cannot be given." in text


def test_nothing_left_behind_begins_before_whoever_hears_of_scans_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("onebreath.worker.late.LOOK", 0.0)
    left = leave_behind(tmp_path, tiny.pieces(tiny.configuration())[1:], complete=True)
    with Worker(WorkerOptions(port=None, state=tmp_path / "state")) as running:
        time.sleep(3 * POLL)
        assert not running.service.late.results.all()
        heard = []
        running.service.observers.append(lambda ticket: heard.append((ticket.scan, ticket.outcome)))
        running.start()
        wait_for(lambda: heard == [(left, "done")])


def test_late_scan_that_outlasts_the_worker_is_begun_anew_by_the_next_one(tmp_path, monkeypatch):
    left = leave_behind(tmp_path, tiny.pieces(tiny.configuration())[1:], complete=True)
    entered, goes_on = threading.Event(), threading.Event()

    def slow(*given):
        made = resume(*given)
        entered.set()
        assert goes_on.wait(60)
        return made

    monkeypatch.setattr("onebreath.worker.late.resume", slow)
    with worker(tmp_path) as running:
        assert entered.wait(60)
        running.service.late.close(0.01)
        goes_on.set()
        wait_for(lambda: books(running, "ended") == ["put off"])
    results = Results(tmp_path / "state/results")
    assert results.read(left).state == "pending"
    monkeypatch.undo()
    with worker(tmp_path):
        wait_for(lambda: results.read(left).state == "done")


def test_vanished_client_with_everything_spooled_loses_nothing(tmp_path):
    pieces = tiny.pieces(tiny.configuration())
    with worker(tmp_path, spool="always") as running:
        with standin.connect(running.listeners["gadget"].address) as server:
            server.send(b"".join(pieces[:-1]))  # all lines, but not CLOSE
            wait_for(lambda: books(running, "running"))
        wait_for(lambda: [result.state for result in running.service.late.results.all()] == ["done"])
        (result,) = running.service.late.results.all()
        assert len(list(running.service.late.results.images(result.scan))) == 1


def test_results_hold_no_names_and_go_after_two_days(tmp_path):
    results = Results(tmp_path)
    made = header(8, 8)
    made.subjectInformation = type("Subject", (), {"patientID": "4711", "patientName": "Jane Doe"})()
    results.write(Result("1-2-3", exam_of(made), "chain", 1000.0))
    assert "Jane" not in (tmp_path / "1-2-3.json").read_text()
    assert exam_of(made) != exam_of(header(8, 8)) == exam_of(header(16, 8))
    results.path("1-2-3").touch()
    results.prune(now=1000.0 + KEPT_SECONDS - 1)
    assert len(results.all()) == 1
    results.prune(now=1000.0 + KEPT_SECONDS + 1)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ScanError, match="removed after two days"):
        results.read("1-2-3")


def test_damaged_entry_is_left_out(tmp_path):
    results = Results(tmp_path)
    results.write(Result("1-2-3", "e", "chain", 1.0))
    (tmp_path / "1-2-4.json").write_text(json.dumps({"scan": 3}))
    (tmp_path / "1-2-5.json").write_text("{")
    assert [result.scan for result in results.all()] == ["1-2-3"]
