"""RAKI against the released code, and the ways to run it against each other."""

import numpy as np
import pytest
import torch

from onebreath.networks.raki.raki import Raki, clrelu
from tests.helpers import complex_normal, relative_error


def released(golden, group="weights", dtype=torch.complex64):
    """The released network with stored weights: 6 channels, 32 and 16 between the layers."""
    network = Raki(int(golden["cfg/nc"]), int(golden["cfg/R"]), (32, 16), slope=float(golden["cfg/slope"]))
    for index, weight in enumerate(network.weights, start=1):
        real, imag = (golden[f"{group}/conv{index}.{part}_filter.weight"] for part in ("real", "imag"))
        weight.data = torch.from_numpy(real + 1j * imag).to(dtype)
    return network.requires_grad_(False)


def small(**changes):
    torch.manual_seed(2)
    return Raki(**{"coils": 3, "acceleration": 3, "widths": (8, 4), **changes}).requires_grad_(False)


def random_kspace(*shape):
    return torch.from_numpy(complex_normal(np.random.default_rng(5), shape, np.complex64))


@pytest.mark.parametrize("acceleration", [3, 4])
class TestReleasedNetwork:
    @pytest.fixture
    def golden(self, shared, acceleration):
        return np.load(shared / "golden" / f"raki_grappa_R{acceleration}.npz")

    def test_output_on_all_lines(self, golden, acceleration):
        raw = released(golden)(torch.from_numpy(golden["in/kspace_zf"])[None], acceleration)
        assert relative_error(raw.flatten(1, 2)[0], golden["out/net_raw"]) <= 1e-5

    def test_kspace_in_single_and_double_precision(self, golden, acceleration):
        zero_filled = torch.from_numpy(golden["in/kspace_zf"])[None]
        filled, predicted = released(golden).fill(zero_filled, 0, "valid")
        assert relative_error(filled[0], golden["out/kspace"]) <= 1e-5
        assert predicted.sum() == acceleration * (48 // acceleration - 1)
        double = released(golden, dtype=torch.complex128)
        filled, _ = double.fill(zero_filled.to(torch.complex128), 0, "valid")
        assert relative_error(filled[0], golden["out/kspace_f64"]) <= 1e-9

    def test_examples(self, golden, acceleration):
        network = released(golden)
        _, wanted = network.examples(torch.from_numpy(golden["in/acs"]))
        stored = torch.from_numpy(golden["out/train_trg"])  # position, coil * target, 1, read
        expected = stored[:, :, 0].unflatten(1, (6, acceleration)).permute(1, 2, 0, 3)
        assert torch.equal(wanted[0], expected)

    def test_one_layer_is_grappa(self, golden, acceleration):
        network = Raki(6, acceleration, (), ((2, 5),)).requires_grad_(False)
        weights = torch.from_numpy(golden["out/grappa_weights"]).T
        network.weights[0].data = weights.reshape(network.weights[0].shape).contiguous()
        filled, _ = network.fill(torch.from_numpy(golden["in/kspace_zf"])[None], 0, "valid")
        assert relative_error(filled[0], golden["out/grappa_kspace"]) <= 1e-4


@pytest.mark.parametrize("targets", ["all", "missing"])
@pytest.mark.parametrize("kernel", [(1, 3), (2, 5), (4, 3)])
def test_borders_agree_where_nothing_is_missing(targets, kernel):
    network = small(kernels=(kernel, (1, 1), (1, 3)), targets=targets)
    mask = torch.arange(24) % 3 == 1
    kspace = random_kspace(2, 3, 24, 16) * mask[:, None]
    valid, predicted = network.fill(kspace, 1, "valid")
    cut = network.reach[1] // 2
    for border in ("zero", "circular"):
        filled, everywhere = network.fill(kspace, 1, border)
        inner = predicted[:, None] & (torch.arange(16) >= cut) & (torch.arange(16) < 16 - cut)
        assert torch.allclose(filled[:, :, inner], valid[:, :, inner], atol=1e-6)
        assert everywhere[~mask].all()
        assert everywhere[mask].any() == (targets == "all")


def test_circular_prediction_follows_a_shift():
    network, kspace = small(), random_kspace(1, 3, 24, 16)
    filled, _ = network.fill(kspace, 0, "circular")
    moved, _ = network.fill(torch.roll(kspace, (6, 5), (2, 3)), 0, "circular")
    assert torch.allclose(moved, torch.roll(filled, (6, 5), (2, 3)), atol=1e-5)
    with pytest.raises(ValueError, match="25 lines are no multiple of R = 3"):
        network.fill(random_kspace(1, 3, 25, 16), 0, "circular")


@pytest.mark.parametrize(("slope", "linear"), [(1.0, True), (0.5, False)])
def test_slope_one_is_linear(slope, linear):
    network = small(slope=slope)
    one, two = random_kspace(2, 1, 3, 12, 16)
    together = network(one + 1j * two)
    assert torch.allclose(together, network(one) + 1j * network(two), atol=1e-5) == linear


def test_activation_on_real_and_imaginary_part():
    z = torch.tensor([1 + 2j, -1 + 2j, 1 - 2j, -1 - 2j])
    assert torch.equal(clrelu(z, 0.5), torch.tensor([1 + 2j, -0.5 + 2j, 1 - 1j, -0.5 - 1j]))


def test_published_size():
    network = Raki(16, 4)
    assert 2 * sum(weight.numel() for weight in network.weights) == 2 * (128 * 16 * 10 + 64 * 128 + 64 * 64 * 5)
    assert network.reach == (2, 9)
    assert (network.first_target, network.lines_needed) == (1, 5)
    assert Raki(16, 24).lines_needed == 25
    assert Raki(16, 4, kernels=((4, 7), (1, 1), (1, 5)), targets="missing").first_target == 5
    with pytest.raises(ValueError, match="which must be odd"):
        Raki(4, 2, kernels=((2, 4), (1, 1), (1, 5)))
    with pytest.raises(ValueError, match="2 widths need 3 kernels, not 1"):
        Raki(4, 2, kernels=((2, 5),))
