import numpy as np
import pytest

from onebreath.mri.fourier import fft, fft2c, fftc, ifft, ifft2c, ifftc, resize
from tests.helpers import as_numpy, assert_adjoint, complex_normal, relative_error, same_library


def dft(n):
    """Centred unitary transform as a matrix."""
    k = np.arange(n) - n // 2
    return np.exp(-2j * np.pi * np.outer(k, k) / n) / np.sqrt(n)


@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (8, 5)])
def test_transform_is_the_centred_unitary_one(backend, shape):
    x = complex_normal(np.random.default_rng(0), (3, *shape))
    expected = np.einsum("ij,fjk,kl->fil", dft(shape[0]), x, dft(shape[1]).T)
    kspace = fft2c(backend(x))
    assert same_library(kspace, backend(x))
    assert relative_error(kspace, expected) < 1e-12
    assert relative_error(ifft2c(kspace), x) < 1e-12


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_precision_is_kept_and_libraries_agree(backend, dtype):
    x = complex_normal(np.random.default_rng(0), (2, 12, 15), dtype)
    for transform in (fft2c, ifft2c):
        result = as_numpy(transform(backend(x)))
        assert result.dtype == dtype
        assert relative_error(result, transform(x)) < 1e-6


def test_one_axis_and_adjointness(backend):
    x = complex_normal(np.random.default_rng(0), (3, 7, 4))
    assert relative_error(fftc(backend(x), 1), np.einsum("ij,fjk->fik", dft(7), x)) < 1e-12
    assert_adjoint(fft2c, ifft2c, (3, 7, 4), (3, 7, 4), convert=backend)
    assert_adjoint(lambda k: fftc(k, 0), lambda k: ifftc(k, 0), (5, 4), (5, 4), convert=backend)


def test_uncentred_transform_is_the_centred_one_shifted(backend):
    x = complex_normal(np.random.default_rng(0), (5, 6))
    shifted = np.fft.ifftshift(x)
    assert relative_error(np.fft.fftshift(as_numpy(fft(backend(shifted), (0, 1)))), fft2c(x)) < 1e-12
    assert relative_error(ifft(fft(backend(x), (0, 1)), (0, 1)), x) < 1e-12


@pytest.mark.parametrize(("old", "new"), [(6, 9), (9, 6), (5, 8), (8, 5), (7, 7)])
def test_resize_keeps_the_centre(backend, old, new):
    x = np.arange(1.0, 2 * old + 1).reshape(2, old)
    resized = as_numpy(resize(backend(x), (new,)))
    assert resized.shape == (2, new)
    np.testing.assert_array_equal(resized[:, new // 2], x[:, old // 2])
    assert np.count_nonzero(resized) == 2 * min(old, new)


def test_resize_one_axis_up_and_one_down():
    x = np.arange(1, 25).reshape(4, 6)
    np.testing.assert_array_equal(resize(x, (6, 4)), np.pad(x, ((1, 1), (0, 0)))[:, 1:5])
