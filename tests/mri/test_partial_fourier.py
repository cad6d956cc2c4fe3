import numpy as np
import pytest

from onebreath.errors import MethodError, ScanError
from onebreath.mri.fourier import fft2c
from onebreath.mri.partial_fourier import homodyne, pocs, zero_fill
from tests.helpers import as_numpy, nrmse, same_library


def phantom(size=(96, 80)):
    """An object with edges and a smooth phase."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, n, endpoint=False) for n in size], indexing="ij")
    image = 1.0 * ((y / 0.85) ** 2 + (x / 0.7) ** 2 < 1) - 0.6 * ((y + 0.2) ** 2 + (x - 0.2) ** 2 < 0.05)
    return image * np.exp(1j * (0.6 * y + 0.4 * x**2 + 0.3))


CASES = {
    "early lines missing": {"y": (30, 95)},
    "late lines missing": {"y": (0, 65)},
    "asymmetric echo": {"x": (25, 79)},
}


@pytest.mark.parametrize("ranges", CASES.values(), ids=CASES)
@pytest.mark.parametrize("method", [pocs, homodyne])
def test_phase_constraint_beats_zero_filling(backend, ranges, method):
    image = phantom()
    kspace = backend(fft2c(image).astype(np.complex64))
    filled = method(kspace, **ranges)
    assert same_library(filled, kspace) and as_numpy(filled).dtype == np.complex64
    assert nrmse(filled, image) < 0.5 * nrmse(zero_fill(kspace, **ranges), image)


def test_pocs_fills_both_axes(backend):
    image = phantom()
    kspace, ranges = backend(fft2c(image)), {"y": (30, 95), "x": (20, 79)}
    assert nrmse(pocs(kspace, **ranges), image) < 0.6 * nrmse(zero_fill(kspace, **ranges), image)
    with pytest.raises(MethodError, match="use pocs"):
        homodyne(kspace, **ranges)


def test_pocs_keeps_the_acquired_samples(backend):
    kspace = fft2c(phantom())
    filled = as_numpy(fft2c(pocs(backend(kspace), y=(30, 95))))
    np.testing.assert_allclose(filled[30:], kspace[30:], atol=1e-10)
    assert np.linalg.norm(filled[1:30]) > 0.5 * np.linalg.norm(kspace[1:30])


def test_frames_and_coils_are_filled_one_by_one():
    series = np.stack([[phantom(), 2j * phantom()], [-phantom(), phantom()[::-1]]])
    filled = homodyne(fft2c(series), y=(30, 95))
    np.testing.assert_allclose(filled[0, 1], homodyne(fft2c(series[0, 1]), y=(30, 95)))


@pytest.mark.parametrize("method", [zero_fill, pocs, homodyne])
@pytest.mark.parametrize("size", [(96, 80), (95, 81)])
def test_complete_data_stay_as_they_are(method, size):
    image = phantom(size)
    if method is homodyne:  # keeps what has the smooth phase; of complete data that phase is the image's own
        np.testing.assert_allclose(method(fft2c(image)), image, atol=1e-10)
    np.testing.assert_allclose(method(fft2c(image)), image, atol=1e-10)


@pytest.mark.parametrize("method", [pocs, homodyne])
def test_symmetric_truncation_is_not_extrapolated(method):
    kspace = fft2c(phantom())
    np.testing.assert_allclose(method(kspace, y=(20, 76)), zero_fill(kspace, y=(20, 76)), atol=1e-10)


def test_samples_without_mirror_image_stay_zero():
    filled = fft2c(pocs(fft2c(phantom()), y=(30, 80)))
    assert np.max(np.abs(filled[:16])) < 1e-10 and np.max(np.abs(filled[81:])) < 1e-10
    assert np.max(np.abs(filled[16:30])) > 1e-2


@pytest.mark.parametrize("bounds", [(60, 95), (0, 96), (-1, 95)])
def test_impossible_ranges_name_the_axis(bounds):
    with pytest.raises(ScanError, match=r"acquired range y = .* must hold the centre 48 of 96"):
        pocs(fft2c(phantom()), y=bounds)
