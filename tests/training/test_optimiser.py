import itertools

import pytest
import torch
from torch import nn

from onebreath.errors import ModelError
from onebreath.training.optimiser import (
    MovingAverage,
    learning_rate,
    make_optimiser,
    restore_moments,
    set_learning_rate,
)
from onebreath.training.recipe import Optimiser

SETTINGS = Optimiser(learning_rate=1e-3, smallest_rate=1e-4, warm_up=10, scalar_factor=10, weight_decay=0.1)


def test_warm_up_starts_above_zero_and_the_cosine_ends_at_the_smallest_rate():
    rates = [learning_rate(step, step / 100, SETTINGS, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[9] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-4, rel=0.02)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_a_short_training_has_warmed_up_after_a_tenth_of_its_time():
    assert learning_rate(1, 0.05, SETTINGS, 0.1) == pytest.approx(5e-4)
    assert learning_rate(2, 0.1, SETTINGS, 0.1) == pytest.approx(1e-3)
    assert learning_rate(2, 0.99, SETTINGS, 0.1) == pytest.approx(1e-4, rel=0.02)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.scalar = nn.Linear(3, 2), nn.Parameter(torch.tensor(1.0))


def test_groups_have_their_own_decay_and_rate():
    optimiser = make_optimiser(Small(), SETTINGS)
    set_learning_rate(optimiser, 0.01)
    found = [(group["weight_decay"], group["lr"], group["params"][0].ndim) for group in optimiser.param_groups]
    assert found == [(0.1, 0.01, 2), (0.0, 0.01, 1), (0.0, pytest.approx(0.1), 0)]


def test_the_average_follows_quickly_at_the_start_and_slowly_later():
    network = Small()
    average = MovingAverage(network, 0.99)
    with torch.no_grad():
        network.scalar.fill_(2.0)
    average.update(network, 0)
    assert float(average.weights["scalar"]) == pytest.approx(1.9)
    with torch.no_grad():
        network.scalar.fill_(3.0)
    before = float(average.weights["scalar"])
    average.update(network, 10_000)
    assert float(average.weights["scalar"]) == pytest.approx(before + 0.01 * (3 - before), rel=1e-5)


def test_a_state_of_another_network_is_refused():
    network = Small()
    with pytest.raises(ModelError, match=r"layer\.weight/exp_avg"):
        restore_moments(make_optimiser(network, SETTINGS), network, {"layer.weight/exp_avg": torch.zeros(5, 5)})
