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


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "scan.npy").write_bytes(b"\x93NUMPY" + bytes(20))
    with pytest.raises(ScanError, match=r"scan.npy cannot be read"):
        read(tmp_path)
