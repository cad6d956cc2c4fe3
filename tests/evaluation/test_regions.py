import numpy as np
import pytest

from onebreath.evaluation.metrics import measure
from onebreath.evaluation.regions import dynamic_region, measure_region


def beating() -> np.ndarray:
    """A square of 12 x 12 of 40 x 40 pixels (9 %) changes; everything else stands still."""
    x = np.ones((6, 40, 40))
    x[:, 14:26, 14:26] += np.linspace(0, 1, 6)[:, None, None]
    return x


def test_what_moves_is_dynamic():
    found = dynamic_region(beating())
    expected = np.zeros((40, 40), bool)
    expected[14:26, 14:26] = True
    assert np.array_equal(found, expected)


def test_the_threshold_is_the_ninetieth_percentile_and_ties_are_static():
    change = np.arange(100.0).reshape(10, 10)
    series = np.stack([np.zeros((10, 10)), 2 * change])  # standard deviation (n divisor) equals `change`
    assert np.array_equal(dynamic_region(series), change > np.percentile(change, 90))
    assert not dynamic_region(np.ones((4, 10, 10))).any()


def test_an_error_in_one_region_leaves_the_other_perfect():
    truth = beating()
    wrong = truth.copy()
    wrong[:, 18:22, 18:22] += 0.1
    dynamic = dynamic_region(truth)
    inside, outside = (measure_region(truth, wrong, region) for region in (dynamic, ~dynamic))
    error = 0.1**2 * 16 / 144
    assert inside["psnr"] == pytest.approx(10 * np.log10(truth.max() ** 2 / error))
    assert outside["psnr"] == np.inf
    assert inside["ssim"] < outside["ssim"]


@pytest.mark.parametrize("convention", ["strict", "paper"])
def test_the_whole_slice_as_a_region_has_the_ssim_of_the_slice(convention):
    rng = np.random.default_rng(2)
    truth, other = rng.random((2, 3, 24, 20))
    whole = measure_region(truth, other, np.ones((24, 20), bool), convention)
    assert whole["ssim"] == pytest.approx(measure(truth, other, convention)["ssim"].mean())


def test_regions_that_cannot_be_measured():
    truth = beating()
    with pytest.raises(ValueError, match="not of the size"):
        measure_region(truth, truth, np.ones((3, 3), bool))
    border = np.zeros((40, 40), bool)
    border[:2] = True
    with pytest.raises(ValueError, match="no pixel inside the border"):
        measure_region(truth, truth, border)
