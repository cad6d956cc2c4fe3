"""Choosing by held-back lines, beside the errors that only the truth tells."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import MethodError
from onebreath.methods.base import Reconstruction, method_class
from onebreath.methods.cg_sense import CgSense
from onebreath.methods.choice.choice import choose
from onebreath.methods.choice.held_back import held_back, signal_of
from onebreath.methods.choice.plan import FEWEST_FRAMES, NARROWEST, WIDEST, plan_of
from onebreath.methods.choice.trial import MAPS, NEVER, Trial
from onebreath.methods.learned.effort import network_seconds
from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.methods.zero_filled import ZeroFilled
from onebreath.mri.fourier import fft2c
from tests.helpers import nrmse
from tests.methods.slices import lines, synthetic
from tests.models import TINY, save_model

CANDIDATES = [("zero_filled", ZeroFilled()), ("cg_sense", CgSense()), ("low_rank_sparse", LowRankSparse())]


def scan(noise=1.0, acceleration=4, acs=6, frames=8, last=None):
    """A slice of 32 columns, all of which are tested, whose lines shift from frame to frame."""
    mask = np.stack([lines(64, acceleration, acs, frame % acceleration, last) for frame in range(frames)])
    case = synthetic(mask, ny=64, nx=32, coils=6, noise=noise)
    return replace(case.data, kspace=case.data.kspace / np.float32(noise)), case.truth / noise


@pytest.mark.parametrize("noise", [1.0, 20.0])
@pytest.mark.parametrize("acceleration", [2, 8])
def test_the_candidate_wins_whose_image_is_the_best(noise, acceleration):
    data, truth = scan(noise, acceleration)
    errors = [nrmse(method(data).images, truth) for _, method in CANDIDATES]
    found = choose(CANDIDATES, data, within=1.0, slices=1000)
    assert errors[found.winner] < 1.03 * min(errors)
    images = sum(w * np.asarray(method(data).images) for (_, method), w in zip(CANDIDATES, found.weights, strict=True))
    assert nrmse(images, truth) < 1.1 * min(errors)  # candidates without the held-back lines weigh a bit differently
    assert ("the mean of" if max(found.weights) < 1 else f"{CANDIDATES[found.winner][0]} by") in found.reason


def test_the_estimates_are_about_the_errors():
    data, truth = scan(5.0, 4)
    found = choose(CANDIDATES, data, within=1.0, slices=1000)
    for (_, method), estimate in zip(CANDIDATES, found.estimates, strict=True):
        images = method(data).images
        error = np.linalg.norm(images - truth) / np.linalg.norm(images)
        assert 0.6 < estimate.error / error < 1.8
        assert 0 < estimate.uncertainty < estimate.error
    assert 0 < found.noise_only < min(one.error for one in found.estimates)


def test_partial_fourier_is_not_held_against_anyone():
    """Lines beyond the acquired range count for nobody: the estimate is that of the lines within."""
    whole, part = scan(5.0)[0], scan(5.0, last=50)[0]
    errors = [choose(CANDIDATES[1:], data, 1.0, 10).estimates[0].error for data in (whole, part)]
    assert errors[1] < 1.5 * errors[0]


def test_among_equals_the_order_decides():
    data, _ = scan()
    same = [("second", CgSense()), ("first", CgSense())]
    assert choose(same, data, 1.0, 10).winner == 0


def test_what_cannot_be_tested_is_named_and_does_not_win():
    class Broken(ZeroFilled):
        def __call__(self, data):
            return Reconstruction(np.full(super().__call__(data).images.shape, np.nan))

    class Refusing(ZeroFilled):
        def __call__(self, data):
            raise MethodError("not today")

    data, _ = scan()
    found = choose([("broken", Broken()), ("refusing", Refusing()), ("cg_sense", CgSense())], data, 1.0, 1000)
    assert found.winner == 2
    told = found.facts["choice_errors"]
    assert "broken not tested: it made pixels that are NaN" in told
    assert "refusing not tested: not today" in told
    with pytest.raises(MethodError, match="no candidate could be tested: not today"):
        choose([("refusing", Refusing())], data)


def test_it_says_when_nothing_can_be_told():
    data, _ = scan()
    with pytest.raises(MethodError, match="without coil maps"):
        choose(CANDIDATES, replace(data, maps=None), slices=1000)
    mask = np.zeros((8, 64, 1), bool)
    mask[:, 30:34] = True
    few = replace(data, mask=mask, kspace=data.kspace * mask[:, None])
    with pytest.raises(MethodError, match="a frame needs 6 lines"):
        choose(CANDIDATES, few, slices=1000)


def test_the_part_is_as_large_as_the_share_allows():
    """The tests take at most the share of a mean's time; efforts are counted, so that no clock decides."""
    shape = (24, 10, 160, 192)
    for efforts in ([1.0, 2.5], [2.5, 1.0], [1.0, 1.0, 1.0]):
        for slices in (1, 2, 5, 12):
            plan = plan_of(efforts, shape, slices, 0.3)
            tested = [effort for i, effort in enumerate(efforts) if i not in plan.left_out]
            share = plan.columns / shape[3] * plan.frames / shape[0]
            assert len(tested) == 1 or share * sum(tested) <= 0.3 * slices * min(sum(tested[:2]), 5 * min(tested))
            assert plan.columns >= NARROWEST and plan.frames >= FEWEST_FRAMES
    assert plan_of([1.0, 2.5], shape, 12, 0.3) == plan_of([1.0, 2.5], shape, 50, 0.3)
    assert plan_of([1.0, 2.5], shape, 12, 0.3).columns == WIDEST
    assert plan_of([1.0, 2.5, 600.0], shape, 12, 0.3).left_out == {2: "the tests would take more than 0.3 of the "
                                                                  "reconstruction's time"}  # fmt: skip


