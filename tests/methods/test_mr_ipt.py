"""The method `mr_ipt`: magnitude by the network, phase and samples by the scan."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from onebreath import zoo
from onebreath.errors import ConfigError, MethodError, ModelError
from onebreath.methods.cg_sense import CgSense
from onebreath.methods.learned.mr_ipt import MrIpt
from onebreath.methods.learned.unrolled import Unrolled
from onebreath.mri.fourier import fft2c
from onebreath.mri.sense import SenseOperator
from onebreath.networks.mr_ipt.mr_ipt import LEVELS, TYPES
from tests.helpers import nrmse, relative_error
from tests.methods.slices import lines, synthetic
from tests.models import save_model


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    return tmp_path


def method(name="mr_ipt.tiny", **parameters):
    return MrIpt(model=name, device="cpu", **parameters)


@pytest.fixture
def case():
    return synthetic(lines(40, 4, 8), ny=40, nx=36, coils=4)


def combined(data):
    return SenseOperator(data.maps, data.mask).adjoint(data.kspace)


def by_hand(data, name, level, kind):
    """The network's image, called as in the paper."""
    start = combined(data)
    scale = np.abs(start).max()
    image = torch.from_numpy(np.abs(start) / scale)[:, None].float()
    with torch.inference_mode():
        made = zoo.load(name).network(image, [level], [kind])[:, 0].clamp_min(0).numpy()
    return made * scale * np.exp(1j * np.angle(start))


@pytest.mark.parametrize("architecture", ["mr_ipt", "unet", "vit"])
def test_without_data_consistency_it_is_the_network_with_the_phase_of_the_scan(root, case, architecture):
    save_model(root, f"{architecture}.tiny")
    result = method(f"{architecture}.tiny", data_consistency="off")(case.data)
    # 40 lines, 16 acquired: R = 2.5, nearest is 2.
    # Random weights with instance normalisation magnify what single precision rounds.
    assert relative_error(result.images, by_hand(case.data, f"{architecture}.tiny", 0, 1)) <= 2e-4
    assert result.facts["data_consistency"] == "off"
    assert isinstance(result.images, np.ndarray)


def test_the_choice_is_told(root, case):
    facts = method_facts(root, case)
    assert (facts["mask_type_found"], facts["mask_type_used"], facts["level_used"]) == ("equispaced", "equispaced", 2.0)
    assert facts["acceleration_found"] == 2.5
    assert facts["prompts"] == "nearest"
    assert facts["data_consistency"] == "replace"
    interpolated = method_facts(root, case, prompts="interpolated")
    assert interpolated["prompts"] == "interpolated, 0.25"
    save_model(root, "unet.tiny")
    assert "alike" in method("unet.tiny")(case.data).facts["told"]


def method_facts(root, case, **parameters):
    if not (root / "mr_ipt.tiny").exists():
        save_model(root, "mr_ipt.tiny")
    return method(**parameters)(case.data).facts


def test_an_interpolated_prompt_changes_the_image(root, case):
    save_model(root, "mr_ipt.tiny")
    images = [method(prompts=how, data_consistency="off")(case.data).images for how in ("nearest", "interpolated")]
    assert relative_error(*images) > 0


def test_with_one_coil_the_measured_samples_come_back(root):
    case = synthetic(lines(40, 4, 8), ny=40, nx=36, coils=1)
    data = replace(case.data, maps=np.ones_like(case.data.maps))
    save_model(root, "mr_ipt.tiny")
    kspace = fft2c(method()(data).images)
    mask = np.broadcast_to(data.mask, kspace.shape)
    assert relative_error(kspace[mask], data.kspace[:, 0][mask]) <= 1e-5
    assert np.abs(kspace[~mask]).max() > 0, "the network fills the rest"


def test_data_consistency_comes_nearer_to_the_data(root, case):
    save_model(root, "mr_ipt.tiny")
    operator = SenseOperator(case.data.maps, case.data.mask)

    def error(**how):
        return nrmse(operator.forward(method(**how)(case.data).images), case.data.kspace)

    off, replaced = error(data_consistency="off"), error()
    assert replaced < 0.2 * off
    assert error(data_consistency="cg", consistency_weight=1e-3) < replaced
    assert 0.1 * off < error(data_consistency="cg", consistency_weight=10) < off


