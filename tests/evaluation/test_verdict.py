"""Stored tables say of each method whether it differs from the reference, with n and p."""

import json

import numpy as np
import pytest

from onebreath.evaluation.compare import Result
from onebreath.evaluation.summary import summarise
from onebreath.evaluation.verdict import main


def result(method, number, psnr):
    values = {
        "overall": {"psnr": psnr, "ssim": 0.92 if method == "more" else 0.9},
        "dynamic": {"psnr": psnr - 2, "ssim": 0.8},
    }
    return Result("R=8", "A", f"slice{number}", method, "the images", measures={"strict": values}, seconds=1.0)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    shifts = {"whole": 0.0, "less": -0.5, "more": 0.4, "same": 0.0}
    results = [
        result(name, number, 30 + number + shift + (0.3 * (-1) ** number if name == "same" else 0.01 * rng.random()))
        for name, shift in shifts.items()
        for number in range(11)
    ]
    groups = summarise(results, list(shifts), "whole", "strict")
    (tmp_path / "table.json").write_text(json.dumps({"settings": {}, "titles": {}, "groups": groups}))
    return tmp_path


def test_differences_are_told_from_none_seen(folder, capsys):
    assert main([str(folder), "--title", "Ablation", "--note", "100 steps each."]) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "Ablation\n\n100 steps each.\n\n**R=8**; 11 slices of 1 patient; reference whole, 3 compared"
    )
    rows = {line.split(" | ")[0][2:]: line.strip("| ").split(" | ") for line in text.splitlines() if line[:2] == "| "}
    assert rows["whole"][4:] == ["reference", "reference"]
    assert rows["less"][4] == "worse: -0.50 dB, n = 11, p = 0.0029"  # three times 2 / 2^11
    assert rows["more"][4] == "better: +0.40 dB, n = 11, p = 0.0029"
    assert rows["same"][4].startswith("no difference seen: ")
    assert rows["less"][5] == "no difference seen: +0.0000, n = 11, p = 1"
    assert rows["more"][5] == "better: +0.0200, n = 11, p = 0.0029"


def test_a_folder_without_a_table_is_named(tmp_path, capsys):
    assert main([str(tmp_path), "--title", "x"]) == 1
    assert "is no table of `onebreath evaluate`" in capsys.readouterr().err
    (tmp_path / "table.json").write_text("[]")
    assert main([str(tmp_path), "--title", "x"]) == 1
    assert "it has no groups" in capsys.readouterr().err
