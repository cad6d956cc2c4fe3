"""Measured k-space without a header."""

import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.training.recipe import Source
from onebreath.training.sources import read_source
from tests.helpers import complex_normal


def read(path):
    return list(read_source(Source(kind="kspace_npy", path=str(path))))


def kspace(noise):
    """Smooth coil images of a disc, and coupled noise ``(coil, y, x)``."""
    y, x = np.mgrid[-1:1:96j, -1:1:80j]
    image = 300 * np.exp(-4 * (x**2 + y**2))
    coils = np.stack([np.exp(1j * x), 1 + 0.5 * y, 1 - 0.3j * x])
    mixed = np.tensordot(np.array([[1, 0, 0], [0.5, 2, 0], [0, 0, 0.2]]), noise, 1)
    return (fft2c(image * coils) + mixed).astype(np.complex64)


def test_channels_are_whitened_by_what_the_corners_hold(tmp_path):
    noise = complex_normal(np.random.default_rng(0), (3, 96, 80), np.complex64)
    folder = tmp_path / "brain"
    folder.mkdir()
    np.save(folder / "kspace.npy", kspace(noise))
    (series,) = read(folder)
    assert (series.patient, series.kspace.shape, series.noise_std) == ("brain", (1, 3, 96, 80), 1.0)
    edge = series.kspace[0, :, :12].reshape(3, -1)
    assert np.allclose(edge.real.std(axis=1), 1, atol=0.2)
    assert np.abs(np.corrcoef(edge) - np.eye(3)).max() < 0.2
    assert np.abs(ifft2c(series.kspace)).max() > 100


def test_a_series_keeps_its_frames(tmp_path):
    noise = complex_normal(np.random.default_rng(0), (2, 3, 96, 80), np.complex64)
    np.save(tmp_path / "heart.npy", np.stack([kspace(one) for one in noise]))
    (series,) = read(tmp_path / "heart.npy")
    assert (series.patient, series.kspace.shape) == ("heart", (2, 3, 96, 80))


@pytest.mark.parametrize("content", [np.zeros((3, 8, 8)), np.zeros((8, 8), complex)])
def test_other_arrays_are_refused(tmp_path, content):
    np.save(tmp_path / "image.npy", content)
    with pytest.raises(ScanError, match=r"image.npy: .* expected complex k-space \(coil, y, x\)"):
        read(tmp_path / "image.npy")


def test_lines_of_zeros_are_lines_that_were_not_acquired(tmp_path, caplog):
    samples = kspace(complex_normal(np.random.default_rng(0), (3, 96, 80), np.complex64))
    holes = samples.copy()
    holes[:, 1:30:2] = 0
    np.save(tmp_path / "holes.npy", holes)
    (series,) = read(tmp_path / "holes.npy")
    np.testing.assert_array_equal(np.flatnonzero(~series.mask[0]), np.arange(1, 30, 2))
    assert "15 of 96 lines of a frame are all zero and count as not acquired" in caplog.text
    partial = samples.copy()
    partial[:, :20] = 0
    np.save(tmp_path / "partial.npy", partial)
    (series,) = read(tmp_path / "partial.npy")
    assert series.mask is None
    assert "20 lines at the beginning and 0 at the end of k-space are zero" in caplog.text
    assert np.allclose(series.kspace[0, :, -12:].real.std(axis=(1, 2)), 1, atol=0.2)  # zeros are no noise


def test_noise_needs_samples_in_the_corners(tmp_path):
    samples = kspace(complex_normal(np.random.default_rng(0), (3, 96, 80), np.complex64))
    y, x = np.mgrid[-1:1:96j, -1:1:80j]
    np.save(tmp_path / "ellipse.npy", samples * (x**2 + y**2 < 1))
    with pytest.raises(ScanError, match="the corners of k-space hold 0 samples other than zero"):
        read(tmp_path / "ellipse.npy")


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)])
def test_k_space_that_is_not_centred_is_refused(tmp_path, axes):
    samples = kspace(complex_normal(np.random.default_rng(0), (3, 96, 80), np.complex64))
    np.save(tmp_path / "shifted.npy", np.fft.ifftshift(samples, axes))
    with pytest.raises(ScanError, match=r"shifted.npy: the middle of k-space holds hardly any signal"):
        read(tmp_path / "shifted.npy")


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "scan.npy").write_bytes(b"\x93NUMPY" + bytes(20))
    with pytest.raises(ScanError, match=r"scan.npy cannot be read"):
        read(tmp_path)
