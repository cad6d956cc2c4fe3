from dataclasses import replace

import numpy as np
import pytest
import torch

from onebreath.errors import MethodError, ModelError
from onebreath.methods.base import SliceData
from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.methods.low_rank_sparse.problem import Problem
from onebreath.mri.sampling import describe
from onebreath.networks.consistency import sampled_series
from onebreath.networks.consistency.data_consistency import DataConsistency
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.consistency.start import LowRankSparseStart, _shrink_singular_values, _shrink_spectrum
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from onebreath.networks.shared.tiling import TiledNetwork
from tests.helpers import nrmse
from tests.methods.slices import lines, synthetic

NEW = {
    "channels": 6, "cascades": 2, "data_consistency": "cg", "follows_noise": True, "start": "low_rank_sparse",
    "inputs": ("noise", "mean", "residual"), "patch": 2,
}  # fmt: skip


def random_series(moving=False, ny=17, batch=2):
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.complex64, generator=generator)

    maps = normal(batch, 1, 4, ny, 12)
    maps = maps / maps.abs().square().sum(2, keepdim=True).sqrt()
    frames = 5 if moving else 1
    mask = torch.rand(batch, frames, 1, ny, 1, generator=generator) > 0.4
    kspace = normal(batch, 5, 4, ny, 12) * mask
    return kspace, mask, maps


