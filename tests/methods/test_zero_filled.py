from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import MethodError
from onebreath.methods.zero_filled import ZeroFilled
from onebreath.mri.fourier import ifft2c
from tests.helpers import complex_normal, nrmse
from tests.methods.slices import lines, synthetic


def test_fully_sampled_gives_the_object():
    case = synthetic(np.ones((2, 64), bool), noise=0)
    result = ZeroFilled()(case.data)
    assert nrmse(result.images, case.truth) < 1e-5
    assert result.facts == {"combination": "maps"}


def test_samples_outside_the_mask_do_not_count():
    case = synthetic(lines(64, 3, 16))
    dirty = replace(case.data, kspace=case.full)
    for combination in ("maps", "rss"):
        method = ZeroFilled(combination=combination)
        assert np.array_equal(method(dirty).images, method(case.data).images)


def test_without_maps_root_sum_of_squares():
    data = replace(synthetic(lines(64, 2, 16)).data, maps=None)
    result = ZeroFilled()(data)
    np.testing.assert_allclose(result.images, np.sqrt(np.sum(np.abs(ifft2c(data.kspace)) ** 2, axis=1)), rtol=1e-5)
    assert result.facts == {"combination": "rss"}
    with pytest.raises(MethodError, match="no coil maps"):
        ZeroFilled(combination="maps")(data)


def test_noise_has_unit_standard_deviation():
    case = synthetic(np.ones((40, 64), bool), noise=0)
    noise = complex_normal(np.random.default_rng(0), case.full.shape, np.complex64)
    images = ZeroFilled()(replace(case.data, kspace=noise)).images
    assert np.std(images.real) == pytest.approx(1, abs=0.02)
    assert np.std(images.imag) == pytest.approx(1, abs=0.02)
