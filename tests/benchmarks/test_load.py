"""The load test itself: a short run, and its judgement of memory."""

import numpy as np
import pytest

from benchmarks import load


def test_short_run_is_right_and_leaves_nothing_behind(capsys):
    assert load.main(["--clients", "3", "--scans", "4", "--seconds", "1", "--matrix", "64", "--cold"]) == 0
    rows = dict(line.split(" | ")[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("| "))
    assert rows["| scans answered as alone"] == "4 of 4"
    first, last = rows["| descriptors: begin, end"].split(", ")
    assert int(last) <= int(first)


@pytest.mark.parametrize("growth", [0.0, 3.0])
def test_slope_finds_growth_and_its_error(growth):
    rng = np.random.default_rng(0)
    watch = load.Watch()
    for second in np.arange(0, 600, 0.5):
        start_up = 200 * np.exp(-second / 20)
        watch.rows.append((second, 300 - start_up + growth * second / 60 + rng.normal(0, 5), 10, 5))
    slope, error = watch.slope()
    assert abs(slope - growth) < 4 * error
    assert error < 0.5


def test_one_sample_after_the_warm_up_tells_no_growth():
    watch = load.Watch(rows=[(0.0, 372.0, 9, 13), (0.5, 400.0, 8, 14), (2.0, 399.0, 6, 10)])
    assert np.isnan(watch.slope()).all()


def test_wrong_image_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "address", lambda *_: None)
    monkeypatch.setattr(load, "send", lambda *_: load.Answer([], 1.0, 1.0))
    monkeypatch.setattr(load, "pixels", lambda _: np.ones(3))
    expected = {"cine": np.ones(3), "static": np.array([1, 1, 1.001])}
    run = load.Load(tmp_path, dict.fromkeys(load.SIZES), expected, 4, 0.0)
    run.client()
    assert len(run.times) == 4
    assert [text.split(":")[0] for text in run.wrong] == ["scan 1 (static, gadget)", "scan 3 (static, client)"]
