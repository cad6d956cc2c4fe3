"""Noise of data that count as whitened, where the data contradict it."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.methods.base import method_class
from onebreath.methods.known_noise import contradicted, noise_level
from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.mri.noise_level import NoiseFloor
from tests.helpers import complex_normal, nrmse
from tests.methods.slices import lines, synthetic

ALL = np.ones((1, 1, 1), bool)
MASK = np.tile(lines(96, 4, 16), (8, 1))


def noisy(factor: float, noise: float = 1.0):
    """A slice whose noise is `factor` times as strong as it is said to be."""
    case = synthetic(MASK, ny=96, nx=80, noise=noise)
    return case, replace(case.data, kspace=case.data.kspace * np.complex64(factor))


@pytest.mark.parametrize("factor", [2.0, 5.0, 10.0])
def test_stronger_noise_than_whitened_is_measured_and_named(factor):
    _, data = noisy(factor)
    level, how = noise_level(data)
    assert level == pytest.approx(factor, rel=0.1)
    assert "far above that of whitened data" in how
    assert contradicted(data) == {"noise_understated": pytest.approx(factor, rel=0.1)}


def test_far_weaker_noise_is_named_too():
    _, data = noisy(0.2)
    assert contradicted(data) == {"noise_overstated": pytest.approx(5, rel=0.1)}
    assert contradicted(noisy(1.0)[1]) == {}


@pytest.mark.parametrize("noise", [1.0, 0.05])
def test_whitened_noise_is_1_and_signal_is_not_taken_for_noise(noise):
    """At a twentieth of the noise even the rim of k-space has more signal than noise."""
    _, data = noisy(1 / noise, noise)
    assert noise_level(data) == (1.0, "whitening")


def test_noise_below_the_signal_shows_between_frames():
    """The faintest part of k-space holds signal, which is the same in the next frame; noise is not."""
    rng = np.random.default_rng(0)
    signal = 50 * complex_normal(rng, (1, 1, 96, 80)) * complex_normal(rng, (1, 8, 1, 1))
    noise = 5 * complex_normal(rng, (8, 8, 96, 80))
    floor = NoiseFloor.of((signal + noise).astype(np.complex64), ALL)
    assert floor.level > 20
    assert floor.even == pytest.approx(5, rel=0.05)
    assert NoiseFloor.of((signal + noise)[:1].astype(np.complex64), ALL).even is None


def test_unequal_channels_are_no_noise_of_whitened_data():
    strengths = np.linspace(1, 3, 8)[:, None, None]
    kspace = complex_normal(np.random.default_rng(0), (8, 8, 96, 80)) * strengths
    assert NoiseFloor.of(kspace.astype(np.complex64), ALL).even is None
    assert NoiseFloor.of((kspace / strengths).astype(np.complex64), ALL).even is not None


def test_few_channels_tell_nothing():
    kspace = complex_normal(np.random.default_rng(0), (8, 2, 96, 80)).astype(np.complex64)
    assert NoiseFloor.of(kspace, ALL).even is None


def test_low_rank_sparse_with_the_noise_that_is_there_is_as_good_as_if_it_had_been_said():
    case, data = noisy(6.0)
    told = LowRankSparse()(case.data).images
    found = LowRankSparse()(data).images / 6
    assert nrmse(np.abs(found), np.abs(case.truth)) < 1.05 * nrmse(np.abs(told), np.abs(case.truth))


def test_a_network_gets_the_noise_of_the_data():
    method = method_class("unrolled")(model="crunet_mr.noise_aware", outside_domain="allow", device="cpu")
    case, data = noisy(6.0)
    images = np.asarray(method(data).images) / 6
    np.testing.assert_allclose(images, np.asarray(method(case.data).images), atol=0.03 * np.abs(case.truth).max())


def test_the_noise_level_of_a_replica_is_that_of_its_slice():
    """Else a method that uses the level would be another one in its replicas, whose noise is that of both."""
    case, _ = noisy(1.0)
    rng = np.random.default_rng(1)
    more = 2 * complex_normal(rng, case.data.kspace.shape).astype(np.complex64) * (case.data.kspace != 0)
    replica = case.data.replica(case.data.kspace + more)
    assert noise_level(replica) == (1.0, "whitening")
    assert noise_level(replace(case.data, kspace=replica.kspace))[0] > 2, "measured anew it is another one"
