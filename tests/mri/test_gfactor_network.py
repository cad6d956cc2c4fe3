"""The closed form against the dense Jacobian and against noise replicas of the network itself."""

import numpy as np
import pytest
import torch

from onebreath.methods.grappa.lattice import readout_phases
from onebreath.methods.raki.calibration import solve_last_layer
from onebreath.mri.fourier import ifft2c
from onebreath.mri.gfactor import line_kernel_gfactor
from onebreath.mri.gfactor_network import network_gfactor
from onebreath.networks.raki.raki import Raki
from tests.helpers import complex_normal
from tests.methods.slices import lines, smooth_maps, synthetic

SHAPE = (3, 20, 12)


def random_network(slope=0.5, targets="missing", dtype=torch.complex128):
    torch.manual_seed(3)
    network = Raki(3, 4, (6, 5), ((2, 3), (1, 1), (1, 3)), slope, targets).requires_grad_(False)
    for weight in network.weights:
        weight.data = 2 * weight.data.to(dtype)
    return network


def combined(network, kspace, mask, offset, replaced, maps):
    """Images (batch, y, x) of k-space (batch, coil, y, x)."""
    given = kspace * mask[:, None]
    filled = torch.where(replaced[:, None], network.fill(given, offset)[0], given)
    return (maps.conj() * ifft2c(filled)).sum(1)


class Frozen(Raki):
    """A network whose activations are fixed."""

    def __init__(self, network, masks):
        torch.nn.Module.__init__(self)
        self.__dict__.update({k: v for k, v in network.__dict__.items() if k != "training"})
        self.masks = masks

    def layers(self, kspace, spacing=1):
        z = torch.nn.functional.conv2d(kspace, self.weights[0])
        outputs = [z]
        for weight, mask in zip(list(self.weights)[1:], self.masks, strict=True):
            outputs.append(torch.nn.functional.conv2d(outputs[-1] * mask, weight))
        return outputs


@pytest.mark.parametrize("derivative", ["frozen", "exact"])
@pytest.mark.parametrize(("targets", "acquired"), [("missing", (1, 18)), ("all", (1, 18)), ("missing", (5, 18))])
def test_equals_the_dense_jacobian(derivative, targets, acquired):
    rng, network = np.random.default_rng(1), random_network(targets=targets)
    line = torch.arange(SHAPE[1])
    mask = (line % 4 == 1) & (line >= acquired[0])
    replaced = (line >= acquired[0] - 1) & ((targets == "all") | ~mask)
    maps = complex_normal(rng, SHAPE)
    maps = torch.from_numpy(maps / np.linalg.norm(maps, axis=0))
    kspace = torch.from_numpy(complex_normal(rng, SHAPE)) * mask[:, None]
    linear = network.linearised(kspace, 1)
    if derivative == "frozen":
        network = Frozen(network, [torch.from_numpy(gain[0][:, 2:-2, 5:-5]) for gain in linear.gains("frozen")])

    def parts(real):
        return torch.view_as_real(combined(network, torch.view_as_complex(real)[None], mask, 1, replaced, maps)[0])

    jacobian = torch.autograd.functional.jacobian(parts, torch.view_as_real(kspace))  # y, x, 2, coil, y, x, 2
    variance = jacobian.square().sum((3, 4, 5, 6)).mean(2)
    covered = int((mask | replaced).sum())
    expected = np.sqrt(variance.numpy() / (4 * covered / SHAPE[1]))
    found = network_gfactor(linear, 1, replaced.numpy(), mask.numpy(), maps.numpy(), derivative, samples=0)
    assert found.error == 0
    np.testing.assert_allclose(found.gfactor, expected, rtol=2e-5)


def test_a_linear_network_has_grappas_map():
    """One layer: the closed form for line kernels, in which the readout wraps around."""
    torch.manual_seed(3)
    network = Raki(3, 4, (), ((2, 3),), targets="missing").requires_grad_(False)
    mask, maps = lines(20, 4, offset=1), smooth_maps(3, 20, 48)
    linear = network.linearised(torch.zeros(3, 20, 48, dtype=torch.complex64), 1)
    found = network_gfactor(linear, 1, ~mask, mask, maps, samples=0).gfactor
    weights = network.weights[0].numpy().reshape(3, 3, 3, 2, 3)  # coil, target, source, line, sample
    image = np.einsum("djslw,xw->ljxds", weights, readout_phases(48, 3))
    kernels = {(j + 1, j + 1 - 4 * line): image[line, j] for line in range(2) for j in range(3)}
    expected = line_kernel_gfactor(kernels, np.where(mask, -1, (np.arange(20) - 2) % 4 + 1), mask, maps, 4)
    assert np.abs(found / expected - 1).max() < 0.02


@pytest.mark.parametrize("slope", [0.0, 0.25, 0.5, 1.0])
def test_agrees_with_noise_replicas_of_the_network(slope):
    case = synthetic(lines(40, 3), 40, 32, 6, noise=0.05)
    torch.manual_seed(3)
    network = Raki(6, 3, (32, 16), slope=slope, targets="missing").requires_grad_(False)
    solve_last_layer(network, torch.from_numpy(case.data.acs), 1e-3)
    kspace, maps = torch.from_numpy(case.data.kspace[0]), torch.from_numpy(case.data.maps[0])
    mask = torch.from_numpy(case.data.mask[0, :, 0].copy())
    linear = network.linearised(kspace, 0)
    found = network_gfactor(linear, 0, ~mask.numpy(), mask.numpy(), maps.numpy(), samples=0).gfactor
    generator, level = torch.Generator().manual_seed(1), 1e-3
    reference = combined(network, kspace[None], mask, 0, ~mask, maps)
    total, magnitude = torch.zeros(40, 32), torch.zeros(40, 32)
    for _ in range(20):
        noise = level * torch.view_as_complex(torch.randn(100, *kspace.shape, 2, generator=generator))
        image = combined(network, kspace + noise, mask, 0, ~mask, maps)
        total += (image - reference).abs().square().sum(0)
        magnitude += (image.abs() - reference.abs()).square().sum(0)
    inside = np.abs(case.truth[0]) > 50
    for squares, parts, correlation in ((total, 2, 0.98), (magnitude, 1, 0.97)):
        replicas = torch.sqrt(squares / (parts * 2000 * 3)).numpy() / level
        assert np.corrcoef(found[inside], replicas[inside])[0, 1] >= correlation
        assert abs(np.mean(found[inside]) / np.mean(replicas[inside]) - 1) <= 0.01


def test_a_draw_of_samples_states_its_error():
    network = random_network(dtype=torch.complex64)
    shape = (3, 64, 48)
    kspace = torch.from_numpy(complex_normal(np.random.default_rng(1), shape, np.complex64))
    mask = lines(64, 4)
    maps = smooth_maps(3, 64, 48)
    every = network_gfactor(network.linearised(kspace, 0), 0, ~mask, mask, maps, samples=0)
    some = network_gfactor(network.linearised(kspace, 0), 0, ~mask, mask, maps, samples=300)
    deviation = np.sqrt(np.mean((some.gfactor / every.gfactor - 1) ** 2))
    assert 0 < some.error < 0.1
    assert 0.4 < deviation / some.error < 2.5
