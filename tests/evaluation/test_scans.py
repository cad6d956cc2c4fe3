import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.evaluation.scans import MaskChoice, ScanChoice, coil_maps, reference_scan, undersampled
from onebreath.mri.coils import combine
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.training.data.masks import cmrxrecon_mask
from onebreath.training.data.series import ImageSeries, KspaceSeries
from tests.helpers import complex_normal, nrmse

CHOICE = ScanChoice(coils=8, channels=6, snr=(30, 30), matrix=(48, 64))


def series(**facts) -> ImageSeries:
    y, x = np.mgrid[-1:1:80j, -1:1:80j]
    heart = 1 + 0.2 * np.sin(np.arange(4))
    images = (x**2 + y**2 < 0.6) + np.stack([(x**2 + y**2 < 0.1 * size) for size in heart])
    return ImageSeries("A", "slice0", images.astype(np.float32), (4.0, 4.0), facts)


@pytest.fixture(scope="module")
def scan():
    return reference_scan(series(), CHOICE)


def test_the_same_choice_gives_the_same_scan(scan):
    again, other = reference_scan(series(), CHOICE), reference_scan(series(), CHOICE.model_copy(update={"seed": 1}))
    assert np.array_equal(scan.kspace, again.kspace)
    assert not np.allclose(scan.kspace, other.kspace)


def test_the_truth_is_the_scan_without_its_noise(scan):
    assert scan.truth.shape == (4, 48, 64)
    maps, _ = coil_maps(scan)
    noise = ifft2c(scan.kspace).std(axis=0)
    error = np.abs(combine(ifft2c(scan.kspace), maps[0])) - scan.truth
    assert np.percentile(scan.truth.mean(0), 97) == pytest.approx(30, rel=0.02)
    assert error.std() == pytest.approx(1, rel=0.25)
    assert np.median(noise) > 0.5


def test_the_header_says_what_was_acquired():
    found = reference_scan(series(acquired_lines=56, acquired_samples=72), CHOICE.model_copy(update={"matrix": None}))
    assert found.truth.shape == (4, 56, 72)
    assert reference_scan(series(), CHOICE.model_copy(update={"matrix": None})).truth.shape == (4, 64, 64)


def test_an_odd_matrix_is_measured_as_asked():
    odd = CHOICE.model_copy(update={"matrix": (47, 61)})
    scan = reference_scan(series(), odd)
    assert scan.truth.shape == (4, 47, 61)
    stated = reference_scan(series(acquired_lines=47, acquired_samples=61), CHOICE.model_copy(update={"matrix": None}))
    np.testing.assert_array_equal(stated.kspace, scan.kspace)
    error = np.abs(combine(ifft2c(scan.kspace), coil_maps(scan)[0][0])) - scan.truth
    assert error.std() == pytest.approx(1, rel=0.25)


def test_only_lines_of_the_mask_are_kept(scan):
    data = undersampled(scan, MaskChoice(family="cmrxrecon", acceleration=4, acs_lines=16), 0)
    lines = cmrxrecon_mask(48, 4, 16)[0]
    assert np.array_equal(data.kspace[:, :, lines], scan.kspace[:, :, lines])
    assert not data.kspace[:, :, ~lines].any()
    assert (data.sampling.family, data.sampling.acceleration) == ("uniform_acs", 4)
    assert np.allclose(data.acs, scan.kspace[:, :, 12:36].mean(axis=0))
    assert data.acs_first == 12


def test_without_calibration_lines_the_calibration_is_separate(scan):
    data = undersampled(scan, MaskChoice(family="uniform", acceleration=4, acs_lines=0), 0)
    assert data.sampling.acs_mode == "separate"
    assert data.mask.sum() == 4 * 12
    assert data.acs is not None


def measured(mask=None, noise_std=1.0) -> KspaceSeries:
    full = reference_scan(series(), CHOICE)
    kspace = full.kspace if mask is None else full.kspace * mask[:, None, :, None]
    return KspaceSeries("A", "raw", kspace, mask, None, noise_std)


def test_a_measured_scan_is_its_own_truth(scan):
    found = reference_scan(measured(), CHOICE)
    assert "noise included" in found.truth_is
    assert nrmse(found.truth, scan.truth) < 0.1


def test_a_scan_that_lacks_lines_needs_a_truth(scan):
    lines = cmrxrecon_mask(48, 3, 24)
    with pytest.raises(ScanError, match="has no file of ground truth"):
        reference_scan(measured(lines), CHOICE)
    with pytest.raises(ScanError, match="but its truth is"):
        reference_scan(measured(lines), CHOICE, scan.truth[:2])
    found = reference_scan(measured(lines), CHOICE, scan.truth)
    data = undersampled(found, None, 0)
    assert np.array_equal(data.mask[0, :, 0], lines[0])
    with pytest.raises(ScanError, match="has its own mask"):
        undersampled(found, MaskChoice(family="cmrxrecon", acceleration=4), 0)


def test_data_without_known_noise_get_some():
    kspace = fft2c(np.ones((2, 1, 48, 48)) * np.hanning(48) * complex_normal(np.random.default_rng(0), (1, 6, 1, 1)))
    found = reference_scan(KspaceSeries("A", "raw", kspace.astype(np.complex64)), CHOICE)
    corner = found.kspace[:, :, :8, :8]
    assert corner.real.std() == pytest.approx(1, rel=0.15)
