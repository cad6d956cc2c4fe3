"""Networks for magnitude images on held-out images."""

import json

import numpy as np
import pytest
import torch

from onebreath.cli import main
from onebreath.evaluation.restoration import Study, study_images, table
from onebreath.training.data.image_preparation import prepare_images
from onebreath.training.recipe import write_recipe
from onebreath.zoo.architectures import build
from tests.models import RESTORATION_TINY, save_model
from tests.training.test_restoration import recipe


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return prepare_images(recipe(), tmp_path_factory.mktemp("images"))["validate"]


def identity():
    """An MR-IPT that changes nothing."""
    network = build("mr_ipt", RESTORATION_TINY["mr_ipt"])
    state = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    for group in range(4):
        state[f"heads.{group}.0.weight"][0, 0, 1, 1] = state[f"tails.{group}.weight"][0, 0, 1, 1] = 1
    network.load_state_dict(state)
    return network.eval()


def test_a_network_that_changes_nothing_scores_as_the_zero_filled_image(stored):
    study = Study(("random", "gaussian_2d"), (2.0, 5.0), images=2, phase=True)
    scores = {
        (one.method, one.mask_type, one.acceleration): one for one in study_images({"same": identity()}, stored, study)
    }
    assert len(scores) == 12
    for kind in study.types:
        plain = [scores["zero_filled", kind, ratio] for ratio in (2.0, 5.0)]
        assert plain[0].mean["psnr"] > plain[1].mean["psnr"] + 1
        for ratio, one in zip((2.0, 5.0), plain, strict=True):
            for name in ("same", "same+dc"):
                assert scores[name, kind, ratio].mean["psnr"] == pytest.approx(one.mean["psnr"], rel=1e-4)
    one = scores["same", "random", 2.0]
    assert one.n == 2
    assert one.std["psnr"] == pytest.approx(np.std(one.values["psnr"], ddof=1))


def test_data_consistency_brings_a_poor_network_nearer(stored):
    torch.manual_seed(0)
    network = build("unet", RESTORATION_TINY["unet"]).eval()
    scores = {one.method: one for one in study_images({"poor": network}, stored, Study(("equispaced",), (2.0,)))}
    assert scores["poor+dc"].mean["nmse"] < 0.8 * scores["poor"].mean["nmse"]


def test_the_table_has_a_row_for_each_method_and_mask(stored):
    scores = study_images({"same": identity()}, stored, Study(("random",), (2.0, 4.0), images=1))
    lines = table(scores, "psnr").splitlines()
    assert lines[0] == "| mask | method | R=2 | R=4 |"
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["zero_filled", "same", "same+dc"]
    assert "±" not in "".join(lines)  # of a single image


def test_compare_and_few_shot_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path / "models"))
    save_model(tmp_path / "models", "unet.tiny")
    save_model(tmp_path / "models", "crunet_mr.tiny")
    file = tmp_path / "recipe.yaml"
    file.write_text(write_recipe(recipe("unet", steps=3)))
    common = ["--recipe", str(file), "--folder", str(tmp_path / "out"), "--accelerations", "4", "--types", "random"]
    assert main(["images", "compare", "unet.tiny", *common]) == 0
    assert "| random | unet.tiny+dc |" in capsys.readouterr().out
    save_model(tmp_path / "models", "mr_ipt.tiny")
    assert main(["images", "compare", "mr_ipt.tiny", "unet.tiny", *common]) == 0
    rows = (tmp_path / "out" / "against.md").read_text().splitlines()
    assert rows[2].startswith("| mr_ipt.tiny | ") and " dB, n = " in rows[2]
    assert rows[3].startswith("| unet.tiny | ") and rows[3].endswith("| reference | reference |")
    assert main(["images", "compare", "crunet_mr.tiny", *common]) == 1
    assert "compare it with: onebreath evaluate" in capsys.readouterr().err
    few = ["images", "few-shot", "--start", "unet.tiny", "--device", "cpu", *common, "--samples"]
    assert main([*few, "1", "3"]) == 0
    found = json.loads((tmp_path / "out" / "few-shot.json").read_text())
    assert [one["method"] for one in found] == ["zero_filled", "1 samples", "1 samples+dc", "3 samples", "3 samples+dc"]
    assert np.isfinite([one["mean"]["psnr"] for one in found]).all()
    assert main([*few, "9999"]) == 1
    assert "the recipe's sources have 4 images" in capsys.readouterr().err


def test_pre_trained_and_new_weights_are_compared_by_image(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path / "models"))
    save_model(tmp_path / "models", "unet.tiny")
    file = tmp_path / "recipe.yaml"
    file.write_text(write_recipe(recipe("unet", steps=2)))
    words = ["images", "few-shot", "--recipe", str(file), "--folder", str(tmp_path / "out"), "--device", "cpu"]
    words += ["--accelerations", "2", "4", "--types", "random", "--samples", "1", "2", "--new"]
    assert main(words) == 1
    assert "--new compares with --start" in capsys.readouterr().err
    assert main([*words, "--start", "unet.tiny"]) == 0
    rows = (tmp_path / "out" / "pairs.md").read_text().splitlines()[2:]
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [row[0] for row in cells] == ["1", "2"]
    found = json.loads((tmp_path / "out" / "few-shot.json").read_text())
    single = [one["values"]["psnr"] for one in found if one["method"] == "2 samples, new"]
    assert cells[1][1].startswith(f"{np.mean(single):.2f} ± ")
    assert f"n = {len(single[0])}, p = " in cells[1][3]
