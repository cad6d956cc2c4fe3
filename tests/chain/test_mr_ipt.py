"""A static scan through MR-IPT: geometry, scale, and the choice in the meta."""

import h5py
import numpy as np
import pytest
import torch

from onebreath import zoo
from onebreath.cli import main
from onebreath.zoo.architectures import build
from tests.chain.running import images_of, pixels, run, simulated, steps, stream_of
from tests.helpers import nrmse
from tests.models import RESTORATION_TINY, details


@pytest.fixture
def model(tmp_path, monkeypatch):
    """An MR-IPT that changes nothing: what remains is what the chain does around it."""
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path / "models"))
    network = build("mr_ipt", RESTORATION_TINY["mr_ipt"])
    state = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    for group in range(4):
        state[f"heads.{group}.0.weight"][0, 0, 1, 1] = state[f"tails.{group}.weight"][0, 0, 1, 1] = 1
    zoo.save(state, details("mr_ipt.static"), tmp_path / "models")


def through_the_chain(scan, **parameters):
    chain = steps("mr_ipt", reconstruct={"model": "mr_ipt.static", "device": "cpu", **parameters})
    return images_of(run(scan.header, stream_of(scan), chain))


def test_geometry_and_scale(model):
    scan = simulated(slices=2, orientation="coronal_hf", position_mm=(-31.0, 12.5, 47.0), snr=500.0)
    made = through_the_chain(scan)
    assert nrmse(pixels(made), np.abs(scan.truth["image"][:, 0])) < 0.03
    for image in made:
        assert image.meta["Onebreath_reconstruct_model"] == "mr_ipt.static", "the fallback did not make it"
        np.testing.assert_allclose(image.getHead().position, scan.truth["position_mm"][image.slice], atol=1e-4)
        np.testing.assert_allclose(image.getHead().phase_dir, scan.truth["phase_dir"], atol=1e-6)
        np.testing.assert_allclose(image.getHead().field_of_view, (360, 290, 8), rtol=1e-6)


def test_an_accelerated_scan_and_its_choice_in_the_meta(model):
    scan = simulated(acceleration=2, acs_mode="embedded", acs_lines=16, snr=500.0)
    (image,) = through_the_chain(scan, data_consistency="cg", consistency_weight="0.001")
    assert nrmse(image.data[0, 0], np.abs(scan.truth["image"][0, 0])) < 0.06
    told = {
        name: image.meta[f"Onebreath_reconstruct_{name}"] for name in ("data_consistency", "mask_type_used", "prompts")
    }
    assert told == {"data_consistency": "cg", "mask_type_used": "equispaced", "prompts": "nearest"}
    assert float(image.meta["Onebreath_reconstruct_level_used"]) == 2


def test_replay_through_the_configuration(model, tmp_path):
    raw, out = tmp_path / "scan.h5", tmp_path / "images.h5"
    scan = ["--mode", "static", "--slices", "1", "--phases", "1", "--matrix", "48", "56", "--acceleration", "2"]
    assert main(["simulate", str(raw), *scan]) == 0
    assert main(["replay", "-f", str(raw), "-c", "Onebreath_Static_MRIPT.xml", "-o", str(out), "-G", "run"]) == 0
    with h5py.File(out) as file:
        pictures = file["run/image_1/data"][()]
        meta = str(file["run/image_1/attributes"][0])
    assert pictures.shape[-2:] == (48, 56)
    assert pictures.max() > 10 * np.median(pictures)
    assert "Onebreath_reconstruct_weights_sha256" in meta