@pytest.mark.parametrize("ny", [16, 17])
def test_matrices_are_the_operator(ny):
    kspace, mask, maps = random_series(ny=ny)
    plain, fast = SampledSeries(kspace, mask, maps), SampledSeries(kspace, mask, maps, by_matrices=True)
    assert fast._matrices is not None
    image = torch.randn(2, 5, ny, 12, dtype=torch.complex64)
    torch.testing.assert_close(plain.normal(image), fast.normal(image), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(plain.gradient(image), fast.gradient(image), atol=1e-5, rtol=1e-4)
    weight = torch.full((2, 1, 1, 1, 1), 3.0)
    torch.testing.assert_close(
        plain.regularised(image, weight, 40), fast.regularised(image, weight, 0), atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("along_x", [1, 12])
def test_networks_that_solve_take_the_matrices(along_x, monkeypatch):
    kspace, mask, maps = random_series()
    mask = mask.expand(-1, -1, -1, -1, along_x)
    network = CRUNetMR(channels=4, cascades=2, data_consistency="cg").requires_grad_(False)
    used = []
    whole = sampled_series.normal_matrices
    monkeypatch.setattr(sampled_series, "normal_matrices", lambda *args: used.append(1) or whole(*args))
    noise = torch.full((2,), 0.1)
    training = network(kspace, mask, maps, noise)
    assert used
    with torch.inference_mode():
        torch.testing.assert_close(network(kspace, mask, maps, noise), training)


def test_lines_that_are_sampled_in_part_have_no_matrices():
    kspace, mask, maps = random_series()
    part = mask & (torch.arange(12) > 3)
    assert SampledSeries(kspace * part, part, maps, by_matrices=True)._matrices is None


def test_masks_that_change_have_no_matrices_and_the_same_answer():
    kspace, mask, maps = random_series(moving=True)
    series = SampledSeries(kspace, mask, maps, by_matrices=True)
    assert series._matrices is None
    image = torch.randn(2, 5, 17, 12, dtype=torch.complex64)
    solution = series.ridge(image, 0.1, image, 60)
    gradient = series.normal(solution) + 0.1 * solution - series.zero_filled() - 0.1 * image
    assert float(gradient.abs().max()) < 1e-3
    fixed = SampledSeries(*random_series(), by_matrices=True)
    solution = fixed.ridge(image, 0.1, image, 0)
    gradient = fixed.normal(solution) + 0.1 * solution - fixed.zero_filled() - 0.1 * image
    assert float(gradient.abs().max()) < 1e-3


def objective(series, weights, low, changes):
    both = low + changes
    data = 0.5 * (both.conj() * series.normal(both)).sum().real - (both.conj() * series.zero_filled()).sum().real
    nuclear = torch.linalg.svdvals(low.flatten(2)).sum() * float(weights[0])
    spectrum = torch.fft.fft(changes, dim=1, norm="ortho").abs().sum() * float(weights[1])
    return float(data + nuclear + spectrum)


def test_the_start_minimises_l_plus_s():
    """Compared with plain proximal gradients, which need far more iterations, on the same function."""
    kspace, mask, maps = random_series(batch=1)
    series, noise = SampledSeries(kspace, mask, maps, by_matrices=True), torch.tensor([0.1])
    start = LowRankSparseStart(iterations=60)
    image = start(series, noise)
    weights = start.weights(series.zero_filled(), *series.noise_shape(), noise)
    low = changes = torch.zeros_like(image)
    for _ in range(300):
        gradient = 0.5 * (series.normal(low + changes) - series.zero_filled())
        low = _shrink_singular_values((low - gradient).flatten(2), 0.5 * weights[0]).unflatten(2, (17, 12))
        changes = _shrink_spectrum(changes - gradient, 0.5 * weights[1])
    reached = objective(series, weights, low, changes)
    assert reached < objective(series, weights, low * 0, changes * 0)
    assert float((image - low - changes).abs().square().mean() / image.abs().square().mean()) < 1e-2


def test_weights_are_those_of_the_classical_method():
    """In units of the noise of the zero-filled series, and balanced alike."""
    kspace, mask, maps = random_series(batch=2)
    series, noise = SampledSeries(kspace, mask, maps), torch.tensor([0.1, 0.02])
    found = LowRankSparseStart().weights(series.zero_filled(), *series.noise_shape(), noise)
    for index in range(2):
        lines = np.broadcast_to(mask[index, 0, 0].numpy(), (5, 17, 1))
        data = SliceData(kspace[index].numpy(), lines, None, 0, maps[index].numpy(), describe(lines))
        problem = Problem.of(data)
        unit, deviation = problem.noise_units(float(noise[index]))
        expected = unit * problem.scale, problem.balance(unit) * deviation * problem.scale
        for one, wanted in zip(found[:2], expected, strict=True):
            assert float(one[index]) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("moving", [False, True])
def test_the_start_with_wavelets_is_the_image_of_the_classical_method(moving):
    """But for data steps by conjugate gradients where lines change, of which the network takes more."""
    mask = np.stack([lines(48, 4, 8, frame % 4 if moving else 0) for frame in range(8)])
    case = synthetic(mask, ny=48, nx=33, coils=6, noise=5.0)
    data = replace(case.data, kspace=case.data.kspace / np.float32(5))
    wanted, steps = LowRankSparse(device="cpu")(data).images, 45 if moving else 25
    frames = torch.from_numpy(data.mask if moving else data.mask[:1])[None, :, None]
    series = SampledSeries(
        torch.from_numpy(data.kspace)[None], frames, torch.from_numpy(data.maps)[None], by_matrices=True
    )
    started = LowRankSparseStart(steps, wavelets=True)(series, torch.ones(1))[0].numpy()
    plain = LowRankSparseStart(steps)(series, torch.ones(1))[0].numpy()
    assert nrmse(started, wanted) < (0.02 if moving else 1e-4) < nrmse(plain, wanted)


def test_a_new_network_keeps_its_start_but_for_data_consistency():
    kspace, mask, maps = random_series()
    noise = torch.full((2,), 0.05)
    network = CRUNetMR(**{**NEW, "cascades": 1})
    started = network.start(SampledSeries(kspace, mask, maps, by_matrices=True), noise)
    refined, _ = network.block(0)(started, None, extra=network._extra_inputs(started, None, noise))
    torch.testing.assert_close(refined, started, atol=1e-5, rtol=1e-4)
    with pytest.raises(MethodError, match="noise_std is None"):
        network(kspace, mask, maps)


def test_the_noise_reaches_the_network():
    torch.manual_seed(0)
    network = CRUNetMR(
        **{**NEW, "start": "zero_filled", "inputs": ("noise",), "follows_noise": False, "noise_level": 1.0}
    )
    data = random_series()
    with torch.no_grad():
        quiet, loud = (network(*data, torch.full((2,), level)) for level in (1e-3, 0.3))
    assert float((quiet - loud).abs().max()) > 1e-4
    with pytest.raises(MethodError, match="noise_std is missing"):
        network(*data)


def test_blocks_take_turns():
    shared, own = CRUNetMR(**NEW, blocks=1), CRUNetMR(**NEW)
    assert len(shared.blocks) == 1
    assert len(own.blocks) == 2
    assert shared(*random_series(), torch.full((2,), 0.05)).shape == (2, 5, 17, 12)
    with pytest.raises(ModelError, match="blocks is 3"):
        CRUNetMR(**NEW, blocks=3)


def test_pieces_give_the_same_image():
    torch.manual_seed(0)
    network = CRUNetMR(**NEW)
    torch.nn.init.normal_(network.blocks[0].tail.weight, std=0.05)
    data = (*random_series(batch=1), torch.full((1,), 0.05))
    with torch.no_grad():
        whole, pieces = network(*data), TiledNetwork(network, 2, 16)(*data)
    torch.testing.assert_close(whole, pieces, atol=1e-5, rtol=1e-4)


def test_the_weight_of_the_measurement_may_follow_the_noise():
    with pytest.raises(ModelError, match="follows_noise"):
        DataConsistency("hard", follows_noise=True)
    consistency = DataConsistency("cg", follows_noise=True)
    image = torch.zeros(2, 1, 1, 1, dtype=torch.complex64)
    with torch.no_grad():
        consistency.log_ratio_slope.fill_(0.5)
        few, many = consistency._measurement_weight(image, torch.tensor([0.01, 0.04])).flatten()
    assert float(many / few) == pytest.approx(4.0, rel=1e-4)


def test_the_published_network_has_nothing_new():
    network = CRUNetMR()
    assert sum(p.numel() for p in network.parameters()) == 4_537_930
    assert network.start is None
    assert not network.inputs
