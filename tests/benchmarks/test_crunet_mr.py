"""The plain transcription that the benchmark compares with computes the same network."""

import torch

from benchmarks.crunet_mr import Task, report, run
from benchmarks.timing import time_runs


def test_transcription_equals_the_network():
    task = Task(size=(4, 2, 18, 13), channels=6, cascades=2, runs=1)
    results = {who: run(who, task) for who in ("published", "onebreath")}
    torch.testing.assert_close(results["onebreath"].image, results["published"].image, rtol=1e-4, atol=1e-5)
    assert "| onebreath |" in report(results, task)


def test_what_is_called_float32_is_not_rounded_to_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    found = time_runs(lambda: torch.tensor(torch.backends.cudnn.allow_tf32), 2, "cpu")
    assert not found.image
    assert torch.backends.cudnn.allow_tf32