def test_the_effort_of_a_network_has_that_of_its_start():
    data = synthetic(np.tile(lines(64, 4, 16), (8, 1))).data
    method = method_class("unrolled")(model="crunet_mr.noise_aware")
    arguments = method.card.arguments
    alone = network_seconds(method.card.architecture, arguments, data.kspace.shape)
    assert arguments["start"] == "low_rank_sparse"
    assert method.effort(data) == pytest.approx(alone + LowRankSparse().effort(data))


def test_what_there_is_no_time_for_is_named():
    class Slow(ZeroFilled):
        seconds_per_million = 1000.0

    data, _ = scan()
    found = choose([*CANDIDATES[1:], ("slow", Slow())], data, within=1.0, slices=10)
    assert [bool(one.failed) for one in found.estimates] == [False, False, True]
    assert "slow not tested: the tests would take more than 1 of" in found.facts["choice_errors"]
    with pytest.raises(MethodError, match=r"would take more than 0\.01 of the reconstruction's time"):
        choose(CANDIDATES[1:], data, within=0.01)


def test_the_same_scan_has_the_same_winner_whatever_the_clock_says(monkeypatch):
    data, _ = scan(5.0)
    found = choose(CANDIDATES[1:], data, within=1.0, slices=10)
    monkeypatch.setattr("time.perf_counter", iter(range(0, 10**9, 1000)).__next__)
    again = choose(CANDIDATES[1:], data, within=1.0, slices=10)
    assert [one.error for one in again.estimates] == [one.error for one in found.estimates]
    assert again.reason == found.reason


def test_held_back_lines_are_like_those_that_are_missing():
    """Missing in all frames, if lines are so; outside a full centre; at each distance at which lines are missing."""
    fixed = np.broadcast_to(lines(64, 4, 12, 0), (8, 64))
    held = held_back(fixed, 32)
    assert (held == held[0]).all()
    assert not (held & ~fixed).any()
    assert not held[:, 26:38].any()
    assert 0 < held[0].sum() <= (fixed[0].sum() - 12) / 4
    rng = np.random.default_rng(1)
    scattered = rng.random((8, 64)) < 0.3
    scattered[:, 32] = np.arange(8) < 2
    held = held_back(scattered, 32)
    assert held.any(axis=1).all()
    assert held[:, 32].any(), "what misses the centre in a frame is judged by a centre"
    assert held.sum() <= scattered.sum() / 4


