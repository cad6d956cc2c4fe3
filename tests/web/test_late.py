"""Scans whose images are made later: one entry, of the later series, and nothing that is held for ever."""

from pathlib import Path

from tests.host import tiny
from tests.host.test_late import LATER, retrieve, sent
from tests.host.test_worker import client_scan, gadget_scan
from tests.host.workers import wait_for
from tests.web.served import served


def test_the_later_series_takes_the_quick_ones_place_and_both_are_in_the_log(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        quick = gadget_scan(page.worker, sent("cg_sense", *LATER)).images
        scan = quick[0].meta["Onebreath_host_scan"]
        assert len(retrieve(page.worker).images) == 1
        wait_for(lambda: page.written() and page.rows("SELECT side FROM scans") == [("spool",)])
        columns = "scan, side, outcome, images, method, protocol, latency, fallback"
        assert page.rows(f"SELECT {columns} FROM scans") == [
            (scan, "spool", "done", 1, "cg_sense", "test", None, 0),
        ]
        lines = " ".join(row[0] for row in page.rows(f"SELECT text FROM log WHERE scan = '{scan}'"))
        assert "method: zero_filled" in lines
        assert "method: cg_sense" in lines
        assert page.get(f"/scans/{scan}").text.count("The images were made by cg_sense") == 1
        assert "cg_sense" in page.get(f"/scans/{scan}/report").text


def test_what_is_held_of_scans_that_are_in_no_books_is_let_go(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        gadget_scan(page.worker, sent("cg_sense", *LATER))
        assert len(retrieve(page.worker).images) == 1
        client_scan(page.worker, tiny.stream())
        recorder = page.worker.service.observers[0].__self__
        assert page.written()
        recorder.tidy(set())
        recorder.tidy(set())
        assert recorder._scans == {}
        assert recorder._held == 0
