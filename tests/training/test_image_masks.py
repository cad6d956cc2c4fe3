import numpy as np
import pytest

from onebreath.errors import ConfigError
from onebreath.training.data.image_masks import IMAGE_MASKS, centre_fraction, image_mask

# Lines of the paper's grid at 224: 224 / R, and those of the centre, 224 times its fraction.
GRID = {2: (112, 22), 4: (56, 18), 6: (37, 13), 8: (28, 9), 10: (22, 4)}


def draw(kind, acceleration, seed=0, shape=(224, 224), **more):
    return image_mask(kind, shape, acceleration, np.random.default_rng(seed), **more)


@pytest.mark.parametrize(("acceleration", "fraction"), [(2, 0.10), (4, 0.08), (6, 0.06), (8, 0.04), (10, 0.02)])
def test_the_centre_is_the_papers(acceleration, fraction):
    assert centre_fraction(acceleration) == pytest.approx(fraction)


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("kind", ["random", "equispaced", "gaussian_1d"])
@pytest.mark.parametrize("acceleration", GRID)
def test_lines_are_counted_exactly(kind, acceleration, official):
    lines, centre = GRID[acceleration]
    for seed in range(5):
        mask = draw(kind, acceleration, seed, official_equispaced=official)
        assert mask.shape == (224, 1)
        assert mask.sum() == lines
        assert mask[112 - centre // 2 : 112 - centre // 2 + centre].all()


@pytest.mark.parametrize("shape", [(224, 224), (145, 192), (31, 30)])
@pytest.mark.parametrize("acceleration", [2, 4, 5, 6, 7, 8, 10])
def test_points_are_counted_exactly(acceleration, shape):
    mask = draw("gaussian_2d", acceleration, shape=shape)
    assert mask.shape == shape
    assert mask.sum() == round(mask.size / acceleration)


@pytest.mark.parametrize("acceleration", [5, 7])
@pytest.mark.parametrize("kind", IMAGE_MASKS)
def test_ratios_between_the_papers(kind, acceleration):
    mask = draw(kind, acceleration)
    assert mask.sum() == round(mask.size / acceleration)


def test_masks_follow_from_the_seed():
    for kind in IMAGE_MASKS:
        assert (draw(kind, 8, 3) == draw(kind, 8, 3)).all()
        assert (draw(kind, 8, 3) != draw(kind, 8, 4)).any()


def outer_gaps(mask, centre):
    """Distances of the lines above the centre block."""
    lines = np.flatnonzero(mask[:, 0])
    return np.diff(lines[lines > 112 + centre // 2])


def test_equispaced_lines_are_evenly_spaced_and_the_released_ones_are_not():
    spaced, released = draw("equispaced", 4), draw("equispaced", 4, official_equispaced=True)
    assert np.ptp(outer_gaps(spaced, 18)) <= 1
    assert np.ptp(outer_gaps(released, 18)) >= 1
    outside = np.setdiff1d(np.arange(224), np.arange(103, 121))
    left_out = np.searchsorted(outside, np.flatnonzero(~released[:, 0]))
    assert np.ptp(np.diff(left_out)) <= 1, "it is the lines left out that are evenly spaced"
    starts = {int(np.argmax(draw("equispaced", 8, seed))) for seed in range(40)}
    assert len(starts) > 5, "the start of the lattice is drawn"


def test_gaussian_densities_have_the_released_widths():
    lines = np.mean([draw("gaussian_1d", 10, seed, fraction=0.0)[:, 0] for seed in range(400)], axis=0)
    y = (np.arange(224) - 111.5) / 224
    assert np.sqrt((lines * y**2).sum() / lines.sum()) == pytest.approx(1 / 6, rel=0.1)
    points = np.mean([draw("gaussian_2d", 40, seed, fraction=0.0) for seed in range(60)], axis=0)
    for axis in (0, 1):
        profile = points.sum(axis=axis)
        assert np.sqrt((profile * y**2).sum() / profile.sum()) == pytest.approx(0.2, rel=0.1)
    assert lines[100:124].mean() > 3 * lines[:24].mean()


def test_gaussian_lines_and_points_come_in_patches():
    lines = draw("gaussian_1d", 8, fraction=0.0)[:, 0].reshape(112, 2)
    assert (lines.all(axis=1) == lines.any(axis=1)).all()
    points = draw("gaussian_2d", 7, fraction=0.0).reshape(56, 4, 56, 4).transpose(0, 2, 1, 3).reshape(-1, 16)
    assert 7168 % 16 == 0
    assert (points.all(axis=1) == points.any(axis=1)).all()


def test_random_lines_have_a_constant_density():
    lines = np.mean([draw("random", 4, seed, fraction=0.0)[:, 0] for seed in range(300)], axis=0)
    assert lines[:112].mean() == pytest.approx(lines[112:].mean(), abs=0.01)
    assert lines.min() > 0.12


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ConfigError, match="no mask type 'radial'; known are random, equispaced"):
        draw("radial", 4)
    with pytest.raises(ConfigError, match="112 fully sampled of 224 does not allow R=4"):
        draw("random", 4, fraction=0.5)
    with pytest.raises(ConfigError, match=r"does not allow R=0\.5"):
        draw("random", 0.5)
