import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mri.coils import pca_matrix
from onebreath.mri.espirit import WIDER, espirit, resampling, signal_threshold
from onebreath.mri.fourier import fft2c, ifft2c, resize
from tests.helpers import as_numpy, complex_normal, nrmse, same_library
from tests.methods.slices import smooth_maps

BART = 0.001
"""Its threshold, whatever the noise."""


def angle_error(maps, expected, where):
    """``1 - |sum conj(a) b|`` on the pixels `where`: blind to a phase per pixel."""
    return 1 - np.abs(np.sum(maps.conj() * expected, axis=0))[where]


def projector(maps):
    """Projector onto the span of the sets at each pixel, from maps (set, coil, y, x)."""
    pixelwise = maps.transpose(2, 3, 1, 0)
    return pixelwise @ pixelwise.conj().swapaxes(-1, -2)


def test_one_set_equals_bart(shared, backend):
    golden = np.load(shared / "golden/bart_ecalib.npz")
    kspace, expected = golden["in/kspace"], golden["out/maps_m1"]
    maps, eigenvalues = espirit(backend(resize(kspace, (24, 24))), kspace.shape[1:], threshold=BART, wider=1)
    assert same_library(maps, backend(kspace))
    maps, eigenvalues = as_numpy(maps), as_numpy(eigenvalues)
    assert maps.dtype == np.complex64 and eigenvalues.dtype == np.float32
    support, expected_support = np.abs(maps[0]).sum(0) > 0, np.abs(expected).sum(0) > 0
    assert np.mean(support == expected_support) >= 0.98
    error = angle_error(maps[0], expected, golden["in/object_mask"] & support & expected_support)
    assert error.mean() <= 1e-3 and error.max() <= 2e-2
    # Outside the object the reference's 30 iterations for one map have not converged; those for two maps have.
    assert np.max(np.abs(eigenvalues[0] - golden["out/eig_m1"])[golden["in/object_mask"]]) <= 1e-5
    assert np.max(np.abs(eigenvalues[0] - golden["out/eig_m2"][0])) <= 1e-2


def test_phase_convention_equals_bart_up_to_one_factor(shared):
    golden = np.load(shared / "golden/bart_ecalib.npz")
    acs = resize(golden["in/kspace"], (24, 24))
    maps = espirit(acs, (96, 96), threshold=BART, wider=1)[0][0]
    principal = np.tensordot(pca_matrix(acs, 1)[0], maps, 1)
    assert np.max(np.abs(principal.imag)) < 1e-5 and principal.real.min() > -1e-5
    both = golden["in/object_mask"] & (np.abs(golden["out/maps_m1"]).sum(0) > 0)
    turn = np.sum(maps.conj() * golden["out/maps_m1"], axis=0)[both]
    assert np.max(np.abs(turn / turn[0] - 1)) < 1e-2


def test_two_sets_span_what_bart_spans(shared, backend):
    golden = np.load(shared / "golden/bart_ecalib_folded.npz")
    acs = backend(resize(golden["in/kspace"], (24, 24)))
    maps, eigenvalues = (as_numpy(a) for a in espirit(acs, (72, 80), n_sets=2, threshold=BART, wider=1))
    assert nrmse(projector(maps), projector(golden["out/maps_m2"])) <= 2e-2
    both = golden["in/layers_per_pixel"] == 2
    assert both.sum() > 50 and np.median(np.sum(np.abs(maps[1]) ** 2, axis=0)[both]) == pytest.approx(1, abs=1e-4)
    assert np.median(np.abs(eigenvalues - golden["out/eig_m2"])) < 1e-4


def test_soft_weights_equal_bart(shared):
    golden = np.load(shared / "golden/bart_ecalib_folded.npz")
    acs = resize(golden["in/kspace"], (24, 24))
    maps, _ = espirit(acs, (72, 80), n_sets=2, threshold=BART, wider=1, soft=True)
    assert nrmse(projector(maps), projector(golden["out/maps_m2_soft"])) <= 2e-2
    weights, expected = (np.linalg.norm(m, axis=1) for m in (maps, golden["out/maps_m2_soft"]))
    assert np.median(np.abs(weights - expected)) < 1e-4
    assert np.any((weights > 0.1) & (weights < 0.9))


