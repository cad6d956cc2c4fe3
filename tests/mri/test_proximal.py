import numpy as np
import pytest

from onebreath.mri.proximal import (
    shrink_singular_values,
    shrink_wavelets,
    singular_values,
    soft_threshold,
    wavelet_norm,
)
from tests.helpers import as_numpy, backend, complex_normal, nrmse, same_library  # noqa: F401


def matrix(values, pixels=200, dtype=np.complex128):
    """A matrix (frame, pixel) with known singular values."""
    rng = np.random.default_rng(0)
    left = np.linalg.qr(complex_normal(rng, (len(values), len(values))))[0]
    right = np.linalg.qr(complex_normal(rng, (pixels, len(values))))[0]
    return left, right.conj().T, ((left * values) @ right.conj().T).astype(dtype)


@pytest.mark.parametrize("relative", [False, True])
def test_singular_values_are_lowered_and_vectors_kept(backend, relative):  # noqa: F811
    values = np.array([8.0, 4.0, 1.0, 0.5])
    left, right, x = matrix(values)
    shrunk = shrink_singular_values(backend(x), 0.125 if relative else 1.0, relative)
    assert nrmse(shrunk, (left * [7.0, 3.0, 0.0, 0.0]) @ right) < 1e-12
    assert same_library(shrunk, backend(x))
    assert nrmse(singular_values(backend(x)), values[::-1]) < 1e-12


def test_small_singular_values_survive_single_precision():
    values = np.array([1.0, 1e-4])
    left, _, x = matrix(values, dtype=np.complex64)
    shrunk = shrink_singular_values(x, 5e-5)
    assert shrunk.dtype == np.complex64
    assert np.linalg.norm(left[:, 1].conj() @ shrunk) == pytest.approx(5e-5, rel=0.02)


def test_magnitudes_are_lowered_and_phases_kept(backend):  # noqa: F811
    x = np.array([3 * np.exp(0.7j), 0.5, -2j, 0])
    assert nrmse(soft_threshold(backend(x), 1.0), np.array([2 * np.exp(0.7j), 0, -1j, 0])) < 1e-14
    single = soft_threshold(backend(x.astype(np.complex64)), 1.0)
    assert as_numpy(single).dtype == np.complex64


def test_they_minimise_what_they_claim():
    rng = np.random.default_rng(1)
    x = complex_normal(rng, (4, 30))

    def cost(y, norm):
        return np.sum(np.abs(y - x) ** 2) / 2 + 2.0 * norm(y)

    for shrink, norm in (
        (shrink_singular_values, lambda y: np.linalg.svd(y, compute_uv=False).sum()),
        (soft_threshold, lambda y: np.abs(y).sum()),
    ):
        best = shrink(x, 2.0)
        for size in (1e-3, 0.1, 1.0):
            assert cost(best, norm) <= cost(best + size * complex_normal(rng, x.shape), norm)


def test_zeros_stay_zeros():
    zeros = np.zeros((3, 10), np.complex64)
    assert not shrink_singular_values(zeros, 0.01, relative=True).any()
    assert not soft_threshold(zeros, 0.01).any()


@pytest.mark.parametrize("shift", [(0, 0), (3, 5)])
def test_wavelets_of_zero_threshold_and_of_constants_stay(backend, shift):  # noqa: F811
    """An orthonormal transform gives back what it took, also where 8 does not divide the matrix."""
    x = complex_normal(np.random.default_rng(3), (4, 2, 21, 18), np.complex64)
    same = as_numpy(shrink_wavelets(backend(x), 0.0, shift))
    assert np.max(np.abs(same - x)) < 1e-5
    flat = np.ones((4, 1, 16, 24), np.complex64) * np.exp(1j * np.arange(4)).astype(np.complex64)[:, None, None, None]
    assert np.max(np.abs(as_numpy(shrink_wavelets(backend(flat), 9.0, shift)) - flat)) < 1e-5


def test_wavelets_are_lowered_in_all_frames_together():
    """A detail that is strong in one frame keeps the same detail of the others, which alone would vanish."""
    x = np.zeros((4, 1, 8, 8), np.complex64)
    x[:, 0, 2, 2] = 1, 1, 1, 9
    kept, alone = shrink_wavelets(x, 1.0, (0, 0)), shrink_wavelets(x[:3], 1.0, (0, 0))
    assert np.abs(kept[0, 0, 2, 2]) > 1.5 * np.abs(alone[0, 0, 2, 2])


def test_shrunk_wavelets_minimise_their_norm_and_distance():
    """With the frames' norm the threshold of the root mean square weighs sqrt(frames) times as much."""
    rng = np.random.default_rng(5)
    x = complex_normal(rng, (4, 1, 16, 8), np.complex64)
    found = shrink_wavelets(x, 0.5, (0, 0))

    def cost(y):
        return np.linalg.norm(y - x) ** 2 / 2 + 0.5 * 4**0.5 * wavelet_norm(y)

    least = cost(found)
    assert least < cost(x)
    for _ in range(20):
        assert cost(found + 0.02 * complex_normal(rng, x.shape, np.complex64)) > least


def test_images_smaller_than_the_coarsest_square_stay():
    x = complex_normal(np.random.default_rng(6), (2, 1, 7, 24), np.complex64)
    assert np.array_equal(shrink_wavelets(x, 5.0, (1, 1)), x)
    assert wavelet_norm(x) == 0
