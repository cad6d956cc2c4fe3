"""Names of released parameters."""

import numpy as np
import pytest

from onebreath.errors import ModelError
from onebreath.networks.crnn_mri.crnn_mri import CRNNMRI
from onebreath.networks.crunet_mr import official_names
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR


def released(shared, name):
    golden = np.load(shared / "golden" / f"{name}.npz")
    return {key[8:]: golden[key] for key in golden if key.startswith("weights/")}


def test_crunet_names_are_one_to_one(shared):
    state = released(shared, "crunet_base")
    unused = [key for key in state if key.endswith(".pp")]
    ours = official_names.crunet_mr(state)
    assert len(unused) == 3
    assert len(ours) == len(state) - len(unused)
    assert ours.keys() == CRUNetMR(channels=8, cascades=3).state_dict().keys()


def test_bank_names_are_one_to_one(shared):
    state = released(shared, "crunet_bank_conv_official")
    ours = official_names.crunet_mr(state)
    assert len(ours) == len(state)
    assert ours.keys() == CRUNetMR(channels=8, cascades=3, fusion="conv").state_dict().keys()


@pytest.mark.parametrize("weights", ["shared", "unshared"])
def test_crnn_names_are_one_to_one(shared, weights):
    state = released(shared, f"crnn_mri_multicoil_{weights}")
    ours = official_names.crnn_mri(state)
    assert len(ours) == len(state)
    assert ours.keys() == CRNNMRI(channels=8, shared=weights == "shared").state_dict().keys()


def test_released_network_without_side_branches(shared):
    sides = ("conv11", "conv21", "conv31", "conv41", "conv51")
    state = {k: v for k, v in released(shared, "crunet_base").items() if k.split(".")[2] not in sides}
    wanted = CRUNetMR(channels=8, cascades=3, side_branches=False).state_dict().keys()
    assert official_names.crunet_mr(state).keys() == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("cascades.1.conv21.bias"), r"missing \['cascades.1.conv21.bias'\]"),
        (lambda state: state.update(module=0), r"unknown \['module'\], missing \[\]"),
        (lambda state: state.clear(), "not the parameters of CRUNet-MR"),
    ],
)
def test_other_states_are_refused_by_name(shared, change, message):
    state = released(shared, "crunet_base")
    change(state)
    with pytest.raises(ModelError, match=message):
        official_names.crunet_mr(state)


def test_state_of_another_network_is_refused(shared):
    with pytest.raises(ModelError, match="not the parameters of CRNN-MRI: unknown"):
        official_names.crnn_mri(released(shared, "crunet_base"))
