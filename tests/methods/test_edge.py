"""The choice for static scans with a lattice of lines, by calibration lines that are held back."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import MethodError
from onebreath.methods.base import Reconstruction
from onebreath.methods.cg_sense import CgSense
from onebreath.methods.choice.choice import choose
from onebreath.methods.choice.edge import DRAWS, EdgeTrial
from onebreath.methods.choice.lattice_edge import lines_of, why_not
from onebreath.methods.choice.plan import MOST_SLICES, plan_of_edges
from onebreath.methods.choice.stacked import Member, Stacked
from onebreath.methods.grappa.grappa import Grappa
from onebreath.methods.zero_filled import ZeroFilled
from onebreath.mri.sampling import describe
from tests.helpers import complex_normal
from tests.methods.slices import lines, synthetic

CANDIDATES = [("cg_sense", CgSense()), ("grappa", Grappa()), ("zero_filled", ZeroFilled())]
LINEAR = [("cg_sense", CgSense()), ("smoother", CgSense(regularisation=0.1)), ("zero_filled", ZeroFilled())]
ANY_TIME = {"within": 1.0, "slices": 10_000}


def scan(noise=1.0, acceleration=3, acs=20, seed=0, frames=1):
    """A slice with a lattice of lines and calibration lines as data; noise has unit standard deviation."""
    mask = np.repeat(lines(96, acceleration, acs)[None], frames, axis=0)
    case = synthetic(mask, ny=96, nx=64, coils=8, noise=0)
    drawn = complex_normal(np.random.default_rng(seed), case.full.shape, np.complex64)
    kspace = (case.full / np.float32(noise) + drawn) * case.data.mask[:, None]
    first = 48 - acs // 2
    block = kspace.mean(axis=0)[:, first : first + acs]
    return replace(case.data, kspace=kspace.astype(np.complex64), acs=block, acs_first=first), case.truth / noise


def magnitude_error(images, truth):
    return float(np.linalg.norm(np.abs(images) - np.abs(truth)) / np.linalg.norm(images))


def made(method, data):
    return np.asarray(Stacked([Member("one", method, 1.0)])(data).images)


@pytest.mark.parametrize("acceleration", [2, 3, 4, 6])
def test_whole_gaps_are_held_back_and_the_lattice_stays(acceleration):
    data, _ = scan(acceleration=acceleration)
    found = lines_of(data)
    assert found.held.any()
    assert not (found.held & found.lattice).any()
    first, last = found.left
    assert last - first + 1 >= 10, "half of the calibration lines are left at least"
    seen = (found.lattice | found.block) & ~found.held
    outside = np.flatnonzero(seen & ((np.arange(96) <= first) | (np.arange(96) >= last)))
    gaps = np.diff(outside)
    assert gaps[gaps != last - first].max() == acceleration, "no gap is wider than those of the scan"


@pytest.mark.parametrize("noise", [5.0, 12.0])
@pytest.mark.parametrize("acceleration", [2, 4])
def test_the_estimates_are_about_the_errors_of_the_magnitude(noise, acceleration):
    data, truth = scan(noise, acceleration)
    found = choose(LINEAR, data, **ANY_TIME)
    for (_, method), estimate in zip(LINEAR, found.estimates, strict=True):
        assert 0.6 < estimate.error / magnitude_error(made(method, data), truth) < 1.7
        assert 0 < estimate.uncertainty < 2 * estimate.error
    low, high = found.interval
    assert low < found.error < high
    images = sum(w * made(m, data) for (_, m), w in zip(LINEAR, found.weights, strict=True))
    best = min(magnitude_error(made(m, data), truth) for _, m in LINEAR)
    assert magnitude_error(images, truth) < 1.05 * best


def test_noise_and_error_are_unbiased_for_a_linear_method():
    """Least squares lose no signal at lines that they see: what is measured there is the noise of their images."""
    least_squares = CgSense(regularisation=0.0, iterations=60)
    totals, truths = [], []
    for seed in range(4):
        data, truth = scan(3.0, 2, seed=seed)
        trial = EdgeTrial.of([data], 1, 64)
        found = trial.run(least_squares)
        assert not isinstance(found, str)
        totals.append(found.total)
        images = np.asarray(least_squares(data).images)
        truths.append(float((np.abs(images - truth) ** 2).sum()) / 2)  # half of it is in phase
    assert sum(totals) == pytest.approx(sum(truths), rel=0.15)


def test_a_kernel_that_knows_the_held_back_lines_would_look_better():
    """What GRAPPA learns its kernel from has no held-back line in it."""
    seen = []

    class Watching(Grappa):
        def __call__(self, data):
            seen.append((data.acs.shape[1], data.acs_first, data.mask.any(axis=(0, 2))))
            return super().__call__(data)

    data, _ = scan()
    held = lines_of(data).held
    choose([("grappa", Watching()), ("cg_sense", CgSense())], data, **ANY_TIME)
    assert len(seen) == DRAWS
    for count, first, rows in seen:
        assert not held[first : first + count].any()
        assert not (rows & held).any()
        assert not rows[first : first + count].all(), "GRAPPA gets the lattice alone, as in the chain"


def test_what_cannot_be_tested_is_named():
    data, _ = scan()
    lattice = lines(96, 3)[None, :, None]
    apart = replace(data, mask=lattice, kspace=data.kspace * lattice[:, None], sampling=describe(lattice))
    assert "acquired apart" in why_not(apart)
    with pytest.raises(MethodError, match="learns from calibration lines, and the calibration lines were acquired"):
        choose(CANDIDATES[:2], apart, **ANY_TIME)
    found = choose([*CANDIDATES, ("again", CgSense())], apart, **ANY_TIME)
    assert "grappa not tested: it learns from calibration lines" in found.facts["choice_errors"]
    few = choose(CANDIDATES, scan(acceleration=6, acs=4)[0], **ANY_TIME)
    assert "grappa not tested: it learns from calibration lines, and the 4 calibration lines are too few" in str(
        few.facts
    )
    assert not few.estimates[0].failed, "lines of the lattice are held back from the others"
    with pytest.raises(MethodError, match=r"would take more than 0\.3"):
        choose(CANDIDATES, data)

    class Broken(ZeroFilled):
        def __call__(self, data):
            return Reconstruction(np.full(super().__call__(data).images.shape, np.nan))

    broken = choose([("broken", Broken()), *CANDIDATES], data, **ANY_TIME)
    assert "broken not tested: it made pixels that are NaN" in broken.facts["choice_errors"]


def test_more_slices_are_tested_where_there_is_time():
    """Columns come first, then frames, then slices; all of it within the share."""
    efforts, shape = [1.0, 1.0], (2, 8, 128, 128)
    found = [plan_of_edges(efforts, shape, slices, 0.3, 12, DRAWS) for slices in (6, 10, 16, 100)]
    assert [one.columns for one in found[1:]] == [128] * 3
    assert found[0].columns < 128
    assert [one.slices for one in found] == [1, 1, 2, MOST_SLICES]
    for slices, plan in zip((6, 10, 16), found, strict=False):
        assert DRAWS * plan.slices * plan.columns / 128 * sum(efforts) <= 0.3 * slices * 2
    data = [scan(seed=seed)[0] for seed in range(5)]
    many = choose(CANDIDATES, data[0], further=data[1:], **ANY_TIME)
    one = choose(CANDIDATES, data[0], **ANY_TIME)
    assert many.facts["choice_slices"] == MOST_SLICES
    assert many.lines == MOST_SLICES * one.lines


def test_a_mean_gives_each_member_the_lines_that_it_takes_alone():
    data, _ = scan()
    lattice = lines(96, 3)[None, :, None]
    alone = replace(data, mask=lattice, kspace=data.kspace * lattice[:, None], sampling=describe(lattice))
    grappa, sense = Grappa(), CgSense()
    found = Stacked([Member("sense", sense, 0.5), Member("grappa", grappa, 0.5)])(data).images
    wanted = (np.asarray(sense(data).images) + np.asarray(grappa(alone).images)) / 2
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_a_cine_scan_without_time_for_two_reconstructions_is_tested_by_one():
    data, _ = scan(5.0, frames=8)
    smallest = 32 / 64  # columns; all frames are tested
    methods = LINEAR[:2]
    between = smallest * 1.5 / 0.85  # of the margin: more than one test of both takes, less than two
    held = {within: choose(methods, data, within, 1).facts["choice_lines"] for within in (between, 4.0)}
    one_line_less_per_frame = lines_of(data).held.sum()
    assert held[4.0] == one_line_less_per_frame, "calibration lines"
    assert held[between] >= 8, "lines of the lattice, in every frame"


def slow(method, **parameters):
    """A method of which the tests know how often it was called, and whose tests take longer than its reference's."""

    class Slow(method):
        seconds_per_million = 2.0
        calls = 0

        def __call__(self, data):
            type(self).calls += 1
            return super().__call__(data)

    return Slow(**parameters)


