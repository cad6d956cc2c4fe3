import numpy as np
import pytest

from onebreath.simulation.geometry import Grid
from onebreath.simulation.phantom import Phantom
from onebreath.simulation.scan import ScanOptions, simulate
from onebreath.simulation.signals.texture import TexturedChest, waves

GRID = Grid((145, 180), (2.0, 2.0))


@pytest.fixture(scope="module")
def chest():
    return TexturedChest(GRID)


def test_waves_have_mean_0_and_deviation_1():
    axis = np.arange(-400.0, 400.0, 2.0)
    made = np.stack([waves(axis, axis, np.random.default_rng(seed)) for seed in range(8)])
    assert abs(made.mean()) < 0.02
    assert made.std() == pytest.approx(1, abs=0.05)


def test_tissues_are_uneven_about_the_signal_of_the_plain_chest(chest):
    plain, textured = (np.abs(body.draw(0.0, 0.0)) for body in (Phantom(GRID), chest))
    liver = np.hypot(GRID.axis(1)[None] + 74, GRID.axis(0)[:, None] - 30) < 25
    tissue = liver & np.isclose(plain, np.median(plain[liver]), rtol=1e-3)
    assert tissue.sum() > 200
    assert 0.05 < np.std(textured[tissue] / plain[tissue]) < 0.2
    assert np.mean(textured[tissue] / plain[tissue]) == pytest.approx(1, abs=0.1)
    assert np.std(plain[tissue]) < 1e-3


def test_the_same_seed_is_the_same_body_and_another_is_another(chest):
    again, other = TexturedChest(GRID), TexturedChest(GRID, seed=1)
    np.testing.assert_array_equal(chest.draw(0.0, 0.3), again.draw(0.0, 0.3))
    assert np.abs(chest.draw(0.0, 0.3) - other.draw(0.0, 0.3)).max() > 0.1


def test_what_does_not_move_is_the_same_at_all_times(chest):
    outside = ~chest.heart_mask(0.0)
    assert np.abs(chest.draw(0.0, 0.0) - chest.draw(0.0, 0.35))[outside].max() < 0.05


def test_the_liver_takes_its_texture_with_it(chest):
    """Moved by two pixels along y (and as much as breathing does along x) the liver is the same."""
    shift = 4 / np.sqrt(1 - 0.3**2)
    rest, moved = (np.abs(chest.draw(-20.0, 0.0, mm)) for mm in (0.0, shift))
    inside = (slice(75, 95), slice(40, 62))
    below = (slice(77, 97), slice(40, 62))
    still = np.abs(moved[inside] - rest[inside]).mean()
    assert np.abs(moved[below] - rest[inside]).mean() < 0.5 * still


def test_a_scan_of_it_has_its_truth():
    scan = simulate(ScanOptions(anatomy="textured", matrix=(64, 64), slices=1, phases=2, coils=4, seed=2))
    plain = simulate(ScanOptions(matrix=(64, 64), slices=1, phases=2, coils=4, seed=2))
    assert scan.truth["image"].shape == plain.truth["image"].shape
    assert not np.allclose(scan.truth["image"], plain.truth["image"], atol=0.05)