@pytest.mark.parametrize("keeps", [0.0, 0.5, 1.0])
def test_the_error_at_lines_that_were_seen_counts_the_noise_kept(keeps):
    """A method that multiplies its image by a number keeps so much noise and loses so much signal: both are told."""

    class Weaker(CgSense):
        def __call__(self, data):
            made = super().__call__(data)
            made.images = made.images * np.float32(keeps)
            return made

    data, truth = scan(2.0, acceleration=1)
    found = choose([("weaker", Weaker())], data, within=1.0, slices=10)
    images = Weaker()(data).images
    energy = np.linalg.norm(images) if keeps else 1.0
    noisier = (1.25 - 1) * keeps**2 * 2 * images.size  # the trial's data have a quarter more noise
    error = np.sqrt(np.linalg.norm(images - truth) ** 2 + noisier)
    if keeps:
        assert found.estimates[0].error == pytest.approx(error / energy, rel=0.1)
    else:
        assert found.estimates[0].error > 10


def test_the_error_has_an_interval_where_the_centre_is_known():
    found = choose(CANDIDATES[1:], scan(5.0)[0], 1.0, 10)
    low, high = (float(word) for word in str(found.facts["choice_error_90_percent"]).split(" to "))
    assert low < found.facts["choice_error"] < high
    without = choose(CANDIDATES[1:], scan(5.0, acs=0)[0], 1.0, 10)
    assert str(without.facts["choice_error_90_percent"]).startswith("not known, as the centre of k-space")


def test_lines_that_no_frame_has_and_coil_maps_count_however_little_noise_there_is():
    """No held-back line shows them, so the interval's upper end does not fall with the noise below a floor."""
    quiet, noisy = (choose(CANDIDATES[1:], scan(noise)[0], 1.0, 10) for noise in (0.01, 5.0))
    assert quiet.interval[1] > MAPS > 2 * quiet.error
    assert quiet.interval[1] < noisy.interval[1]
    mask = np.stack([lines(64, 4, 6, frame % 2) for frame in range(8)])  # half of the lattice's lines are in no frame
    gaps = synthetic(mask, ny=64, nx=32, coils=6, noise=0.01).data
    assert Trial.of(scan(0.01)[0], 8, 32).unshown(0.0) == 0
    missing = ~mask.any(axis=0)
    signal = (np.abs(fft2c(CgSense()(gaps).images)) ** 2).sum(axis=(0, 2))[missing].sum()
    assert 0.3 < Trial.of(gaps, 8, 32).unshown(0.0) / (NEVER * signal) < 3


def test_the_signal_of_missing_lines_is_that_of_acquired_ones_as_far_from_the_centre():
    rows = np.arange(64)
    acquired = np.stack([rows % 2 == 0, rows % 4 == 0])
    energies = np.where(acquired, 100.0 / (1 + np.abs(rows - 32)) ** 2, 0)
    missing = rows % 4 == 2
    wanted = float((100.0 / (1 + np.abs(rows - 32)) ** 2)[missing].sum())
    assert signal_of(missing, energies, acquired, 32) == pytest.approx(wanted, rel=0.5)
    assert signal_of(np.zeros(64, bool), energies, acquired, 32) == 0


def test_the_effort_of_a_network_has_that_of_a_start_that_only_it_makes(tmp_path, monkeypatch):
    """Without wavelets the start is not what L+S makes by itself; it takes its time all the same."""
    save_model(tmp_path, arguments={**TINY["crunet_mr"], "start": "low_rank_sparse", "data_consistency": "cg"})
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    data = synthetic(np.tile(lines(64, 4, 16), (8, 1))).data
    method = method_class("unrolled")(model="crunet_mr.tiny")
    alone = network_seconds(method.card.architecture, method.card.arguments, data.kspace.shape)
    assert method.begins_with == ""
    assert method.effort(data) == pytest.approx(alone + LowRankSparse().effort(data))
