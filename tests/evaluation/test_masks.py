"""Masks of comparisons."""

import numpy as np
import pytest

from onebreath.errors import ConfigError
from onebreath.evaluation.masks import SCAN_MASKS, radial_mask, scan_mask, study_mask
from onebreath.training.data.image_masks import image_mask
from onebreath.training.data.masks import make_mask


def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("shape", [(48, 40), (33, 30), (8, 64)])
@pytest.mark.parametrize("acceleration", [1, 2, 5, 7.5])
def test_points_of_radial_masks_are_counted_exactly(shape, acceleration):
    mask = radial_mask(shape, acceleration, rng())
    assert mask.shape == shape
    assert mask.sum() == round(shape[0] * shape[1] / acceleration)
    assert mask[shape[0] // 2, shape[1] // 2]


def test_radial_masks_are_dense_in_the_centre_and_seen_from_all_sides_alike():
    mask = radial_mask((64, 64), 4, rng())
    y, x = np.mgrid[-32:32, -32:32]
    inner, outer = np.hypot(y, x) < 3, (np.hypot(y, x) > 24) & (np.hypot(y, x) < 32)
    assert mask[inner].mean() > 0.9
    assert mask[outer].mean() < 0.35
    sectors = (4 * (np.arctan2(y, x) % np.pi) / np.pi).astype(int)
    counts = np.bincount(sectors[outer & mask], minlength=4)
    assert counts.min() > 0.6 * counts.max()
    assert (mask != radial_mask((64, 64), 4, np.random.default_rng(4))).any()


def test_masks_of_both_trainings_are_theirs():
    lines = scan_mask("vista", 4, (32, 24), 4, 8, rng())
    assert np.array_equal(lines[:, :, 0], make_mask("vista", 4, 32, 4, 8, rng()))
    points = scan_mask("gaussian_2d", 4, (32, 24), 4, 0, rng())
    assert np.array_equal(points[0], image_mask("gaussian_2d", (32, 24), 4, rng()))
    assert np.array_equal(study_mask("random", (32, 24), 4, rng()), image_mask("random", (32, 24), 4, rng()))


@pytest.mark.parametrize("family", SCAN_MASKS)
def test_every_mask_fits_a_scan(family):
    mask = scan_mask(family, 3, (32, 24), 4, 0, rng())
    assert mask.dtype == bool
    np.broadcast_shapes(mask.shape, (3, 32, 24))
    assert 0.1 < mask.mean() < 0.45


def test_calibration_lines_of_a_mask_with_a_centre_of_its_own_are_refused():
    with pytest.raises(ConfigError, match="R determines the centre of radial masks"):
        scan_mask("radial", 1, (32, 24), 4, 8, rng())