def test_cg_with_a_light_network_is_cg_sense(root, case):
    save_model(root, "mr_ipt.tiny")
    ours = method(data_consistency="cg", consistency_weight=1e-3)(case.data)
    sense = CgSense(regularisation=1e-3, device="cpu")(case.data)
    assert nrmse(ours.images, sense.images) < 0.1
    assert ours.facts["consistency_weight"] == 1e-3


def test_images_keep_the_units_of_the_data(root, case):
    save_model(root, "mr_ipt.tiny")
    large = replace(case.data, kspace=case.data.kspace * np.float32(1e4))
    assert relative_error(method()(large).images, method()(case.data).images * 1e4) <= 1e-4


def test_frames_do_not_see_each_other(root):
    case = synthetic(np.stack([lines(40, 4, 8), lines(40, 4, 8)]), ny=40, nx=36, coils=2)
    save_model(root, "mr_ipt.tiny")
    changed = replace(case.data, kspace=case.data.kspace * np.array([1, 3], np.float32)[:, None, None, None])
    first, second = method()(case.data).images, method()(changed).images
    assert relative_error(second[0], first[0]) <= 1e-5
    assert relative_error(second[1], 3 * first[1]) <= 1e-4


def test_released_weights_see_their_lines_along_the_other_axis(root, case):
    save_model(root, "mr_ipt.tiny")
    save_model(root, "mr_ipt.across", conventions={"normalisation": "max_image", "phase_encoding": "x"})
    turned = synthetic(lines(40, 4, 8), ny=40, nx=36, coils=4).data
    start = np.abs(combined(turned))[0]
    network = zoo.load("mr_ipt.tiny").network
    with torch.inference_mode():
        wanted = network(torch.from_numpy(start.T / start.max()).float()[None, None], [0], [1])[0, 0].clamp_min(0).T
    found = method("mr_ipt.across", data_consistency="off")(turned).images[0]
    assert relative_error(np.abs(found), wanted.numpy() * start.max()) <= 1e-5


def test_a_silent_scan_is_refused(root, case):
    save_model(root, "mr_ipt.tiny")
    with pytest.raises(MethodError, match="the combined image is zero everywhere"):
        method()(replace(case.data, kspace=np.zeros_like(case.data.kspace)))


def test_maps_are_needed(root, case):
    save_model(root, "mr_ipt.tiny")
    with pytest.raises(MethodError, match="needs coil maps"):
        method()(replace(case.data, maps=None))


def test_a_matrix_smaller_than_a_patch_is_refused(root):
    save_model(root, "mr_ipt.tiny")
    case = synthetic(lines(20, 2), ny=20, nx=3, coils=2, acs=None)
    with pytest.raises(MethodError, match="20 x 3 pixels are smaller than 4 x 4"):
        method()(case.data)


def test_models_of_the_other_kind_are_refused_before_data_flow():
    with pytest.raises(
        ConfigError, match=r"'crunet_mr.cine' is not for magnitude images .*use it with method=unrolled"
    ):
        MrIpt(model="crunet_mr.cine")
    with pytest.raises(ConfigError, match=r"'unet.static' restores magnitude images; use it with method=mr_ipt"):
        Unrolled(model="unet.static")


def test_weights_of_another_size_are_refused(root, case):
    folder = save_model(root, "mr_ipt.tiny")
    text = (folder / "card.yaml").read_text()
    (folder / "card.yaml").write_text(text.replace("depth: 2", "depth: 3"))
    with pytest.raises(ModelError, match=r"not those of the network in the card; missing: encoder\.blocks"):
        method()(case.data)


def test_more_than_one_tile_is_refused(root, case):
    save_model(root, "mr_ipt.tiny")
    with pytest.raises(MethodError, match="mr_ipt runs on whole images only"):
        method(tiles=2)(case.data)


def test_too_little_memory_is_an_error_with_both_numbers(root, case):
    save_model(root, "mr_ipt.tiny")
    with pytest.raises(MethodError, match=r"whole image on cpu: needs 0\.\d\d GiB, free 0\.00 GiB"):
        method(memory_limit_gb=1e-5)(case.data)


def test_levels_and_types_are_those_of_the_paper():
    assert LEVELS == (2, 4, 6, 8, 10)
    assert TYPES == ("random", "equispaced", "gaussian_1d", "gaussian_2d")
