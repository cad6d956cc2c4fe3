"""Derivatives of networks against noise replicas and against the whole Jacobian."""

import numpy as np
import pytest
import torch

from onebreath.mri.noise_map import noise_map
from onebreath.networks.shared.derivative import directional_derivative, pixel_noise
from onebreath.zoo.architectures import build
from tests.helpers import complex_normal, relative_error
from tests.methods.slices import lines, synthetic


def test_directional_derivative_of_a_real_linear_function():
    rng = np.random.default_rng(2)
    at, direction = (torch.from_numpy(complex_normal(rng, (5,))) for _ in range(2))
    derivative = directional_derivative(lambda z: z * z.conj() + 2j * z, at)(direction)
    assert relative_error(derivative, 2 * (at * direction.conj()).real + 2j * direction) < 1e-12
    assert not directional_derivative(lambda z: torch.ones(3), at)(direction).any()


@pytest.fixture(scope="module")
def case():
    return synthetic(lines(24, 3, acs=8), 24, 20, 4, noise=0.5)


@pytest.fixture(scope="module")
def reconstruct(case):
    """A small CRUNet-MR with random weights, as a function of the k-space (frame, coil, y, x)."""
    torch.manual_seed(4)
    network = build("crunet_mr", {"channels": 4, "cascades": 1}).requires_grad_(False)
    for parameter in network.parameters():
        parameter *= 2 if parameter.ndim > 1 else 1  # more amplification, and more structure in it
    mask, maps = torch.from_numpy(case.data.mask)[None, :, None], torch.from_numpy(case.data.maps)[None]
    scale = 300.0
    return lambda kspace: network((kspace / scale)[None], mask, maps)[0] * scale


def test_probing_a_network_agrees_with_noise_replicas(case, reconstruct):
    """The same noise for both, so that only what is not linear tells them apart."""
    kspace, mask = torch.from_numpy(case.data.kspace), torch.from_numpy(case.data.mask)
    with torch.no_grad():
        image = reconstruct(kspace)

        def replica(noise):
            return reconstruct(kspace + noise) - image

        replicas = noise_map(replica, kspace, mask, 100, along=image).std[0]
    probes = noise_map(directional_derivative(reconstruct, kspace), kspace, mask, 100, along=image).std[0]
    inside = image[0].abs() > 50
    assert float(probes[inside].std() / probes[inside].mean()) > 0.05
    assert np.corrcoef(probes[inside], replicas[inside])[0, 1] >= 0.95
    assert float(probes[inside].mean()) == pytest.approx(float(replicas[inside].mean()), rel=0.02)


def test_probes_agree_with_rows_of_the_jacobian(case, reconstruct):
    kspace, mask = torch.from_numpy(case.data.kspace), torch.from_numpy(case.data.mask)
    pixels = torch.tensor([[8, 12], [12, 9], [14, 11], [10, 8]])
    rows = pixel_noise(lambda k: reconstruct(k)[0], kspace, mask[:, None], pixels)
    probes = noise_map(directional_derivative(reconstruct, kspace), kspace, mask, 150, along=reconstruct(kspace))
    y, x = pixels.T
    assert torch.allclose(probes.std[0][y, x], rows, rtol=4 * probes.error)
