"""The plain form that the benchmark compares with computes the same network."""

import torch

from benchmarks.mr_ipt import Task, report, run


def test_the_plain_form_equals_the_network():
    task = Task(batch=5, depth=3, image=36, width=64, channels=4, window=4)
    results = {who: run(who, task) for who in ("plain", "onebreath")}
    torch.testing.assert_close(results["onebreath"].image, results["plain"].image, rtol=1e-4, atol=1e-5)
    assert "| onebreath |" in report(results, task)
