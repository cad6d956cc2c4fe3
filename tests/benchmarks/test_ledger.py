"""The ledger: it resumes, counts what came, and would see a silent failure."""

import json
import random

import numpy as np
import pytest

from benchmarks import ledger
from benchmarks.worker import make_scan


def test_a_short_ledger_has_no_silent_failure_and_resumes(tmp_path, capsys):
    path = tmp_path / "ledger.jsonl"
    assert ledger.main(["--scans", "3", "--ledger", str(path)]) == 0
    path.write_text(path.read_text() + '{"scan": 3, "fa')  # broken off
    with path.open("a"):
        assert ledger.main(["--scans", "3", "--ledger", str(path)]) == 0
    found = list(ledger.entries(path))
    assert [entry["fault"] for entry in found] == ["none", "cut", "reset"]
    assert [entry["outcome"] for entry in found] == ["images", "left", "left"]
    assert "| silent failure | 0 | 0.00 to 70.76 % | 0 |" in capsys.readouterr().out


def test_another_image_or_none_is_a_silent_failure():
    expected = np.ones((1, 2, 2))
    assert ledger.judge("none", 1.0, [], "", expected) == "silent failure"
    assert ledger.judge("none", 1.0, [], "an error", expected) == "clear error"
    assert ledger.judge("cut", 0.5, [], "", expected) == "left"
    image = type("Image", (), {"slice": 0, "phase": 0, "image_index": 0, "data": np.ones((2, 2))})()
    assert ledger.judge("none", 1.0, [image], "", expected) == "images"
    image.data = image.data * 1.001
    assert ledger.judge("none", 1.0, [image], "", expected) == "silent failure"


@pytest.mark.parametrize("fault", ledger.FAULTS)
def test_a_fault_changes_the_scan_or_how_much_is_sent(fault):
    scan = make_scan("static", "cg_sense", 32, 4)
    changed, part = ledger.with_fault(scan, fault, random.Random(1))
    assert (changed == scan and part == 1.0) == (fault in ("none", "pause"))


def test_intervals_are_those_of_clopper_and_pearson():
    assert ledger.interval(0, 10_000)[1] == pytest.approx(3.69e-4, rel=1e-2)
    assert ledger.interval(5, 10) == pytest.approx((0.187, 0.813), abs=1e-3)
    assert json.dumps(ledger.interval(10, 10)[1]) == "1.0"
