"""One network is one function: on every device, with any number of channels, and where noise is probed."""

import numpy as np
import pytest
import torch

from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.shared.derivative import directional_derivative
from onebreath.zoo.architectures import build
from tests.helpers import complex_normal, relative_error
from tests.methods.slices import lines, synthetic

FRAMES, COILS, ROWS = 3, 4, 32
NETWORKS = ("crunet_mr", "crnn_mri", "unet3d_mr")


@pytest.fixture(scope="module")
def scan():
    """K-space, mask and maps at R = 4: eight steps of conjugate gradients are far from the solution."""
    case = synthetic(lines(ROWS, 4, acs=8), ROWS, 20, COILS, noise=0.2)
    kspace = torch.from_numpy(case.data.kspace / 300)[None].expand(1, FRAMES, -1, -1, -1).clone()
    mask, maps = torch.from_numpy(case.data.mask)[None, :, None], torch.from_numpy(case.data.maps)[None]
    return kspace, mask.expand(1, FRAMES, 1, -1, -1), maps


def network(name):
    torch.manual_seed(1)
    made = build(name, {"channels": 4, "cascades": 2, "data_consistency": "cg"}).requires_grad_(False).eval()
    made.consistency[0].log_network_std.data += 2.0  # the measurement weighs much
    return made


def image(made, kspace, mask, maps):
    return made(kspace, mask, maps, torch.tensor([0.003]))


@pytest.mark.parametrize("name", NETWORKS)
def test_no_mode_of_torch_changes_the_image(scan, name):
    """A GPU takes the way of `no_grad`, and so do derivatives in forward mode."""
    made = network(name)
    with torch.inference_mode():
        wanted = image(made, *scan)
    with torch.no_grad():
        assert relative_error(image(made, *scan), wanted) < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_a_channel_that_holds_nothing_changes_nothing(scan, name):
    """Four channels of three frames have too few samples for matrices, and six do not."""
    kspace, mask, maps = scan
    more = [torch.cat([one, torch.zeros_like(one[:, :, :2])], dim=2) for one in (kspace, maps)]
    assert ROWS > 2 * FRAMES * COILS
    assert ROWS <= 2 * FRAMES * (COILS + 2)
    made = network(name)
    with torch.inference_mode():
        assert relative_error(image(made, more[0], mask, more[1]), image(made, *scan)) < 1e-4


@pytest.mark.parametrize("coils", [COILS, COILS + 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_derivative_is_that_of_the_image(scan, name, coils):
    kspace, mask, maps = scan
    kspace, maps = (torch.cat([one, torch.zeros_like(one[:, :, : coils - COILS])], dim=2) for one in (kspace, maps))
    made = network(name).double()
    kspace, maps = kspace.to(torch.complex128), maps.to(torch.complex128)
    noise = torch.from_numpy(complex_normal(np.random.default_rng(0), tuple(kspace.shape))) * mask
    found = directional_derivative(lambda one: image(made, one, mask, maps), kspace)(noise)
    step = 1e-5
    with torch.inference_mode():
        change = (image(made, kspace + step * noise, mask, maps) - image(made, kspace - step * noise, mask, maps)) / 2
    assert relative_error(found, change / step) < 1e-3


def test_gradients_of_the_exact_solution_are_those_of_many_steps(scan):
    """By the image and by the weight of the measurement, from the normal equations alone."""
    kspace, mask, maps = (one.to(torch.complex128) if one.is_complex() else one for one in scan)
    found = []
    for by_matrices in (False, True):
        series = SampledSeries(kspace, mask, maps, by_matrices)
        given = torch.from_numpy(complex_normal(np.random.default_rng(1), (1, FRAMES, ROWS, 20))).requires_grad_()
        weight = torch.full((1, 1, 1, 1, 1), 5.0, dtype=torch.float64, requires_grad=True)
        made = series.regularised(given, weight, 100)
        loss = (made * torch.linspace(0.5, 2, made.numel()).reshape(made.shape)).abs().pow(3).sum()
        found.append([made, *torch.autograd.grad(loss, (given, weight))])
    for steps, exact in zip(*found, strict=True):
        assert relative_error(exact.detach(), steps.detach()) < 1e-8


def test_maps_that_are_learned_get_their_gradients(scan):
    kspace, mask, maps = scan
    learned = maps.clone().requires_grad_()
    made = SampledSeries(kspace, mask, learned, by_matrices=True).regularised(
        kspace[:, :, 0], torch.ones(1, 1, 1, 1, 1), 4
    )
    made.abs().sum().backward()
    assert float(learned.grad.abs().sum()) > 0
