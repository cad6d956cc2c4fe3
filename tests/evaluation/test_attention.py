import numpy as np
import pytest
import torch
from PIL import Image

from onebreath.errors import ModelError
from onebreath.evaluation.figures.attention import attention_figure, by_panel, main, spectra_of
from tests.methods.slices import lines, synthetic
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
    spectra = tmp_path / "spectra.png"
    words = ["a_liknet.tiny", "--channels", "4", "--output", str(file), "--spectra", str(spectra)]
    assert main(words) == status
    assert file.exists() == spectra.exists() == (status == 0)
    if status:
        assert "'a_liknet.tiny' has no attention over frames or coils" in capsys.readouterr().err


def test_singular_values_before_and_after_the_low_rank_branch(tmp_path, monkeypatch):
    """The largest falls; those far below the threshold rise towards half of it, as published: they are not cut off."""
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    small = {"frames": 6, "coils": 4, "iterations": 2, "channels": 2, "kspace_channels": [2, 2]}
    save_model(tmp_path, "a_liknet.tiny", arguments=small)
    data = synthetic(np.stack([lines(32, 2)] * 6), 32, 24, coils=4, acs=12).data
    before, after = spectra_of("a_liknet.tiny", data)
    assert before.shape == (2, 6)
    np.testing.assert_allclose(before[:, 0], 1)
    for values in (before, after):
        assert (np.diff(values, axis=1) <= 0).all()
    assert (after[:, 0] < 1).all()
    assert (after[:, -1] > before[:, -1]).all()
    save_model(tmp_path, "a_liknet.without", arguments={**small, "low_rank_branch": False})
    with pytest.raises(ModelError, match="has no low-rank branch"):
        spectra_of("a_liknet.without", data)