def test_a_slow_candidate_that_brings_nothing_is_looked_at_once():
    """The estimate from one draw is no more than that from two; without regularisation noise goes through."""
    data, _ = scan(5.0)
    late = slow(CgSense)
    candidates = [("regularised", CgSense(regularisation="noise")), ("slow", late)]
    found = choose(candidates, data, within=1.0, slices=8)
    assert late.calls == 1 < DRAWS
    assert found.winner == 0
    assert found.weights == (1.0, 0.0)
    assert "slow at least 0." in found.facts["choice_errors"]
    full = choose(candidates, data, **ANY_TIME)
    assert late.calls == 1 + DRAWS, "there is time for all draws"
    assert found.estimates[0].error < found.estimates[1].error < 1.1 * full.estimates[1].error
    assert found.estimates[0].error == pytest.approx(full.estimates[0].error, rel=1e-6)


def test_a_slow_candidate_that_is_ahead_is_tested_in_full():
    data, _ = scan(5.0)
    late = slow(ZeroFilled)
    found = choose([("cg_sense", CgSense()), ("slow", late)], data, within=1.0, slices=8)
    assert late.calls == DRAWS
    assert all(one.complete for one in found.estimates)
    assert found.winner == 1


def test_nobody_waits_for_a_reference_that_fails():
    class Broken(CgSense):
        def __call__(self, data):
            raise MethodError("not today")

    data, _ = scan(5.0)
    late = slow(ZeroFilled)
    found = choose([("broken", Broken()), ("slow", late)], data, within=1.0, slices=8)
    assert late.calls == DRAWS
    assert found.estimates[0].failed == "not today"
