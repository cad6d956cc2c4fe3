"""Stacking: weights, and the mean of methods' images."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from onebreath.methods.base import Reconstruction, method_class
from onebreath.methods.cg_sense import CgSense
from onebreath.methods.choice.choice import choose
from onebreath.methods.choice.stacked import LEAST, Member, Stacked, best_weights, stacking_weights
from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.methods.zero_filled import ZeroFilled
from tests.helpers import nrmse
from tests.methods.slices import lines, synthetic

MASK = np.tile(lines(64, 4, 16), (8, 1))


def test_two_methods_of_independent_errors_are_weighted_by_their_variances():
    np.testing.assert_allclose(best_weights(np.diag([1.0, 3.0])), [0.75, 0.25])
    np.testing.assert_allclose(best_weights(np.diag([1.0, 3.0]) + 7.0), [0.75, 0.25], err_msg="noise is in all errors")


@pytest.mark.parametrize("seed", range(6))
def test_weights_are_those_of_a_general_optimiser(seed):
    parts = np.random.default_rng(seed).standard_normal((3, 5)) * [[1.0], [1.3], [0.8]]
    errors = parts @ parts.T
    found = best_weights(errors)
    other = minimize(
        lambda w: w @ errors @ w,
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        tol=1e-12,
    )
    assert found.sum() == pytest.approx(1) and found.min() >= 0
    np.testing.assert_allclose(found @ errors @ found, other.fun, rtol=1e-6)


def test_a_method_that_is_worse_in_the_same_way_has_no_weight():
    errors = np.outer([1.0, 2.0], [1.0, 2.0])
    np.testing.assert_array_equal(stacking_weights(errors), [1, 0])


def test_small_weights_are_left_out_and_the_others_take_them():
    errors = np.diag([1.0, 1.0, 30.0])
    assert 0 < best_weights(errors)[2] < LEAST
    np.testing.assert_allclose(stacking_weights(errors), [0.5, 0.5, 0])


def test_identical_methods_share_the_weight_in_some_way():
    weights = best_weights(np.ones((2, 2)))
    assert weights.sum() == pytest.approx(1)


def test_the_mean_of_two_methods_is_better_than_each_where_held_back_lines_say_so():
    """CG-SENSE keeps all noise, zero-filled all aliasing."""
    case = synthetic(MASK, ny=64, nx=48, coils=8, noise=3.0)
    candidates = [("cg_sense", CgSense(device="cpu", regularisation=1e-4)), ("low_rank_sparse", LowRankSparse())]
    found = choose(candidates, case.data, 1.0, 1000)
    assert found.weights == pytest.approx(tuple(found.weights)) and sum(found.weights) == pytest.approx(1)
    members = [Member(name, method, w) for (name, method), w in zip(candidates, found.weights, strict=True) if w]
    mean = nrmse(np.asarray(Stacked(members)(case.data).images), case.truth)
    alone = [nrmse(np.asarray(method(case.data).images), case.truth) for _, method in candidates]
    assert mean <= 1.02 * min(alone)
    assert found.error <= min(one.error for one in found.estimates) + 1e-9


def test_images_and_facts_are_those_of_the_members():
    case = synthetic(MASK)
    methods = {"zero_filled": ZeroFilled(), "cg_sense": CgSense(device="cpu")}
    stacked = Stacked(
        [Member("zero_filled", methods["zero_filled"], 0.25), Member("cg_sense", methods["cg_sense"], 0.75)]
    )
    made = stacked(case.data)
    parts = [np.asarray(method(case.data).images) for method in methods.values()]
    np.testing.assert_allclose(made.images, 0.25 * parts[0] + 0.75 * parts[1], rtol=1e-5, atol=1e-4)
    assert made.facts["stacked"] == "0.25 of zero_filled and 0.75 of cg_sense"
    assert "regularisation" in made.facts
    assert stacked.effort(case.data) == pytest.approx(sum(method.effort(case.data) for method in methods.values()))


def test_members_take_calibrated_results_from_where_the_whole_takes_them():
    member = CgSense(device="cpu")
    stacked = Stacked([Member("cg_sense", member, 1.0)])
    stacked.derive = derive = lambda *given: given[-1]()
    assert isinstance(stacked(synthetic(MASK).data), Reconstruction)
    assert member.derive is derive


@pytest.fixture
def starts(monkeypatch):
    """The slices that L+S reconstructs."""
    seen, real = [], LowRankSparse.__call__
    monkeypatch.setattr(LowRankSparse, "__call__", lambda self, data: seen.append(data) or real(self, data))
    return seen


def test_a_network_goes_on_from_the_images_that_another_member_made(starts):
    case = synthetic(MASK, ny=64, nx=48, coils=8, noise=0.02)
    network = method_class("unrolled")(model="crunet_mr.noise_aware", outside_domain="allow", device="cpu")
    alone = network(case.data).images
    begun = network(replace(case.data, start=LowRankSparse()(case.data).images)).images
    assert nrmse(alone, begun) < 1e-6, "it begins with the same images if nobody else makes them"

    def beside(start):
        starts.clear()
        both = Stacked([Member("low_rank_sparse", start, 0.0), Member("crunet_mr.noise_aware", network, 1.0)])
        return both(case.data).images

    assert nrmse(beside(LowRankSparse()), begun) < 1e-6 and len(starts) == 1
    assert nrmse(beside(LowRankSparse(iterations=3)), begun) < 1e-6, "not what the network was trained on"
    assert len(starts) == 2


def test_what_a_network_begins_with_is_counted_once():
    data = synthetic(MASK).data
    network, start = method_class("unrolled")(model="crunet_mr.noise_aware"), LowRankSparse()
    both = Stacked([Member("low_rank_sparse", start, 0.5), Member("network", network, 0.5)])
    assert both.effort(data) == pytest.approx(network.effort(data))
    other = Stacked([Member("low_rank_sparse", LowRankSparse(iterations=3), 0.5), Member("network", network, 0.5)])
    assert other.effort(data) == pytest.approx(network.effort(data) + start.effort(data))


@pytest.mark.parametrize("varying", [False, True], ids=["at the edge of the calibration lines", "between lines"])
def test_a_network_is_tested_from_the_images_that_another_candidate_made(varying, starts):
    masks = np.stack([lines(64, 4, 16, offset=frame % 4 if varying else 0) for frame in range(8)])
    data = synthetic(masks, ny=64, nx=48, coils=8, noise=0.5).data
    network = method_class("unrolled")(model="crunet_mr.noise_aware", outside_domain="allow", device="cpu")

    def tested(start):
        return choose([("low_rank_sparse", start), ("network", network)], data, within=1.0, slices=1000)

    by_itself = choose([("network", network), ("zero_filled", ZeroFilled())], data, within=1.0, slices=1000)
    starts.clear()
    shared = tested(LowRankSparse()).estimates[1]
    assert shared.complete and shared.error == pytest.approx(by_itself.estimates[0].error, rel=0.02)
    draws = len(starts)
    starts.clear()
    tested(LowRankSparse(iterations=3))
    assert len(starts) == 2 * draws