def test_singular_value_threshold_equals_sigpy(shared, backend):
    golden = np.load(shared / "golden/sigpy_espirit.npz")
    acs = backend(resize(golden["in/kspace"], (24, 24)))
    maps, eigenvalues = (as_numpy(a) for a in espirit(acs, (80, 72), threshold=0.02**2, crop=None, wider=1))
    error = angle_error(maps[0], golden["out/maps_nocrop"], golden["in/object_mask"])
    assert error.mean() <= 1e-3 and error.max() <= 2e-2
    assert np.max(np.abs(eigenvalues[0] - golden["out/eigenvalue"])) <= 1e-2
    assert np.mean((eigenvalues[0] > 0.95) == golden["out/crop095_support"]) >= 0.98
    np.testing.assert_allclose(np.linalg.norm(maps[0], axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("shape", [(200, 1700), (400, 500), (300, 200)], ids=["long", "nearly square", "wide"])
@pytest.mark.parametrize("rank", [1, 30])
def test_directions_of_signal_are_told_from_those_of_noise(shape, rank):
    rng = np.random.default_rng(3)
    noise = complex_normal(rng, shape)
    signal = complex_normal(rng, (shape[0], rank)) @ complex_normal(rng, (rank, shape[1]))
    values = np.linalg.eigvalsh((matrix := signal + noise) @ matrix.conj().T)
    found = signal_threshold(values, shape[1])
    assert np.count_nonzero(values > found * values[-1]) == rank


def test_the_threshold_has_limits():
    assert signal_threshold([*[1e-12] * 99, 1.0], 1000) == 1e-4
    assert signal_threshold([*[6e-5] * 99, 1.0], 1000) == pytest.approx(1e-3, rel=0.2)
    assert signal_threshold([1.0] * 100, 1000) == 0.05


@pytest.mark.parametrize(("noise", "most"), [(30.0, 5e-3), (10.0, 1e-3), (0.01, 5e-6)])
def test_the_noise_decides_what_the_maps_follow(noise, most):
    """With a fixed threshold maps of noisy lines are noise, and those of good lines no better than of middling ones."""
    expected = smooth_maps(8, 96, 80)
    y, x = np.ogrid[-1:1:96j, -1:1:80j]
    body = (y**2 + x**2 < 0.7) * (1 + 0.5 * np.sin(9 * x) * np.cos(7 * y))
    kspace = fft2c(expected * body * 100)
    acs = resize(kspace, (24, 80)) + noise * complex_normal(np.random.default_rng(0), (8, 24, 80))
    expected = expected / np.linalg.norm(expected, axis=0)
    errors = [
        angle_error(espirit(acs, (96, 80), threshold=threshold, crop=None)[0][0], expected, body > 0.5).mean()
        for threshold in (None, BART)
    ]
    assert errors[0] < most
    assert errors[0] < errors[1] / 4


@pytest.mark.parametrize("lines", [10, 16, 24])
@pytest.mark.parametrize("shape", [(96, 80), (75, 90)])
def test_maps_hold_where_the_readout_cuts_the_body(lines, shape):
    """There sensitivities jump from one edge to the opposite one, which maps that are periodic cannot."""
    expected = smooth_maps(8, *shape)
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    images = expected * (1 + 0.5 * np.sin(9 * x) * np.cos(7 * y)) * np.clip(5 - 6 * np.abs(y), 0, 1) * 100
    acs = resize(fft2c(images), (lines, 64)) + complex_normal(np.random.default_rng(0), (8, lines, 64))

    def unexplained(maps):
        return nrmse(maps * (maps.conj() * images).sum(0), images)

    wide, periodic = (unexplained(espirit(acs, shape, wider=wider, crop=None)[0][0]) for wider in (WIDER, 1))
    assert wide < 0.3 * periodic
    assert wide < {10: 0.03, 16: 0.007, 24: 0.007}[lines]


def test_a_measured_heart_is_cut_by_the_readout(shared):
    kspace = np.load(shared / "data/cardiac34ch/kspace.npy")
    kspace = np.tensordot(pca_matrix(kspace, 12), kspace, 1).astype(np.complex64)
    images, acs = ifft2c(kspace), resize(kspace, (24, 64))

    def unexplained(maps):
        rest = images - maps * (maps.conj() * images).sum(0)
        return np.linalg.norm(rest) / np.linalg.norm(images)

    wide, periodic = (unexplained(espirit(acs, kspace.shape[1:], wider=w, crop=None)[0][0]) for w in (WIDER, 1))
    assert wide < 0.9 * periodic
    assert wide < 0.081  # most of it is noise


def test_resampling_is_exact_where_all_samples_are_given():
    series = complex_normal(np.random.default_rng(2), (3, 25, 18))
    wide = resampling(25, 25, 31) @ series @ resampling(18, 18, 24).T
    assert nrmse(wide, fft2c(resize(ifft2c(series), (31, 24)))) < 1e-6


def test_blocks_of_rows_do_not_change_the_maps(monkeypatch):
    acs = complex_normal(np.random.default_rng(1), (4, 12, 12))
    whole = espirit(acs, (30, 20), kernel=4, crop=None)
    for module in ("coils", "espirit"):
        monkeypatch.setattr(f"onebreath.mri.{module}.BLOCK", 20 * 16 * 7)
    np.testing.assert_allclose(espirit(acs, (30, 20), kernel=4, crop=None)[0], whole[0], atol=1e-10)


def test_libraries_agree(shared, backend):
    kspace = resize(np.load(shared / "data/brain16ch/kspace.npy"), (24, 24))
    expected = espirit(kspace, (64, 64))[0]
    assert nrmse(espirit(backend(kspace), (64, 64))[0], expected) < 1e-4


@pytest.mark.parametrize(
    ("acs", "text"),
    [(np.ones((4, 5, 24), complex), "calibrate on .* = \\(4, 5, 24\\)"), (np.zeros((4, 24, 24), complex), "no signal")],
)
def test_useless_calibration_is_a_scan_error(acs, text):
    with pytest.raises(ScanError, match=text):
        espirit(acs, (32, 32))


def test_more_sets_than_channels_are_refused():
    acs = np.ones((1, 24, 24), np.complex64)
    with pytest.raises(ScanError, match="1 channels have no 2 sets"):
        espirit(acs, (32, 32), n_sets=2)
