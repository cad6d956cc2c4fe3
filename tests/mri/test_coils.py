import numpy as np
import pytest

from onebreath.mri.coils import (
    apply_channel_matrix,
    combine,
    dominant_eigenvectors,
    gcc_matrices,
    inati_maps,
    pca_matrix,
    principal_components,
    rss,
    walsh_maps,
)
from onebreath.mri.fourier import resize
from tests.helpers import as_numpy, assert_adjoint, complex_normal, nrmse, relative_error, same_library


def smooth_maps(coils=6, size=48, seed=3):
    """Smooth normalised maps (coil, y, x) of coils around the field of view."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")
    angle = 2 * np.pi * np.arange(coils)[:, None, None] / coils
    distance = (y - 1.3 * np.sin(angle)) ** 2 + (x - 1.3 * np.cos(angle)) ** 2
    maps = np.exp(-distance / 1.5 + 1j * (angle + 0.8 * np.cos(angle) * y + 0.8 * np.sin(angle) * x))
    return maps / rss(maps, 0)


def object_image(size=48):
    y, x = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")
    return ((y / 0.8) ** 2 + (x / 0.6) ** 2 < 1) * (1 + 0.4 * np.cos(5 * x)) * np.exp(1j * (0.5 + y))


@pytest.mark.parametrize(("name", "calibration"), [("all", 96), ("r24", 24)])
def test_pca_equals_bart(shared, backend, name, calibration):
    golden = np.load(shared / "golden/bart_coil_compression.npz")
    kspace = backend(golden["in/kspace"])
    matrix = pca_matrix(resize(kspace, (calibration, calibration)), 4)
    compressed = apply_channel_matrix(matrix, kspace, 0)
    assert same_library(compressed, kspace) and as_numpy(compressed).dtype == np.complex64
    for ours, theirs in zip(as_numpy(compressed), golden[f"out/kspace_svd_{name}"], strict=True):
        turn = np.vdot(ours, theirs)
        assert relative_error(ours * turn / abs(turn), theirs) <= 1e-4
    energy = as_numpy(principal_components(resize(kspace, (calibration, calibration)))[1])
    expected = golden[f"out/singular_values_{name}_f64"]
    np.testing.assert_allclose(np.sqrt(energy[:4]), expected[:4], rtol=1e-4)


def test_gcc_equals_bart(shared, backend):
    golden = np.load(shared / "golden/bart_coil_compression.npz")
    kspace, expected = golden["in/kspace"], golden["out/kspace_geo_r24"]
    matrices = gcc_matrices(backend(resize(kspace, (24, 24))), 4, width=96)
    assert tuple(matrices.shape) == (96, 4, 8)
    compressed = as_numpy(apply_channel_matrix(matrices, backend(kspace), 0))
    left, _, right = np.linalg.svd(expected.reshape(4, -1) @ compressed.reshape(4, -1).conj().T)
    assert relative_error(np.tensordot(left @ right, compressed, 1), expected) <= 1e-3
    assert relative_error(rss(compressed, 0), rss(expected, 0)) <= 1e-4


def test_gcc_without_compression_keeps_the_energy(backend):
    kspace = complex_normal(np.random.default_rng(0), (2, 4, 10, 12))
    compressed = apply_channel_matrix(gcc_matrices(backend(kspace[0]), 4), backend(kspace), 1)
    np.testing.assert_allclose(np.linalg.norm(as_numpy(compressed), axis=(1, 3)), np.linalg.norm(kspace, axis=(1, 3)))


@pytest.mark.parametrize("geometric", [False, True])
def test_compression_is_adjoint_to_its_expansion(backend, geometric):
    acs = backend(complex_normal(np.random.default_rng(0), (5, 8, 12)))
    matrix = gcc_matrices(acs, 3) if geometric else pca_matrix(acs, 3)
    back = matrix.conj().swapaxes(-1, -2)
    assert_adjoint(
        lambda k: apply_channel_matrix(matrix, k, 1),
        lambda k: apply_channel_matrix(back, k, 1),
        (2, 5, 8, 12),
        (2, 3, 8, 12),
        convert=backend,
    )


def test_matrices_that_do_not_fit_name_both_shapes():
    kspace = np.ones((4, 6, 8), complex)
    with pytest.raises(ValueError, match=r"\(2, 3\) does not fit axis 0 of \(4, 6, 8\)"):
        apply_channel_matrix(np.ones((2, 3)), kspace, 0)
    with pytest.raises(ValueError, match=r"\(5, 2, 4\) has another readout than \(4, 6, 8\)"):
        apply_channel_matrix(np.ones((5, 2, 4)), kspace, 0)
    with pytest.raises(ValueError, match="keep 5 channels of 4"):
        pca_matrix(kspace, 5)


@pytest.mark.parametrize("estimate", [walsh_maps, inati_maps])
def test_maps_from_images_find_the_true_maps(backend, estimate):
    true, image = smooth_maps(), object_image()
    noise = 0.01 * complex_normal(np.random.default_rng(5), true.shape)
    maps = as_numpy(estimate(backend(true * image + noise)))
    inside = np.abs(image) > 0
    agreement = np.abs(np.sum(maps.conj() * true, axis=0))[inside]
    assert agreement.min() > 0.98 and agreement.mean() > 0.999
    np.testing.assert_allclose(rss(maps, 0)[inside], 1, atol=1e-6)
    principal = np.tensordot(pca_matrix(true * image + noise, 1)[0], maps, 1)
    assert np.max(np.abs(principal.imag)) < 1e-6 and principal.real.min() > -1e-6
    combined = combine(true * image, maps)
    assert nrmse(np.abs(combined), np.abs(image)) < 0.02


def test_even_windows_are_refused():
    with pytest.raises(ValueError, match="window must be odd, got 4"):
        walsh_maps(np.ones((2, 8, 8), complex), window=4)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_dominant_eigenvectors(backend, n):
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(complex_normal(rng, (50, 6, 6)))[0]
    values = np.sort(rng.uniform(0, 1, (50, 6)))[:, ::-1] * [1, 0.8, 0.6, 0.4, 0.2, 0.1]
    matrices = (basis * values[:, None]) @ basis.conj().swapaxes(-1, -2)
    vectors, found = (as_numpy(a) for a in dominant_eigenvectors(backend(matrices), n))
    np.testing.assert_allclose(found, values[:, :n], atol=2e-3)
    residual = matrices @ vectors - vectors * found[:, None]
    assert np.max(np.abs(residual)) < 2e-2
    np.testing.assert_allclose(
        vectors.conj().swapaxes(-1, -2) @ vectors, np.broadcast_to(np.eye(n), (50, n, n)), atol=1e-9
    )
    zero = as_numpy(dominant_eigenvectors(backend(np.zeros((1, 6, 6), complex)), n)[0])
    assert np.all(zero == 0)
