"""Rows of the benchmarks on a GPU, and the batch that they find for its training."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import crunet_mr, networks
from benchmarks.gpu import measure, steps, training
from onebreath.training.recipe import read_recipe
from onebreath.zoo.architectures import build
from tests.models import TINY


def test_a_row_that_fails_does_not_cost_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def broken() -> Iterator[measure.Row]:
        rounded.append(torch.backends.cudnn.allow_tf32)
        yield "first, small", "2 s", ""
        raise ValueError("no such card")

    rounded: list[bool] = []
    parts = {"first": broken, "second": lambda: [("second", "1 s", "")]}
    monkeypatch.setattr(measure, "parts", lambda sizes, work: parts)
    words = ["measure", "--out", str(tmp_path), "--work", str(tmp_path), "--rehearse"]
    monkeypatch.setattr(sys, "argv", words)
    assert measure.main() == 1
    rows = (tmp_path / "benchmarks.md").read_text()
    for row in ("first, small | 2 s", "first | failed: ValueError: no such card", "second | 1 s"):
        assert f"| {row} |  |" in rows
    assert rounded == [False]  # rows that say float32 are float32
    monkeypatch.setattr(sys, "argv", [*words, "--seconds", "-1"])
    assert measure.main() == 1
    assert (tmp_path / "benchmarks.md").read_text() == rows  # nothing was measured, nothing is overwritten


def test_what_a_run_had_no_time_for_is_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> Iterator[measure.Row]:
        time.sleep(0.3)
        yield "first", "1 s", ""

    monkeypatch.setattr(measure, "parts", lambda sizes, work: {"first": slow, "second": slow})
    words = ["measure", "--out", str(tmp_path), "--work", str(tmp_path), "--rehearse", "--seconds", "0.2"]
    monkeypatch.setattr(sys, "argv", words)
    assert measure.main() == 1
    assert "| second | not measured: time was over |  |" in (tmp_path / "benchmarks.md").read_text()


def test_every_network_has_a_row_with_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {**TINY, "prompt_mr": {**TINY["prompt_mr"], "window": 5}}
    small = {name: networks.Subject(name, arguments[name], (3, 2, 32, 24)) for name in ("crnn_mri", "prompt_mr")}
    monkeypatch.setattr(measure.networks, "subjects", lambda options: small)
    rows = list(measure.network_rows(measure.TINY))
    learned = sum(one.numel() for one in build("crnn_mri", arguments["crnn_mri"]).parameters())
    assert rows[0][0] == "crnn_mri, 3 x 32 x 24"
    assert rows[0][1].endswith(f" s; {learned:,} parameters")
    assert rows[1][1].startswith("not run, it needs 5 frames; ")


def test_the_measured_batch_goes_into_the_recipe(tmp_path: Path) -> None:
    assert training.fastest_batch(training.RECIPE, tmp_path, "cpu") == []
    steps.keep_batch(tmp_path, 32, crunet_mr.Task(device="cpu"))
    option, change = training.fastest_batch(training.RECIPE, tmp_path, "cpu")
    assert option == "--set"
    found, usual = read_recipe(training.RECIPE, [change]), read_recipe(training.RECIPE)
    assert found.batch == 32
    assert found.model_copy(update={"batch": usual.batch}) == usual
    other = training.RECIPE.with_name("mr_ipt.gpu.yaml")
    assert training.fastest_batch(other, tmp_path, "cpu") == []  # the batch was measured with another network


@pytest.mark.parametrize(
    "kept",
    [
        '{"batch": 32}',
        '{"batch": 32, "device": "NVIDIA A100, 39 GiB", "channels": 64, "cascades": 5}',
        '{"batch": 32, "device": "CPU", "channels": 4, "cascades": 2}',
    ],
)
def test_a_batch_of_another_machine_or_network_is_not_used(tmp_path: Path, kept: str, capsys) -> None:
    (tmp_path / "batch.json").write_text(kept)
    assert training.fastest_batch(training.RECIPE, tmp_path, "cpu") == []
    assert "batch 32 is not used: it was measured with" in capsys.readouterr().out


def test_the_share_of_the_peak_is_that_of_this_run(tmp_path: Path) -> None:
    (tmp_path / "peak.json").write_text('{"bf16_flops": 1.0}')
    peak = measure.Peak()
    rows = list(measure.training_rows(measure.TINY, tmp_path, peak))
    assert all("peak not measured" in found for _, found, _ in rows)
    peak.bf16_flops = 1e12
    assert "% of the peak" in next(measure.training_rows(measure.TINY, tmp_path, peak))[1]
