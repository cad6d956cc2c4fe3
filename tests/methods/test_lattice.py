import numpy as np
import pytest

from onebreath.methods.grappa.lattice import calibrate, largest_kernel, lines_needed
from onebreath.mri.fourier import fft2c, fftc, ifftc
from tests.helpers import nrmse
from tests.methods.slices import lines, moving_disc, smooth_maps

COILS, Y, X = 8, 64, 48


@pytest.fixture(scope="module")
def kspace():
    return fft2c(smooth_maps(COILS, Y, X) * moving_disc(2, Y, X)[:, None])


@pytest.mark.parametrize("source_lines", [2, 3, 4, 5])
@pytest.mark.parametrize("offset", [0, 2])
def test_predicts_the_missing_lines(kspace, source_lines, offset):
    kernel = calibrate(kspace[0, :, 16:48], 3, source_lines, 5, 1e-6, 0)
    sampled = lines(Y, 3, offset=offset)
    hybrid = ifftc(kspace * sampled[:, None], -1)
    filled = fftc(kernel.fill(hybrid, sampled, ~sampled, offset), -1)
    assert nrmse(filled[:, :, sampled], kspace[:, :, sampled]) < 1e-6
    centre = slice(20, 44)
    assert nrmse(filled[:, :, centre], kspace[:, :, centre]) < 0.05
    nothing = kernel.fill(hybrid, sampled, np.zeros(Y, bool), offset)
    assert np.array_equal(nothing, hybrid)


def test_image_space_weights_are_the_convolution():
    """The same prediction by sums over samples in k-space."""
    rng = np.random.default_rng(0)
    acs = rng.standard_normal((3, 20, 24)) + 1j * rng.standard_normal((3, 20, 24))
    kernel = calibrate(acs, 2, 2, 3, 0.01, 0)
    weights = fftc(kernel.weights.transpose(1, 2, 3, 4, 0), -1) / np.sqrt(24)
    taps = weights[0, ..., [13, 12, 11]].transpose(1, 2, 3, 0)  # sample offsets -1, 0, 1
    data = np.zeros((1, 3, 20, 24), complex)
    data[0, :, ::2] = acs[:, ::2]
    filled = fftc(kernel.fill(ifftc(data, -1), np.arange(20) % 2 == 0, np.arange(20) % 2 == 1, 0), -1)
    by_hand = np.einsum(
        "dslw,slw->d", taps, np.stack([data[0, :, [6, 8], x : x + 3] for x in [9]])[0].transpose(1, 0, 2)
    )
    np.testing.assert_allclose(filled[0, :, 7, 10], by_hand, rtol=1e-4)


def test_regularisation_shrinks_and_the_ratio_bounds_the_equations(kspace):
    acs = kspace[0, :, 20:44]
    loose, tight = (calibrate(acs, 2, 2, 5, regularisation, 0) for regularisation in (1e-4, 1.0))
    assert np.linalg.norm(tight.weights) < np.linalg.norm(loose.weights)
    assert loose.equations == pytest.approx(22 * 44 / 80)
    assert calibrate(acs, 2, 2, 5, 1e-4, 5).equations == pytest.approx(5, abs=0.5)


def test_the_kernel_fits_the_calibration_lines():
    assert largest_kernel((8, 48, 192), 3, 4, 5, 0.25) == 4
    assert largest_kernel((8, 24, 192), 3, 4, 5, 0.25) == 2
    assert largest_kernel((8, 24, 192), 8, 4, 5, 0.25) == 0
    assert largest_kernel((8, 24, 192), 8, 2, 5, 1.0) == 2
    assert largest_kernel((8, 24, 192), 24, 2, 5, 1.0) == 0
    assert lines_needed((8, 24, 192), 24, 5, 1.0) == 25
    assert largest_kernel((8, 25, 192), 24, 2, 5, 1.0) == 2
    assert lines_needed((8, 24, 192), 8, 5, 0.25) == 36
    assert largest_kernel((8, 36, 192), 8, 2, 5, 0.25) == 2
