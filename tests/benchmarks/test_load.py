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


def met(load_, watch, alone=None):
    return {what: verdict for what, _, _, verdict in load.judged(load_, watch, alone)}


def test_each_target_is_judged(tmp_path):
    def made(times, wrong=()):
        return load.Load(
            tmp_path, {}, {}, 3, 0.0, times=times, live=times, wrong=list(wrong), attempts=dict.fromkeys("abcde", 1)
        )

    def watched(growth=0.0, descriptors=7, threads=10):
        rows = [(float(second), 300 + growth * second / 60 + second % 2, 7, 10) for second in range(400)]
        return load.Watch([*rows, (400.0, 300 + growth * 400 / 60, descriptors, threads)])

    quiet, good = made([1.0, 1.0, 1.0]), made([1.9, 1.9, 1.9])
    assert "NO" not in met(good, watched(), quiet).values()
    assert met(made([2.1, 2.1, 2.1]), watched(), quiet)["live scan, s: median without them, with them"] == "NO"
    assert met(made([1.0, 1.0]), watched())["scans answered as alone"] == "NO"
    assert met(made([1.0, 1.0, 1.0], ["scan 1"]), watched())["wrong or missing"] == "NO"
    assert met(good, watched(growth=3.0))["growth after the warm-up, MB per minute"] == "NO"
    assert met(good, watched(descriptors=30))["descriptors: begin, end"] == "NO"
    assert met(good, watched(threads=30))["threads: begin, end"] == "NO"
    short = load.Watch([(0.0, 300.0, 7, 10), (20.0, 400.0, 7, 10), (40.0, 500.0, 7, 10)])
    assert met(good, short)["growth after the warm-up, MB per minute"] == ""
