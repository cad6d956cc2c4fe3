"""Scans whose noise changes: an alarm on the page, in the log and in the metrics, and what a person does about it."""

import logging
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from prometheus_client import generate_latest

from onebreath.diagnostics.events import listening
from onebreath.web.trends import control, watch
from onebreath.worker.metrics import Metrics
from tests.host import tiny
from tests.host.test_worker import gadget_scan
from tests.host.wiring import CLOSE, encoded, start
from tests.scans import line_header
from tests.web.browser import browser, log_in
from tests.web.rows import PROTOCOLS, fill
from tests.web.served import Page, served

COLUMNS = "protocol, measure, kind, closed IS NOT NULL"


@pytest.fixture(autouse=True)
def short_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "BASELINE", 6)


def noise_lines(level: float, seed: int) -> bytes:
    """Lines of noise of a standard deviation, in real and imaginary part."""
    rng = np.random.default_rng(seed)
    made = []
    for row in range(8):
        head = line_header(row, 1000, tiny.COILS)
        head.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        samples = rng.standard_normal((tiny.COILS, 1000, 2)) @ np.array([1, 1j])
        made.append(ismrmrd.Acquisition(head, (level * samples).astype(np.complex64)))
    return encoded(*made)


def scan(page: Page, level: float, seed: int) -> None:
    """A scan with its noise, as a Gadgetron server sends it."""
    head = start(tiny.configuration(), tiny.header())
    data = b"".join([head, noise_lines(level, seed), *(encoded(line) for line in tiny.lines()), CLOSE])
    assert len(gadget_scan(page.worker, data).images) == 1


def test_louder_noise_is_an_alarm_everywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(lambda: {"running": [], "waiting": [], "reserved_mb": 0})
    with caplog.at_level(logging.WARNING), served(tmp_path) as page, listening(metrics.hear):
        for seed in range(6):
            scan(page, 0.1, seed)
        assert page.written()
        values = [row[0] for row in page.rows("SELECT noise FROM scans")]
        assert values == pytest.approx([0.1] * 6, rel=0.03), "in units of the raw data"
        scan(page, 0.1, 7)
        scan(page, 0.2, 8)
        assert page.written()
        assert page.rows("SELECT 1 FROM alarms WHERE measure = 'noise'") == [], "one scan is no alarm"
        scan(page, 0.2, 9)
        assert page.written()
        assert page.rows(f"SELECT {COLUMNS} FROM alarms WHERE measure = 'noise'") == [("test", "noise", "jump", 0)]
        assert "Noise of protocol 'test'" in caplog.text
        counted = generate_latest(metrics.registry).decode()
        assert 'onebreath_trend_alarms_total{kind="jump",measure="noise"} 1.0' in counted
        with browser() as seen:
            log_in(seen, page)
            assert "two of three scans lie outside" in seen.inner_text("#alarms")
            seen.click("#alarms a")
            seen.wait_for_selector("#chart-noise circle.alarmed")
            assert seen.locator("#chart-noise line.limit").count() == 2
            seen.click("#chart-noise button[value=seen]")
            seen.wait_for_selector("#chart-noise button[value=seen]", state="detached")
            assert seen.faults == []
        assert page.rows(f"SELECT {COLUMNS} FROM alarms WHERE measure = 'noise'") == [("test", "noise", "jump", 1)]
        scan(page, 0.2, 10)
        scan(page, 0.2, 11)
        assert page.written()
        assert len(page.rows("SELECT 1 FROM alarms WHERE measure = 'noise'")) == 2, "it is raised again"


def test_a_new_baseline_is_what_comes_from_here_on(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        fill(page.web.history, 200)
        assert page.written()
        there = {"Authorization": f"Bearer {page.token}"}
        for measure in watch.MEASURES:
            form = f"protocol={PROTOCOLS[0]}&measure={measure}&what=anew"
            assert page.ask("/trends/close", "POST", form, **there).status == 303
            (state,) = page.rows(
                f"SELECT state FROM charts WHERE protocol = '{PROTOCOLS[0]}' AND measure = '{measure}'"
            )
            assert '"sigma": 0.0' in state[0] or '"seen": 0' in state[0]
        for wrong in ("", "protocol=a", "protocol=a&measure=none", "measure=noise"):
            assert page.ask("/trends/close", "POST", wrong, **there).status == 400


def test_protocols_that_are_watched_are_not_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PROTOCOLS", 3)
    with served(tmp_path) as page:
        fill(page.web.history, 100)
        assert page.written()
        assert page.rows("SELECT COUNT(DISTINCT protocol) FROM charts") == [(3,)]
        assert page.get("/trends").status == 200


def test_charts_outlive_the_worker_and_damage_to_them_begins_them_anew(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        for seed in range(6):
            scan(page, 0.1, seed)
    with served(tmp_path) as page:
        scan(page, 0.2, 8)
        scan(page, 0.2, 9)
        assert page.written()
        assert page.rows("SELECT kind FROM alarms WHERE measure = 'noise'") == [("jump",)]
        page.web.history.put(lambda connection: connection.execute("UPDATE charts SET state = '{\"no\": 1}'"))
        scan(page, 0.2, 10)
        assert page.written()
        assert page.rows("SELECT COUNT(*) FROM scans") == [(9,)]
        assert page.get("/trends?protocol=test").status == 200
