"""iRAKI under a name of its own, as a candidate of a choice."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from onebreath.errors import ConfigError, MethodError
from onebreath.methods.base import method_class
from onebreath.methods.cg_sense import CgSense
from onebreath.methods.choice.choice import choose
from onebreath.methods.raki.learner import Learner
from onebreath.methods.raki.named_iraki import Iraki
from onebreath.methods.raki.parameters import RakiParameters
from onebreath.methods.raki.raki import Raki
from onebreath.networks.raki.raki import Raki as Network
from tests.methods.slices import lines, synthetic
from tests.methods.test_edge import scan

QUICK = {"channels_1": 8, "channels_2": 4, "iterations": 6, "device": "cpu", "gfactor": "none"}


def test_it_is_raki_in_rounds():
    assert method_class("iraki") is Iraki
    data = synthetic(lines(64, 3), 64, 48, acs=24, noise=0.2).data
    made = Iraki(**QUICK)(data)
    assert made.facts["reconstructed_by"] == "iraki"
    assert made.facts["rounds"] == "3 of 3"
    np.testing.assert_array_equal(made.images, Raki(**QUICK, variant="iraki", rounds=3)(data).images)
    usual = Iraki().parameters
    assert (usual.rounds, usual.channels_1, usual.channels_2) == (3, 128, 64)
    assert Iraki().effort(data) == 6 * Raki().effort(data)
    with pytest.raises(ConfigError, match="variant"):
        Iraki(variant="raki")
    with pytest.raises(MethodError, match=r"^iraki: a kernel of 2 lines"):
        Iraki(**QUICK)(synthetic(lines(64, 3), 64, 48, acs=4).data)


def test_it_is_weighed_where_there_is_time():
    data, _ = scan(5.0)
    candidates = [("cg_sense", CgSense()), ("raki", Raki(**QUICK)), ("iraki", Iraki(**QUICK))]
    estimates = choose(candidates, data, within=1.0, slices=10_000).estimates
    assert [one.name for one in estimates if one.error > 0] == ["cg_sense", "raki", "iraki"]
    short = choose(candidates, data, within=1.0, slices=100).estimates
    assert "would take more than" in short[2].failed
    assert not short[1].failed


def test_networks_begun_side_by_side_have_the_weights_of_their_seed():
    """Else the same scan would not have the same image, and another choice from run to run."""
    learner = Learner(RakiParameters(seed=3))
    alone = learner.fresh_network(6, 4)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: learner.fresh_network(6, 4), range(64)))
    for one in made:
        for weights, expected in zip(one.parameters(), alone.parameters(), strict=True):
            assert torch.equal(weights, expected)


def test_a_network_has_the_weights_of_its_seed_while_others_draw_random_numbers():
    learner, ended = Learner(RakiParameters(seed=3)), threading.Event()

    def draw() -> None:
        while not ended.is_set():
            torch.rand(64)

    before = torch.random.get_rng_state()
    torch.manual_seed(3)
    p = learner.parameters
    expected = Network(6, 4, p.widths, p.kernels, p.usual_slope, p.targets)
    torch.random.set_rng_state(before)
    with ThreadPoolExecutor(2) as pool:
        drawing = [pool.submit(draw) for _ in range(2)]
        made = [learner.fresh_network(6, 4) for _ in range(50)]
        ended.set()
    assert not any(one.exception() for one in drawing)
    for one in made:
        assert all(map(torch.equal, one.parameters(), expected.parameters()))
