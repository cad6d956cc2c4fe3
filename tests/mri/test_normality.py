import numpy as np
import pytest

from onebreath.mri.normality import LIMIT, lilliefors


@pytest.mark.parametrize("count", [20, 200])
def test_normal_samples_pass_19_times_of_20(count):
    samples = 3 + 7 * np.random.default_rng(1).standard_normal((count, 60, 50))
    assert np.mean(lilliefors(samples) > LIMIT) == pytest.approx(0.05, abs=0.012)


def test_other_distributions_are_told():
    rng = np.random.default_rng(1)
    rician = np.abs(rng.standard_normal((300, 400)) + 1j * rng.standard_normal((300, 400)))
    assert np.mean(lilliefors(rician) > LIMIT) > 0.8
    assert np.mean(lilliefors(rng.uniform(size=(300, 400))) > LIMIT) > 0.9
    assert np.all(lilliefors(np.ones((50, 2))) > LIMIT)
    with pytest.raises(ValueError, match="at least 5 samples, not 3"):
        lilliefors(np.zeros((3, 2)))
