"""The ledger: it resumes, counts what came, and would see a silent failure."""

import json
import random
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.ledger import __main__ as ledger
from benchmarks.ledger import faults, site
from benchmarks.ledger.clocked import jumping
from benchmarks.ledger.site import SIDES, lines_of, without_noise
from benchmarks.ledger.talk import Seen
from benchmarks.scans import make_scan
from onebreath.errors import OnebreathError
from onebreath.wire.messages import Text

DOCUMENT = f"before\n{ledger.BEGIN}\nold\n{ledger.END}\nafter\n"


@pytest.fixture
def scan():
    return make_scan("static", "cg_sense", 32, 4)


def test_a_short_ledger_has_no_silent_failure_resumes_and_is_written_down(tmp_path, capsys, monkeypatch):
    order = ["none", "client cut off", "noise missing", "other channels", "late images harmed", "no memory"]
    monkeypatch.setattr(ledger, "of_scan", order.__getitem__)
    path, document = tmp_path / "ledger.jsonl", tmp_path / "document.md"
    assert ledger.main(["--scans", "2", "--ledger", str(path)]) == 0
    path.write_text(path.read_text().splitlines()[1] + '\n{"scan": 3, "fa')  # broken off, and the first scan is missing
    assert ledger.main(["--scans", str(len(order)), "--ledger", str(path), "--sites", "2"]) == 0
    assert sorted(entry["scan"] for entry in ledger.entries(path)) == list(range(len(order)))
    found = sorted(ledger.entries(path), key=lambda entry: entry["scan"])
    assert [entry["fault"] for entry in found] == order
    assert [entry["outcome"] for entry in found[:4]] == ["images", "left", "images", "images"]
    assert "| silent failure | 0 | 0.000 to 45.926 % | 0 |" in capsys.readouterr().out
    document.write_text(DOCUMENT)
    ledger.main(["--ledger", str(path), "--into", str(document)])
    written = document.read_text()
    assert "6 replayed scans with injected faults" in written
    assert "old" not in written
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    document.write_text("no place")
    with pytest.raises(OnebreathError, match="has no place for the ledger"):
        ledger.main(["--ledger", str(path), "--into", str(document)])


def image(value=1.0):
    return type("Image", (), {"slice": 0, "phase": 0, "image_index": 0, "data": np.full((2, 2), value)})()


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (Seen([image()]), "images"),
        (Seen([image(1.001)]), "silent failure"),
        (Seen([image(), image()]), "silent failure"),
        (Seen(), "silent failure"),
        (Seen(text="an error"), "clear error"),
        (Seen(broken="ConnectionResetError: reset"), "broken connection"),
        (Seen(broken="TimeoutError: no answer"), "silent failure"),
        (Seen(left=True), "left"),
    ],
)
def test_another_image_or_none_is_a_silent_failure(seen, outcome):
    assert seen.outcome(np.ones((1, 2, 2))) == outcome


def test_an_image_where_there_must_be_none_is_a_silent_failure():
    assert Seen([image()]).outcome(None) == "silent failure"


def test_a_warning_is_no_error():
    seen = Seen()
    seen.take(Text("WRN: 1 line was left out"))
    assert (seen.warned, seen.text) == (True, "")
    seen.take(Text("ERROR: no"))
    assert seen.text == "ERROR: no"


@pytest.mark.parametrize("fault", [faults.garbage, faults.sample, faults.header, faults.configuration, faults.model])
def test_a_fault_changes_the_scan_each_time_in_its_own_way(fault, scan):
    changed = [fault(scan, random.Random(seed)) for seed in range(20)]
    assert scan not in changed
    assert len(set(changed)) > 1
    assert fault(scan, random.Random(3)) == changed[3]


def test_a_wrong_configuration_reaches_the_worker_on_both_sides_as_it_is(scan):
    for text in (b"<configuration><gadget name='\xff'/></configuration>", b"<configuration><gadget", b"", b"\xff\0<x>"):
        wrong = replace(scan, config=text)
        assert all(text in wrong.for_side(side) for side in SIDES)
        assert wrong.for_host().endswith(wrong.lines)


def test_each_200_scans_meet_all_faults_in_an_order_of_their_own():
    one, other = ([faults.of_scan(number) for number in range(start, start + 200)] for start in (0, 200))
    assert Counter(one) == Counter(other) == {name: share for name, (share, _) in faults.FAULTS.items()}
    assert one != other


def test_a_worker_that_is_not_up_in_time_is_no_fault_of_a_scan(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "START", 0.0)
    path = tmp_path / "ledger.jsonl"
    with pytest.raises(site.TooBusy):
        ledger.main(["--scans", "2", "--ledger", str(path)])
    assert list(ledger.entries(path)) == []


def test_lines_are_told_apart_and_noise_is_left_out(scan):
    assert b"".join(lines_of(scan.lines)) == scan.lines
    count = len(list(lines_of(scan.lines)))
    assert len(list(lines_of(without_noise(scan.lines)))) == count - 32


def test_the_clock_is_ahead_by_what_the_file_says(tmp_path):
    clock = jumping(time.time, tmp_path / "clock")
    assert clock() == pytest.approx(time.time(), abs=60)
    (tmp_path / "clock").write_text("86400")
    assert clock() == pytest.approx(time.time() + 86400, abs=60)


def test_intervals_are_those_of_clopper_and_pearson():
    assert ledger.interval(0, 10_000)[1] == pytest.approx(3.69e-4, rel=1e-2)
    assert ledger.interval(5, 10) == pytest.approx((0.187, 0.813), abs=1e-3)
    assert json.dumps(ledger.interval(10, 10)[1]) == "1.0"
