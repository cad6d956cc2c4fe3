"""What is known of the error of slices that were not tested, and of scans whose noise or k-space is not known."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import MethodError
from onebreath.methods.cg_sense import CgSense
from onebreath.methods.choice.choice import choose
from onebreath.methods.choice.likeness import Likeness
from onebreath.methods.grappa.grappa import Grappa
from onebreath.methods.zero_filled import ZeroFilled
from onebreath.mri.sampling import describe
from tests.helpers import complex_normal
from tests.methods.test_edge import ANY_TIME, LINEAR, magnitude_error, scan


def whitened(**options):
    data, truth = scan(**options)
    return replace(data, whitened=True), truth


def noisier(data, factor):
    """More noise than the scan has, of which the noise scan does not know."""
    more = complex_normal(np.random.default_rng(7), data.kspace.shape, np.complex64) * np.float32(factor)
    return replace(data, kspace=(data.kspace + more * np.asarray(data.mask)[:, None]).astype(np.complex64))


def sparser(data):
    """Every second line of the lattice outside the calibration lines is missing."""
    mask = np.array(data.mask)
    outside = [row for row in np.flatnonzero(mask[0].any(axis=1)) if not 38 <= row < 58]
    mask[:, outside[::2]] = False
    return replace(data, mask=mask, kspace=data.kspace * mask[:, None], sampling=describe(mask, 48))


def interval(facts):
    low, _, high = facts["choice_error_90_percent"].partition(" to ")
    return float(low), float(high)


@pytest.fixture(scope="module")
def tested():
    data, _ = whitened(noise=5.0)
    return data, choose(LINEAR, data, **ANY_TIME)


def test_the_tested_slice_has_the_published_interval(tested):
    data, found = tested
    assert found.facts_of(data)["choice_error_90_percent"] == found.facts["choice_error_90_percent"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: noisier(data, 10), "not known, as the faintest part of this slice's k-space is"),
        (sparser, "as many samples as the tested one"),
        (lambda data: replace(data, kspace=data.kspace * np.float32(1e-3)), "times the signal of the tested one"),
    ],
)
def test_of_a_slice_unlike_the_tested_ones_the_error_is_not_known(tested, change, text):
    data, found = tested
    assert text in found.facts_of(change(data))["choice_error_90_percent"]


def test_the_interval_is_wider_where_there_is_less_signal(tested):
    """The same noise in half of the signal is twice the error, relative to the image."""
    _, found = tested
    data, truth = whitened(noise=9.0)
    methods = [method for _, method in LINEAR]
    images = sum(w * np.asarray(method(data).images) for method, w in zip(methods, found.weights, strict=True))
    low, high = interval(found.facts_of(data))
    assert found.interval[0] >= low
    assert found.interval[1] < high
    assert low < magnitude_error(images, truth) < high


def test_likeness_counts_means_over_slices():
    slices = [whitened(noise=noise)[0] for noise in (4.0, 8.0)]
    one, other = (Likeness.of([data]) for data in slices)
    both = Likeness.of(slices)
    assert both.signal == pytest.approx((one.signal + other.signal) / 2)
    assert both.samples == one.samples == other.samples


def test_noise_that_was_taken_for_more_than_it_is_decides_nothing():
    """The noise scan of other lines says five times the noise: what is left after it is below zero."""
    data, _ = scan(noise=1.0)
    loud = replace(data, whitened=True, kspace=data.kspace / np.float32(5))
    loud.__dict__["noise_floor"] = replace(loud.noise_floor, level=0.45, even=None)
    with pytest.raises(MethodError, match=r"differ by less than their noise would explain.*far below that of whitened"):
        choose(LINEAR, loud, **ANY_TIME)


def test_where_the_noise_is_only_bounded_no_interval_is_published():
    data = replace(scan(noise=5.0)[0], whitened=False)
    data.__dict__["noise_floor"] = replace(data.noise_floor, even=None)
    found = choose(LINEAR, data, **ANY_TIME)
    assert found.facts["choice_error_90_percent"].startswith("not known, as the noise is not known")
    assert "choice_error" not in found.facts
    assert found.facts_of(data) == {}


def test_partial_fourier_has_no_interval():
    data, _ = whitened(noise=5.0)
    mask = np.array(data.mask)
    mask[:, 70:] = False
    part = replace(data, mask=mask, kspace=data.kspace * mask[:, None], sampling=describe(mask, 48))
    assert "partial Fourier" in choose(LINEAR, part, **ANY_TIME).facts["choice_error_90_percent"]


def test_a_candidate_that_cannot_run_takes_no_time_from_the_others():
    class Refusing(ZeroFilled):
        def check(self, data):
            raise MethodError("it needs frames")

        def effort(self, data):
            raise AssertionError("what cannot run has no effort")

    data, _ = whitened(noise=5.0)
    found = choose([("refusing", Refusing()), ("cg_sense", CgSense()), ("grappa", Grappa())], data, **ANY_TIME)
    assert found.estimates[0].failed == "it needs frames"
    assert not found.estimates[1].failed
    assert not found.estimates[2].failed


def test_a_single_candidate_is_called_that():
    data, _ = whitened(noise=5.0)
    assert choose([("cg_sense", CgSense())], data, **ANY_TIME).reason == "cg_sense, the only candidate"
