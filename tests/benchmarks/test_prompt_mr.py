"""The plain transcription that the benchmark compares with computes the same network."""

import torch

from benchmarks.prompt_mr import Task, report, run

TINY = (
    ("cascades", 3),
    ("channels", (8, 4, 4, 4)),
    ("prompt_channels", (2, 2, 2)),
    ("sensitivity_channels", (4, 4, 4, 4)),
    ("sensitivity_prompt_channels", (2, 2, 2)),
    ("encoder_blocks", (2, 1, 1)),
    ("decoder_blocks", (1, 1, 1)),
    ("bottleneck_blocks", 1),
    ("at_once", 3),
)


def test_series_equals_passes_for_each_frame():
    task = Task(size=(6, 2, 18, 13), runs=1, arguments=TINY)
    results = {who: run(who, task) for who in ("published", "onebreath")}
    torch.testing.assert_close(results["onebreath"].image, results["published"].image, rtol=1e-4, atol=1e-5)
    assert "| onebreath |" in report(results, task)
