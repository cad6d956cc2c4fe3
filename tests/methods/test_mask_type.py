"""The mask type and the level that a network is told are those that it was trained on."""

from collections import Counter

import numpy as np
import pytest

from onebreath.methods.learned.mask_type import choose
from onebreath.mri.sampling import describe
from onebreath.networks.mr_ipt.mr_ipt import LEVELS, TYPES
from onebreath.training.data.image_masks import image_mask
from tests.methods.slices import lines


def choice(mask, levels=LEVELS, types=TYPES, **more):
    return choose(describe(mask), mask, levels, types, **more)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("acceleration", [4, 6, 8, 10])
def test_masks_of_the_training_are_recognised(kind, acceleration):
    found = Counter()
    for seed in range(20):
        one = choice(image_mask(kind, (192, 144), acceleration, np.random.default_rng(seed))[None])
        found[TYPES[one.kind], LEVELS[one.level]] += 1
    assert found[kind, acceleration] >= 17, found


@pytest.mark.parametrize(("acceleration", "acs", "level"), [(2, 0, 2), (4, 0, 4), (4, 24, 2), (8, 4, 6), (12, 0, 10)])
def test_lattices_of_scanners_are_equispaced(acceleration, acs, level):
    one = choice(lines(96, acceleration, acs)[None, :, None])
    assert (one.pattern, LEVELS[one.level]) == ("equispaced", level)


@pytest.mark.parametrize(("acceleration", "level"), [(5, 6), (7, 8), (3, 4)])
def test_ratios_between_levels_go_to_the_nearest_ratio(acceleration, level):
    mask = image_mask("random", (210, 8), acceleration, np.random.default_rng(1))[None]
    one = choice(mask)
    assert LEVELS[one.level] == level
    assert one.prompt == one.level
    between = choice(mask, interpolate=True)
    assert between.level == one.level
    assert between.prompt == pytest.approx((one.acceleration - 2) / 2)


def test_interpolated_prompts_follow_levels_in_any_order():
    mask = lines(90, 3)[None, :, None]
    assert choice(mask, levels=(4.0, 2.0), interpolate=True).prompt == pytest.approx(0.5)
    assert choice(lines(96, 12)[None, :, None], interpolate=True).prompt == 4


@pytest.mark.parametrize(
    ("kind", "known", "used"),
    [
        ("equispaced", ("gaussian_2d", "random"), "random"),
        ("gaussian_2d", ("random", "gaussian_1d"), "gaussian_1d"),
        ("gaussian_1d", ("equispaced", "gaussian_2d"), "equispaced"),
        ("random", ("own_pattern",), "own_pattern"),
    ],
)
def test_a_type_that_was_not_trained_goes_to_the_most_similar_one(kind, known, used):
    one = choice(image_mask(kind, (192, 144), 6, np.random.default_rng(0))[None], types=known)
    assert known[one.kind] == used


def test_a_short_readout_is_no_acceleration_and_no_pattern():
    mask = np.zeros((1, 64, 50), bool)
    mask[:, ::4, 10:] = True
    one = choice(mask)
    assert (one.pattern, one.acceleration) == ("equispaced", 4)


def test_a_network_without_levels_is_told_nothing():
    one = choice(lines(96, 4)[None, :, None], levels=(), types=())
    assert (one.level, one.kind, one.pattern) == (0, 0, "equispaced")
