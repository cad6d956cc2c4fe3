import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mri.noise import covariance, gadgetron_scale, whitening_matrix
from tests.helpers import as_numpy, complex_normal, relative_error, same_library


def coloured(coils=6, count=20000, seed=0):
    """Correlated noise (coil, n) and its mixing matrix."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(coils) + 0.3 * complex_normal(rng, (coils, coils))
    return mixing @ complex_normal(rng, (coils, count)), mixing


def test_equals_bart(shared, backend):
    golden = np.load(shared / "golden/bart_whiten.npz")
    cov = covariance(backend(golden["in/noise"]))
    matrix = whitening_matrix(cov)
    assert same_library(matrix, cov) and as_numpy(matrix).dtype == np.complex64
    assert relative_error(cov, golden["out/covariance_default"]) <= 1e-4
    assert relative_error(matrix, golden["out/matrix_default"].T) <= 1e-4
    whitened = np.tensordot(as_numpy(matrix), golden["in/kspace"], 1)
    assert relative_error(whitened, golden["out/kspace_default"]) <= 1e-4


def test_whitened_noise_has_unit_deviation_in_each_part(backend):
    noise, mixing = coloured()
    cov = covariance(backend(noise))
    np.testing.assert_allclose(as_numpy(cov), 2 * mixing @ mixing.conj().T, atol=0.1)
    matrix = as_numpy(whitening_matrix(cov, gadgetron_scale(5.0, 5.0, bandwidth=1.0)))
    assert np.all(matrix[np.triu_indices(6, 1)] == 0)
    whitened = matrix @ noise
    np.testing.assert_allclose(whitened.real.std(axis=1), 1, atol=0.02)
    np.testing.assert_allclose(whitened.imag.std(axis=1), 1, atol=0.02)
    np.testing.assert_allclose(whitened @ whitened.conj().T / (noise.shape[1] - 1), 2 * np.eye(6), atol=1e-10)


def test_single_precision_sums_in_double(backend):
    noise, _ = coloured(count=200000)
    single = covariance(backend(noise.astype(np.complex64)))
    assert as_numpy(single).dtype == np.complex64
    assert relative_error(single, covariance(noise)) < 1e-6


def test_scale_is_gadgetrons():
    assert gadgetron_scale(2.4, 20.0) == pytest.approx(np.sqrt(2 * 2.4 / 20 * 0.793))
    for wrong in ((0.0, 5.0), (5.0, -1.0), (float("nan"), 5.0)):
        with pytest.raises(ScanError, match="dwell time"):
            gadgetron_scale(*wrong)
    with pytest.raises(ScanError, match="bandwidth"):
        gadgetron_scale(5.0, 5.0, 0.0)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda n: n.__setitem__(2, 0), "Channel 2 measured no noise"),
        (lambda n: n.__setitem__(4, 3j * n[1]), "channels 1, 4 is linearly dependent"),
        (lambda n: n.__setitem__(5, n[0] + n[3]), "channels 0, 3, 5 is linearly dependent"),
        (lambda n: n.__setitem__((3, 7), np.nan), "NaN or Inf in channel 3"),
        (lambda n: n.__setitem__((slice(0, 2), 7), np.inf), "NaN or Inf in channel 0, 1"),
    ],
)
def test_useless_noise_scans_name_the_channels(backend, spoil, text, dtype):
    noise = coloured()[0].astype(dtype)
    spoil(noise)
    with pytest.raises(ScanError, match=text):
        whitening_matrix(covariance(backend(noise)))


def test_weak_channels_are_not_dead():
    noise = coloured()[0]
    noise[2] *= 1e-3
    assert np.all(np.isfinite(whitening_matrix(covariance(noise))))


def test_all_channels_dead():
    with pytest.raises(ScanError, match="Channel 0, 1, 2 measured no noise"):
        whitening_matrix(np.zeros((3, 3), complex))


def test_too_few_samples_and_wrong_shapes():
    with pytest.raises(ScanError, match="4 samples for 6 channels"):
        covariance(coloured(count=4)[0])
    with pytest.raises(ValueError, match=r"\(coil, n\), got shape \(6,\)"):
        covariance(np.ones(6, complex))
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        whitening_matrix(np.ones((2, 3), complex))
