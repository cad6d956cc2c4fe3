"""RAKI picks the slope of its activation by calibration lines that no training has seen."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import ConfigError
from onebreath.methods.raki import raki as module
from onebreath.methods.raki.parameters import USUAL_SLOPE
from onebreath.methods.raki.raki import Raki
from onebreath.methods.raki.slope import GRID, TRAININGS
from tests.helpers import nrmse
from tests.methods.slices import lines, synthetic
from tests.methods.test_raki import SMALL

QUICK = {**SMALL, "iterations": 30}


def scan(noise):
    case = synthetic(lines(64, 3), 64, 48, acs=24, noise=noise)
    units = np.float32(noise)
    data = replace(case.data, kspace=case.data.kspace / units, acs=case.data.acs / units)
    return data, case.truth / noise


@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_the_slope_picked_is_that_of_a_small_error(noise):
    data, truth = scan(noise)
    errors = {slope: nrmse(np.abs(Raki(**QUICK, slope=slope)(data).images), np.abs(truth)) for slope in GRID}
    made = Raki(**QUICK, slope="auto")(data)
    picked = float(made.facts["slope"].split(";")[0])
    assert picked in GRID
    assert f"slope {picked:g}" in made.facts["network"]
    assert all(f"{slope:g} 0." in made.facts["slope"] for slope in GRID), "each has its estimated error"
    assert errors[picked] <= 1.05 * errors[USUAL_SLOPE]
    assert errors[picked] < 0.97 * max(errors.values())
    np.testing.assert_array_equal(made.images, Raki(**QUICK, slope=picked)(data).images)


def test_the_first_slice_picks_for_all_of_its_shape(monkeypatch):
    picks, real = [], module.pick_slope
    monkeypatch.setattr(module, "pick_slope", lambda *a: picks.append(1) or real(*a))
    method = Raki(**{**QUICK, "iterations": 5}, slope="auto")
    first, other = (method(scan(noise)[0]) for noise in (1.0, 2.0))
    assert picks == [1]
    assert first.facts["slope"] == other.facts["slope"]
    method.for_replicas()(scan(1.0)[0])
    assert picks == [1]


@pytest.mark.parametrize(
    ("acceleration", "acs", "reason"),
    [
        (4, 7, "no candidate could be tested: raki: a kernel of 2 lines"),
        (2, 5, "all candidates learn from calibration"),
    ],
)
def test_the_usual_slope_is_taken_where_nothing_can_be_told(acceleration, acs, reason):
    case = synthetic(lines(64, acceleration), 64, 48, acs=acs, noise=1.0)
    made = Raki(**{**QUICK, "channels_1": 8, "channels_2": 4}, slope="auto")(case.data)
    assert made.facts["slope"].startswith(f"{USUAL_SLOPE:g}, as others cannot be tested: {reason}")
    assert f"slope {USUAL_SLOPE:g}" in made.facts["network"]


def test_it_takes_time_and_says_so():
    data, _ = scan(1.0)
    assert Raki(slope="auto").effort(data) == pytest.approx((1 + TRAININGS) * Raki().effort(data))
    with pytest.raises(ConfigError, match="slope = auto takes as long as eight slices"):
        Raki(slope="auto", time_budget_s=1)
    with pytest.raises(ConfigError, match="slope"):
        Raki(slope="best")
