import numpy as np
import pytest
import torch
from PIL import Image

from onebreath.evaluation.figures.attention import attention_figure, by_panel, main
from tests.models import save_model


def test_weights_are_ordered_by_iteration_and_averaged_over_windows():
    windows = torch.tensor([0.0, 0.5]).view(-1, 1, 1).expand(2, 2, 8)
    weights = {f"iterations.{n}.image.denoiser.attentions.0": windows + 0.01 * n for n in (10, 2, 0)}
    found = by_panel(weights)
    assert list(found) == ["frames"]
    assert found["frames"].shape == (2, 3, 8)
    np.testing.assert_allclose(found["frames"][0, :, 0], [0.25, 0.27, 0.35], rtol=1e-6)


def test_the_figure_is_written(tmp_path):
    maps = {"frames": np.random.default_rng(0).random((2, 3, 8)), "coils, first layer": np.ones((2, 3, 10))}
    attention_figure(tmp_path / "attention.png", maps)
    with Image.open(tmp_path / "attention.png") as picture:
        assert np.asarray(picture).std() > 0


@pytest.mark.parametrize(("coil_attention", "status"), [(True, 0), (False, 1)], ids=["with attention", "without"])
def test_the_weights_of_a_model_on_a_scan_are_drawn(tmp_path, monkeypatch, capsys, coil_attention, status):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    small = {"frames": 6, "coils": 4, "iterations": 2, "channels": 2, "kspace_channels": [2, 2], "image_branch": False}
    save_model(tmp_path, "a_liknet.tiny", arguments={**small, "coil_attention": coil_attention})
    file = tmp_path / "attention.png"
    assert main(["a_liknet.tiny", "--channels", "4", "--output", str(file)]) == status
    assert file.exists() == (status == 0)
    if status:
        assert "'a_liknet.tiny' has no attention over frames or coils" in capsys.readouterr().err
