import numpy as np
import pytest

from onebreath.simulation.coils import coil_maps, coil_names, noise_covariance

Y, X = np.linspace(-140, 140, 57), np.linspace(-170, 170, 69)


@pytest.mark.parametrize("coils", [1, 8, 13, 34, 64])
def test_maps_are_smooth_complex_and_normalised(coils: int) -> None:
    maps = coil_maps(coils, Y, X, 0.0)
    assert maps.shape == (coils, 57, 69)
    assert maps.dtype == np.complex64
    assert np.mean(np.sum(np.abs(maps) ** 2, axis=0)) == pytest.approx(1, rel=1e-4)
    inside = np.hypot(Y[:, None] / 112, X[None, 1:] / 168) < 1
    steps = np.abs(np.diff(maps, axis=2))[:, inside]
    assert 0 < steps.max() < 0.2 * np.abs(maps[:, :, 1:][:, inside]).max()


def test_channels_see_different_places() -> None:
    maps = coil_maps(12, Y, X, 0.0)
    peaks = {np.unravel_index(np.argmax(np.abs(m)), m.shape) for m in maps}
    assert len(peaks) >= 6
    flat = maps.reshape(12, -1)
    correlation = np.abs(flat @ flat.conj().T) / np.outer(*[np.linalg.norm(flat, axis=1)] * 2)
    assert correlation[~np.eye(12, dtype=bool)].max() < 0.95


def test_sensitivity_depends_on_the_slice() -> None:
    assert np.abs(coil_maps(20, Y, X, 0.0) - coil_maps(20, Y, X, 60.0)).max() > 0.05


def test_field_on_the_axis_of_a_single_loop_falls_off_as_biot_savart_says() -> None:
    # One coil: centre 235 mm along a ray at 90 degrees times 0.25 * 4, i.e. on the y axis; radius 90 mm.
    maps = np.abs(coil_maps(1, np.linspace(-100, 100, 201), np.linspace(-100, 100, 201), 0.0))[0, :, 100]
    y = np.linspace(-100, 100, 201)
    expected = (90**2 + (150 - y) ** 2) ** -1.5
    assert np.allclose(maps / maps[100], expected / expected[100], rtol=0.02)


def test_noise_covariance_is_hermitian_definite_and_follows_the_correlation() -> None:
    maps, body = coil_maps(10, Y, X, 0.0), np.hypot(Y[:, None] / 110, X[None] / 165) < 1
    for wanted in (0.0, 0.8):
        cov = noise_covariance(maps, body, wanted, seed=5)
        std = np.sqrt(np.diag(cov).real)
        off = np.abs(cov / np.outer(std, std))[~np.eye(10, dtype=bool)]
        assert np.allclose(cov, cov.conj().T)
        assert np.linalg.eigvalsh(cov).min() > 0
        assert np.exp(np.mean(np.log(std))) == pytest.approx(1)
        assert off.max() == pytest.approx(0, abs=1e-12) if wanted == 0 else off.max() > 0.2


def test_names_are_distinct() -> None:
    assert len(set(coil_names(34))) == 34
