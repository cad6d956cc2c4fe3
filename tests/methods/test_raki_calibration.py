import time

import numpy as np
import pytest
import torch

from onebreath.methods.raki.calibration import Schedule, Training, calibrate, calibrate_together, solve_last_layer
from onebreath.mri.coils import rss
from onebreath.mri.fourier import ifft2c
from onebreath.networks.raki.raki import Raki
from tests.helpers import relative_error
from tests.networks.test_raki import random_kspace, released


@pytest.mark.parametrize("acceleration", [3, 4])
def test_training_ends_where_the_released_code_ends(shared, acceleration):
    golden = np.load(shared / "golden" / f"raki_grappa_R{acceleration}.npz")
    network = released(golden, "weights_init").requires_grad_(True)
    acs = torch.from_numpy(golden["in/acs"])
    unit = float(acs.abs().square().mean())
    training = Training(network)
    assert training.run(acs, 500)
    assert training.losses[0] * unit == pytest.approx(golden["out/loss_init"], rel=1e-4)
    assert training.losses[-1] * unit == pytest.approx(golden["out/loss_final"], rel=0.02)
    with torch.no_grad():
        filled, _ = network.fill(torch.from_numpy(golden["in/kspace_zf"])[None], 0, "valid")
    image = rss(ifft2c(filled[0]), 0).numpy()
    assert np.sum((image - golden["out/rss"]) ** 2) <= 1e-4 * np.sum(golden["out/rss"] ** 2)


@pytest.mark.parametrize("acceleration", [3, 4])
def test_a_single_layer_is_solved_as_grappa(shared, acceleration):
    golden = np.load(shared / "golden" / f"raki_grappa_R{acceleration}.npz")
    network = Raki(6, acceleration, (), ((2, 5),)).requires_grad_(False)
    acs = torch.from_numpy(golden["in/acs"]).to(torch.complex128)
    network.weights[0].data = network.weights[0].to(torch.complex128)
    solve_last_layer(network, acs, 1e-4)
    assert relative_error(network.weights[0].flatten(1).T, golden["out/grappa_weights_f64"]) <= 1e-6
    filled, _ = network.fill(torch.from_numpy(golden["in/kspace_zf"])[None].to(torch.complex128), 0, "valid")
    assert relative_error(filled[0], golden["out/grappa_kspace_f64"]) <= 1e-6


def test_solving_the_last_layer_is_a_head_start():
    """The least-squares solution has the smallest loss that any last layer can have."""
    torch.manual_seed(1)
    network, acs = Raki(3, 2, (16, 8)), random_kspace(3, 30, 24)
    solve_last_layer(network, acs, 1e-6)
    solved = network.weights[-1].detach().clone()
    training = Training(network, learning_rate=0)
    training.run(acs, 1)
    for _ in range(3):
        network.weights[-1].data = solved + 0.02 * random_kspace(*solved.shape)
        training.run(acs, 1)
    assert training.losses[0] < min(training.losses[1:])


def test_a_deadline_that_cannot_be_kept_is_seen_early():
    training = Training(Raki(3, 2, (16, 8)))
    begun = time.monotonic()
    assert not training.run(random_kspace(3, 30, 24), 100_000, begun + 2)
    assert len(training.losses) < 1000
    assert Training(Raki(3, 2, (16, 8))).run(random_kspace(3, 30, 24), 6, time.monotonic() + 60)


def test_scaled_data_give_the_same_weights():
    networks = []
    for scale in (1, 1e4):
        torch.manual_seed(1)
        networks.append(Raki(3, 2, (16, 8)))
        Training(networks[-1]).run(scale * random_kspace(3, 30, 24), 20)
    for one, two in zip(*(network.weights for network in networks), strict=True):
        assert torch.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("head_start", [True, False])
def test_slices_learn_side_by_side_what_they_learn_alone(head_start):
    # In double precision: thirty steps of Adam make of the last bit of float32 what the threads of a sum make of it.
    acs = torch.stack([random_kspace(3, 30, 24), 50 * random_kspace(3, 30, 24).flip(1)]).to(torch.complex128)
    schedule, networks = Schedule(30, 2e-3, head_start), []
    for seed in (1, 1, 2, 2):
        torch.manual_seed(seed)
        networks.append(Raki(3, 2, (16, 8)))
        for weight in networks[-1].weights:
            weight.data = weight.data.to(torch.complex128)
    alone = [calibrate(network, lines, schedule)[-1] for network, lines in zip(networks[::2], acs, strict=True)]
    assert calibrate_together(networks[1::2], acs, schedule) == pytest.approx(alone, rel=1e-9)
    for one, two in zip(networks[::2], networks[1::2], strict=True):
        for own, shared in zip(one.weights, two.weights, strict=True):
            assert relative_error(shared.detach(), own.detach()) < 1e-7
    assert calibrate_together(networks[::2], acs, Schedule(100_000, 2e-3, head_start), time.monotonic() + 1) == []
