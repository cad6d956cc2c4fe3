"""Metrics: what a scan counts, as Prometheus' own parser reads it, and nothing that names a patient."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from onebreath.chain.notes import note
from onebreath.diagnostics import events
from onebreath.diagnostics.reports import report
from onebreath.errors import ConfigError, OnebreathError, ScanError, UnknownModel
from onebreath.worker.metrics import KINDS, Metrics, gpu_memory, serving_metrics
from tests.chain.running import run, simulated, steps

REPOSITORY = Path(__file__).parents[2]
BOOKS = {"running": [{}], "waiting": [{}, {}], "reserved_mb": 5, "memory_mb": 100}


def scrape(port: int) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def ticket(**changes: Any) -> Any:
    return SimpleNamespace(
        **{"side": "client", "outcome": "done", "images": 3, "started": 10.0, "ended": 12.5} | changes
    )


def test_a_scan_is_counted() -> None:
    metrics = Metrics(lambda: BOOKS)
    scan = simulated()
    with serving_metrics(metrics, 0) as port:
        run(scan.header, scan.acquisitions, steps("zero_filled"))
        metrics.scan_ended(ticket())
        metrics.scan_ended(ticket(side="connect", outcome="lost", images=0, started=None))
        events.tell("error", kind="ScanError")
        note("reconstruct", method="zero_filled", fallback="the model is not for this scan")
        found = scrape(port)
    assert found["onebreath_scans_total", "client", "done"] == 1
    assert found["onebreath_scans_total", "connect", "lost"] == 1
    assert found["onebreath_images_total",] == 3
    assert found["onebreath_scan_seconds_sum", "client"] == 2.5
    assert found["onebreath_errors_total", "ScanError"] == 1
    assert found["onebreath_fallbacks_total",] == 1
    assert found["onebreath_running_scans",], found["onebreath_waiting_scans",] == (1, 2)
    assert found["onebreath_reserved_bytes",] == 5e6
    for gadget in ("prewhiten", "sort", "reconstruct", "export"):
        assert found["onebreath_gadget_seconds_count", gadget] == 1
        assert found["onebreath_gadget_seconds_sum", gadget] > 0


def test_nothing_is_measured_when_nobody_listens() -> None:
    metrics = Metrics(lambda: BOOKS)
    with serving_metrics(metrics, 0):
        assert events.heard()
    assert not events.heard()
    events.tell("error", kind="ScanError")
    assert b'kind="ScanError"' not in bytes(str(list(metrics.registry.collect())), "utf-8")


def test_it_listens_on_this_machine_only_and_ends_with_its_thread() -> None:
    before = threading.active_count()
    with serving_metrics(Metrics(lambda: BOOKS), 0) as port:
        with pytest.raises(OnebreathError, match="cannot be served"), serving_metrics(Metrics(lambda: BOOKS), port):
            pass
        assert scrape(port)
    assert threading.active_count() <= before


def test_labels_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    metrics = Metrics(lambda: BOOKS)
    for number in range(3 * KINDS):
        metrics.hear("error", {"kind": f"Error{number}"})
    families = {family.name: family for family in metrics.registry.collect()}
    totals = [sample for sample in families["onebreath_errors"].samples if sample.name.endswith("_total")]
    assert len(totals) == KINDS + 1
    assert sum(sample.value for sample in totals) == 3 * KINDS


def test_memory_of_gpus_is_told_once_torch_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    used = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 2,
        mem_get_info=lambda number: (10 + number, 100),
        memory_reserved=lambda number: 5 * number,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=used))
    with serving_metrics(Metrics(lambda: BOOKS), 0) as port:
        found = scrape(port)
    assert found["onebreath_gpu_memory_bytes", "1", "free"] == 11
    assert found["onebreath_gpu_memory_bytes", "1", "worker"] == 5
    assert found["onebreath_gpu_memory_bytes", "0", "total"] == 100
    monkeypatch.setattr(used, "is_initialized", lambda: False)  # asking must not make a CUDA context
    assert list(gpu_memory()) == []


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_and_metrics_are_apart() -> None:
    troubles: list[str] = []
    with serving_metrics(Metrics(lambda: BOOKS), 0, troubles=lambda: troubles) as port:
        assert get(port, "/healthz") == (200, "ok\n")
        assert get(port, "/metrics")[0] == 200
        troubles += ["the client side accepts no connections", "scan 1 still runs"]
        assert get(port, "/healthz") == (503, "the client side accepts no connections\nscan 1 still runs\n")
        assert get(port, "/metrics")[0] == 200, "metrics are there when the worker is not well"
        for path in ("/", "/metricsx", "/healthz/x", "/favicon.ico"):
            assert get(port, path)[0] == 404


def test_rejected_configurations_are_counted() -> None:
    metrics = Metrics(lambda: BOOKS)
    with serving_metrics(metrics, 0) as port:
        report(ConfigError("gadget 'sort' has no property 'phase'"), "the host")
        report(UnknownModel("no model x"), "the host")
        report(ScanError("no lines"), "the host")
        found = scrape(port)
    assert found["onebreath_rejected_configurations_total",] == 2
    assert found["onebreath_errors_total", "ScanError"] == 1


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = json.loads((REPOSITORY / "docker" / "grafana.json").read_text())
    questions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    export = {"pacs": "A@b:1", "problem": ""} | dict.fromkeys(
        ("waiting", "scans", "sent", "refused", "failed", "lost"), 0
    )
    metrics = Metrics(lambda: BOOKS, (0.0, 1.0), lambda: [export])
    ends = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    names = {f"{family.name}{end}" for family in metrics.registry.collect() for end in ends[family.type]}
    asked = {name for question in questions for name in re.findall(r"onebreath_\w+", question)}
    assert len(asked) >= 10
    assert asked <= names, f"no such metrics: {asked - names}"
    families = {family.name for family in metrics.registry.collect()}
    shown = {name for name in families if any(one.startswith(name) for one in asked)}
    assert families == shown, f"not on the dashboard: {families - shown}"
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
