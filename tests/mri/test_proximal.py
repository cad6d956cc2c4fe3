import numpy as np
import pytest

from onebreath.mri.proximal import shrink_singular_values, singular_values, soft_threshold
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
