import numpy as np
import pytest

from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.mri.gfactor import line_kernel_gfactor, pseudo_replica
from tests.helpers import as_numpy
from tests.methods.slices import lines, smooth_maps


def test_full_sampling_has_no_noise_amplification():
    maps = smooth_maps(6, 20, 18)
    maps[:, :3] = 0
    gfactor = line_kernel_gfactor({}, np.full(20, -1), np.ones(20, bool), maps, 1)
    np.testing.assert_allclose(gfactor[3:], 1, rtol=1e-5)
    assert np.all(gfactor[:3] == 0)


def test_partial_fourier_does_not_count_as_noise_reduction():
    maps = smooth_maps(6, 20, 18)
    acquired = lines(20, 1, last=13)
    np.testing.assert_allclose(line_kernel_gfactor({}, np.full(20, -1), acquired, maps, 1), 1, rtol=1e-5)


def test_copying_a_neighbouring_line():
    """One coil, every other line; each missing line is a copy of the line below: the weight is |1 + exp(i phase)|^2."""
    ny, nx = 16, 40
    kernels = {(1, 1): np.ones((nx, 1, 1))}
    kinds = np.where(np.arange(ny) % 2 == 1, 1, -1)
    gfactor = line_kernel_gfactor(kernels, kinds, kinds < 0, np.ones((1, ny, nx)), 2)
    expected = np.abs(1 + np.exp(2j * np.pi * (np.arange(ny) - ny // 2) / ny)) / 2
    np.testing.assert_allclose(gfactor, np.repeat(expected[:, None], nx, axis=1), atol=1e-6)


def test_replicas_of_a_linear_reconstruction_find_its_noise(backend):
    """A combination with known maps has noise 1; half the lines, zero-filled, have sqrt(1/2)."""
    maps, mask = smooth_maps(4, 24, 20), lines(24, 2)[None, :, None]
    kspace = backend(np.zeros((1, 4, 24, 20), np.complex64))
    weights = backend(np.conj(maps))
    gfactor = as_numpy(pseudo_replica(lambda k: (weights * ifft2c(k)).sum(axis=1), kspace, backend(mask), replicas=300))
    assert gfactor.shape == (1, 24, 20)
    assert np.mean(gfactor) == pytest.approx(np.sqrt(0.5), rel=0.01)
    assert np.std(gfactor) / np.mean(gfactor) < 0.06


def test_replicas_are_about_the_image_not_about_zero():
    image = fft2c(1000 * np.ones((1, 1, 12, 12), np.complex64))
    found = pseudo_replica(lambda k: ifft2c(k)[:, 0], image, np.ones((1, 12, 1), bool), replicas=200)
    assert np.mean(found) == pytest.approx(1, rel=0.02)


def test_replicas_take_acceleration_and_coverage_out():
    mask, kspace = np.ones((1, 12, 1), bool), np.zeros((1, 1, 12, 12), np.complex64)
    plain = pseudo_replica(lambda k: ifft2c(k)[:, 0], kspace, mask, replicas=10)
    scaled = pseudo_replica(lambda k: ifft2c(k)[:, 0], kspace, mask, acceleration=4, coverage=0.25, replicas=10)
    np.testing.assert_allclose(scaled, plain, rtol=1e-6)
    accelerated = pseudo_replica(lambda k: ifft2c(k)[:, 0], kspace, mask, acceleration=4, replicas=10)
    np.testing.assert_allclose(accelerated, plain / 2, rtol=1e-6)


def test_one_replica_is_an_error():
    with pytest.raises(ValueError, match="at least 2 samples, not 1"):
        pseudo_replica(lambda k: k[:, 0], np.zeros((1, 1, 4, 4), np.complex64), np.ones((1, 4, 1), bool), replicas=1)
