import numpy as np
import pytest

from onebreath.errors import ConfigError
from onebreath.training.data.masks import MaskFamily, cmrxrecon_mask, draw_mask, make_mask


# Numbers of lines of the challenge's rule for three matrix sizes.
@pytest.mark.parametrize(
    ("ny", "acceleration", "lines"),
    [
        *((168, 4, 60), (168, 8, 42), (168, 10, 39), (168, 24, 30)),
        *((204, 4, 69), (204, 8, 47), (204, 10, 42), (204, 24, 32)),
        *((246, 4, 80), (246, 8, 52), (246, 10, 47), (246, 24, 34)),
    ],
)
def test_cmrxrecon_has_the_lines_of_the_challenge(ny, acceleration, lines):
    mask = cmrxrecon_mask(ny, acceleration)
    assert mask.shape == (1, ny)
    assert mask.sum() == lines
    first = (ny - 24 + 1) // 2
    assert mask[0, first : first + 24].all()
    outside = np.r_[mask[0, :first], np.zeros(24, bool), mask[0, first + 24 :]]
    assert set(np.flatnonzero(outside) % acceleration) == {0}


def make(family, acs=0, acceleration=4, frames=6, ny=96, seed=0):
    return make_mask(family, frames, ny, acceleration, acs, np.random.default_rng(seed))


def test_uniform_is_a_lattice_at_any_offset():
    offsets = set()
    for seed in range(30):
        lines = np.flatnonzero(make("uniform", seed=seed)[0])
        assert set(np.diff(lines)) == {4}
        assert lines[0] < 4
        assert lines[-1] >= 92
        offsets.add(int(lines[0]))
    assert offsets == {0, 1, 2, 3}


def test_kt_uniform_covers_every_line_within_r_frames():
    mask = make("kt_uniform", frames=4)
    assert (mask.sum(axis=0) == 1).all()


@pytest.mark.parametrize("family", ["vista", "random", "gaussian"])
def test_random_families_differ_between_frames_and_keep_the_acceleration(family):
    mask = make(family, acs=8, acceleration=8)
    assert mask.shape == (6, 96)
    assert not (mask[0] == mask[1]).all()
    assert mask[:, 44:52].all()
    assert (np.abs(mask.sum(axis=1) - (8 + 12)) <= 4).all()


def test_gaussian_is_denser_in_the_centre():
    mask = make("gaussian", acceleration=4, frames=50)
    assert mask[:, 36:60].mean() > 2 * mask[:, :24].mean()


def test_families_are_drawn_by_weight():
    families = (
        MaskFamily(family="cmrxrecon", accelerations=(4,), weight=3),
        MaskFamily(family="random", accelerations=(4,), weight=1),
    )
    rng = np.random.default_rng(1)
    share = np.mean([len(draw_mask(families, 5, 64, rng)) == 1 for _ in range(400)])
    assert share == pytest.approx(0.75, abs=0.07)


def test_a_matrix_that_is_too_small_is_refused():
    with pytest.raises(ConfigError, match="24 acs_lines"):
        make("cmrxrecon", acs=24, ny=20)
