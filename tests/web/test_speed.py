"""Ten thousand scans of history: every page is made within 200 ms of processor time."""

import time
from pathlib import Path

from benchmarks.history import PAGES
from tests.web.rows import PROTOCOLS, fill
from tests.web.served import served

SCANS, SECONDS = 10_000, 0.2


def test_every_page_is_quick_with_ten_thousand_scans(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        fill(page.web.history, SCANS)
        assert page.written()
        assert page.rows("SELECT COUNT(*) FROM scans") == [(SCANS,)]
        for name, path in PAGES.items():
            took = []
            for _ in range(4):
                begun = time.process_time()  # of all threads: it does not depend on what else the computer does
                answer = page.get(path)
                took.append(time.process_time() - begun)
                assert answer.status == 200
            assert min(took) <= SECONDS, f"{name}: {1e3 * min(took):.0f} ms"
        charts = page.get(f"/trends?protocol={PROTOCOLS[0]}").text
        assert charts.count('<svg class="chart"') == 5
        first = page.get("/scans").text
        assert first.count("<tr data-scan") == 50
        assert f'data-scan="20260101-{SCANS - 1:06d}-abcdef"' in first
        before = int(first.rpartition("before=")[2].partition('"')[0])
        second = page.get(f"/scans?before={before}").text
        assert f'data-scan="20260101-{SCANS - 51:06d}-abcdef"' in second


def test_a_scan_costs_the_same_when_there_are_many(tmp_path: Path) -> None:
    """What is written for a scan does not grow with the history: as a ratio, in processor time of the same run."""
    with served(tmp_path) as page:
        took = []
        for first in range(4):
            begun = time.process_time()
            fill(page.web.history, 1500, first=1500 * first)
            assert page.written()
            took.append(time.process_time() - begun)
        assert took[-1] < 3 * min(took)
