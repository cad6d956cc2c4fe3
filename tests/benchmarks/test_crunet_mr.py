"""The plain transcription that the benchmark compares with computes the same network."""

import torch

from benchmarks.crunet_mr import Task, report, run


def test_transcription_equals_the_network():
    task = Task(size=(4, 2, 18, 13), channels=6, cascades=2, runs=1)
    results = {who: run(who, task) for who in ("published", "onebreath")}
    torch.testing.assert_close(results["onebreath"].image, results["published"].image, rtol=1e-4, atol=1e-5)
    assert "| onebreath |" in report(results, task)
