"""Choosing by lines kept back, beside the errors that only the truth tells."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import MethodError
from onebreath.methods.base import Reconstruction
from onebreath.methods.cg_sense import CgSense
from onebreath.methods.choice import NARROWEST, choose, strip_width
from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.methods.zero_filled import ZeroFilled
from tests.helpers import nrmse
from tests.methods.slices import lines, synthetic

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
    found = choose(CANDIDATES, data, within=1.0, slices=10)
    assert errors[found.winner] < 1.03 * min(errors)
    assert f"{CANDIDATES[found.winner][0]} by" in found.reason


def test_the_estimates_are_about_the_errors():
    data, truth = scan(5.0, 4)
    found = choose(CANDIDATES, data, within=1.0, slices=10)
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
    assert choose(same, data, 1.0).winner == 0


def test_what_cannot_be_tested_is_named_and_does_not_win():
    class Broken(ZeroFilled):
        def __call__(self, data):
            return Reconstruction(np.full(super().__call__(data).images.shape, np.nan))

    class Refusing(ZeroFilled):
        def __call__(self, data):
            raise MethodError("not today")

    data, _ = scan()
    found = choose([("broken", Broken()), ("refusing", Refusing()), ("cg_sense", CgSense())], data, 1.0)
    assert found.winner == 2
    told = found.facts["choice_errors"]
    assert "broken not tested: it made pixels that are NaN" in told
    assert "refusing not tested: not today" in told
    with pytest.raises(MethodError, match="no candidate could be tested: not today"):
        choose([("refusing", Refusing())], data)


def test_it_says_when_nothing_can_be_told():
    data, _ = scan()
    with pytest.raises(MethodError, match="without coil maps"):
        choose(CANDIDATES, replace(data, maps=None))
    mask = np.zeros((8, 64, 1), bool)
    mask[:, 30:34] = True
    few = replace(data, mask=mask, kspace=data.kspace * mask[:, None])
    with pytest.raises(MethodError, match="needs a frame with 6 lines"):
        choose(CANDIDATES, few)


def test_time_is_bounded():
    """With nothing left, the candidates after the second are not tested; the part is as wide as the share allows."""
    data, _ = scan()
    found = choose([*CANDIDATES[:2], ("late", ZeroFilled())], data, within=0.0)
    assert [one.failed for one in found.estimates] == ["", "", "0 of the reconstruction's time was spent"]
    assert found.winner != 2
    assert strip_width(192, 1, 3, 0.3) == NARROWEST
    assert strip_width(192, 12, 3, 0.3) == 64
    assert strip_width(20, 12, 3, 0.3) == 20
