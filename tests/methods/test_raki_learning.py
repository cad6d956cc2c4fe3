"""RAKI learns the slices that will come together, and tests its noise."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import MethodError
from onebreath.methods.noise import Effort, measure_noise
from onebreath.methods.raki.raki import Raki
from tests.helpers import nrmse
from tests.methods.slices import lines, synthetic
from tests.methods.test_raki import SMALL


def test_slices_foreseen_are_learned_together_and_what_is_wrong_is_told_in_its_turn():
    good, other = synthetic(lines(64, 3)).data, synthetic(lines(64, 3), noise=2).data
    short = synthetic(lines(64, 3), acs=5).data
    method = Raki(**SMALL)
    method.foresee([good, replace(good, acs=None), short, other])
    assert [method(data).facts["slices_together"] for data in (good, other)] == [2, 2]
    assert nrmse(method(other).images, Raki(**SMALL)(other).images) < 1e-3
    with pytest.raises(MethodError, match="needs at least"):
        method(short)
    warm = Raki(**SMALL, warm_start=True)
    warm.foresee([good, other])
    assert "slices_together" not in warm(good).facts


def test_noise_of_replicas_is_tested():
    """Where there is signal the noise is normal; where there is none, that of magnitudes is not."""
    case = synthetic(lines(48, 3), 48, 32, acs=24, noise=1.0)
    method = Raki(**{**SMALL, "gfactor": "exact"})
    images = method(case.data).images
    found = measure_noise(method, case.data, images, Effort(samples=120), normality=True)
    assert found.how == "noise replicas, 120 samples, standard error 6.5%"
    snr = np.abs(images) / found.std
    assert np.mean(found.normality[snr > 5] > 1) < 0.09
    assert np.mean(found.normality[snr < 1] > 1) > 0.25
    with pytest.raises(TimeoutError, match="2 replicas, a normality map needs 5"):
        measure_noise(method, case.data, images, Effort(samples=2), normality=True)
