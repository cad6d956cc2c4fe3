import time

import numpy as np
import pytest

from onebreath.mri.fourier import ifft2c
from onebreath.mri.noise_map import noise_map
from tests.helpers import backend, complex_normal  # noqa: F401


def test_of_a_linear_map_is_the_norm_of_its_rows(backend):  # noqa: F811
    rng = np.random.default_rng(1)
    combine = complex_normal(rng, (2, 3, 12, 10), np.complex64)
    mask = rng.random((2, 12, 1)) < 0.5
    expected = np.sqrt(np.sum(np.abs(combine) ** 2, axis=1) * mask.mean(axis=(1, 2), keepdims=True))
    factors = backend(combine)
    found = noise_map(lambda noise: (factors * ifft2c(noise)).sum(1), factors, backend(mask), 300)
    assert found.samples == 300
    assert found.error == pytest.approx(1 / np.sqrt(4 * 299))
    deviation = np.asarray(found.std) / expected - 1
    assert 0.7 < np.std(deviation) / found.error < 1.4
    assert abs(np.mean(deviation)) < 0.01


@pytest.mark.parametrize("pool_frames", [False, True])
def test_of_the_magnitude_is_what_lies_along_the_phase(pool_frames):
    image = np.exp(1j * np.random.default_rng(1).uniform(0, 6, (4, 8, 8))).astype(np.complex64)
    mask = np.ones((1, 1, 1), bool)

    def response(noise):
        aligned = noise[:, 0] * np.conj(image)
        return (3 * aligned.real + 0.1j * aligned.imag) * image

    found = noise_map(response, image[:, None], mask, 100, along=image, pool_frames=pool_frames)
    assert found.std.shape == ((1 if pool_frames else 4), 8, 8)
    assert found.error == pytest.approx(1 / np.sqrt(2 * 99 * (4 if pool_frames else 1)))
    assert np.mean(found.std) == pytest.approx(3, rel=0.02)
    assert 0.7 < np.std(found.std / 3) / found.error < 1.4


def test_no_sample_is_begun_that_would_end_too_late():
    def slow(noise):
        time.sleep(0.05)
        return noise[:, 0]

    like, mask = np.zeros((1, 1, 4, 4), np.complex64), np.ones((1, 1, 1), bool)
    with pytest.raises(TimeoutError, match=r"took 0\.\d s; 0.02 s are too short for two"):
        noise_map(slow, like, mask, 100, seconds=0.02)
    assert 2 <= noise_map(slow, like, mask, 100, seconds=0.3).samples <= 6
    with pytest.raises(ValueError, match="at least 2 samples, not 1"):
        noise_map(slow, like, mask, 1)


def test_samples_that_are_all_the_same_have_no_noise():
    same = np.random.default_rng(1).standard_normal((1, 40, 40)).astype(np.float32) + 0j
    found = noise_map(lambda noise: same, same[:, None], np.ones((1, 1, 1), bool), 3)
    assert np.all(found.std < 1e-3)
