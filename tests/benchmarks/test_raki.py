from argparse import Namespace

import numpy as np
import pytest

from benchmarks.raki import Case, _case, _longest_run, outer_gain, outer_rest
from onebreath.methods.base import Reconstruction
from tests.helpers import complex_normal
from tests.methods.slices import lines, synthetic


@pytest.fixture
def case():
    made = synthetic(lines(64, 4, acs=16))
    rng = np.random.default_rng(0)
    return Case("noise", 4, made.data, complex_normal(rng, (64, 48)))


def test_gain_and_rest_tell_blur_from_noise(case):
    assert outer_gain(Reconstruction(case.full[None]), case) == pytest.approx(1)
    assert outer_gain(Reconstruction(0.6 * case.full[None]), case) == pytest.approx(0.6)
    assert outer_rest(Reconstruction(0.6 * case.full[None]), case) < 1e-9
    noise = complex_normal(np.random.default_rng(1), case.full.shape)
    once, twice = (outer_rest(Reconstruction((case.full + k * noise)[None]), case) for k in (1, 2))
    assert twice == pytest.approx(2 * once, rel=0.05)


def test_only_predicted_outer_lines_count(case):
    assert not case.outer[16:49].any()
    assert not case.outer[::4].any()
    assert case.outer.sum() == 24


def test_longest_run():
    assert _longest_run(np.array([1, 0, 1, 1, 1, 0, 1, 1], bool)) == slice(2, 5)


def test_columns_are_those_about_the_centre(tmp_path):
    (tmp_path / "brain7ch").mkdir()
    kspace = complex_normal(np.random.default_rng(0), (2, 64, 48), np.complex64)
    kspace[:, :, 24] += 100
    np.save(tmp_path / "brain7ch" / "kspace.npy", kspace)
    case = _case(tmp_path, "brain7ch", 4, Namespace(coils=2, acs=24, columns=20))
    assert case.full.shape == (64, 20)
    assert np.abs(case.data.kspace).sum(axis=(0, 1, 2)).argmax() == 10
