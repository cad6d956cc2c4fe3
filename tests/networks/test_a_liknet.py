"""A-LIKNet against the released code, and the properties it must have."""

import pytest
import torch

from onebreath.networks.a_liknet import ALIKNet
from tests.networks.a_liknet_golden import Golden

FILES = ("aliknet_full_io", "aliknet_full_weights_iter0", "aliknet_full_weights_iter1")


@pytest.fixture(scope="module")
def released(shared):
    golden = Golden(shared / "golden", *FILES)
    network = ALIKNet(iterations=2)
    for index, iteration in enumerate(network.iterations):
        iteration.load_state_dict(golden.iteration(index), strict=True)
    with torch.no_grad():
        network.kspace_weight.copy_(golden.number("weights/ksp_dc_weight"))
    return golden, network.requires_grad_(False)


def inputs(golden):
    return [golden.series(f"in/{name}") for name in ("kspace", "mask", "sens_maps")]


def test_image_and_kspace_equal_the_released_network(released, deviation):
    golden, network = released
    image, kspace = network.reconstruct(*inputs(golden))
    assert deviation(image, golden.series("out/image")) <= 1e-4
    assert deviation(kspace, golden.series("out/kspace")) <= 1e-4
