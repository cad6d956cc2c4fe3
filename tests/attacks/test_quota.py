"""What raw data and results may take of the disk."""

import shutil
import threading

import pytest

from onebreath.keeping import Space
from onebreath.worker import late as late_module
from onebreath.worker.worker import Worker, WorkerOptions
from tests.host import standin, tiny
from tests.host.test_late import LATER, sent
from tests.host.test_worker import gadget_scan
from tests.host.workers import books, wait_for, worker


def test_what_a_folder_takes_is_bounded(tmp_path):
    space = Space(tmp_path, quota=1000)
    (tmp_path / "a").write_bytes(bytes(600))
    space.take(300)
    with pytest.raises(OSError, match="quota"):
        space.take(300)
    with pytest.raises(OSError, match="stay free"):
        Space(tmp_path / "not/there/yet", reserve=1 << 60).take(shutil.disk_usage(tmp_path).free)
    Space(tmp_path, reserve=1).take(1)


def test_a_waiting_scan_beyond_the_quota_waits_in_its_sender_and_a_later_one_is_refused(tmp_path):
    with worker(tmp_path, slots=1, quota=20_000) as running:
        with standin.connect(running.listeners["gadget"].address) as holding:
            holding.send(tiny.pieces(tiny.configuration())[0])
            wait_for(lambda: books(running, "running"))
            found = []
            waiting = threading.Thread(target=lambda: found.append(gadget_scan(running)))
            waiting.start()
            wait_for(lambda: books(running, "waiting"))
        waiting.join(60)
        assert found[0].images
        (tmp_path / "state/spool").mkdir(parents=True, exist_ok=True)
        (tmp_path / "state/spool/full").write_bytes(bytes(20_000))
        running.service.late.space._measured = -10.0
        assert "quota of 0 MB" in gadget_scan(running, sent("cg_sense", *LATER)).text


def test_late_scans_are_not_promised_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(late_module, "PROMISED", 1)
    with worker(tmp_path, slots=1) as running:
        monkeypatch.setattr(running.service.late, "_queue", Full())
        assert "which is as many as may" in gadget_scan(running, sent("cg_sense", *LATER)).text
        monkeypatch.undo()
        assert gadget_scan(running).images


class Full:
    """A queue with one scan in it that never comes out."""

    def qsize(self):
        return 1

    def get(self, timeout):
        import queue
        import time

        time.sleep(timeout)
        raise queue.Empty


def test_the_options_of_the_worker_bound_its_disk(tmp_path):
    with Worker(WorkerOptions(port=None, state=tmp_path, quota=7, reserve=9)) as running:
        assert (running.service.late.space.quota, running.service.late.space.reserve) == (7, 9)
