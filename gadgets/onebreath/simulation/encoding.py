"""Encoding: k-space lines of the object, and its scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onebreath.mri.fourier import fftc
from onebreath.mri.noise import whitening_matrix
from onebreath.simulation.coils import coil_maps, noise_covariance
from onebreath.simulation.geometry import Grid
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.phantom import Phantom
from onebreath.simulation.sampling import Readout

# Standard deviation of the noise in raw data, as on scanners, and the magnitude of blood in scans without noise.
_NOISE_STD = 2e-6
_NOISELESS_BLOOD = 100.0


@dataclass(frozen=True)
class Receiver:
    """The coils and their noise for all slices.

    Attributes
    ----------
    maps
        ``(slice, coil, y, x)`` complex64 on the oversampled readout; signal of a channel = map * object.
    covariance
        ``(coil, coil)`` complex128, ``E[n n^H]`` of a sample of the image lines; twice the identity without noise, so
        that whitening changes nothing.
    noisy
        Whether the scan has noise.
    """

    maps: np.ndarray
    covariance: np.ndarray
    noisy: bool

    def shading(self, slice_index: int) -> np.ndarray:
        """Root sum of squares of the whitened maps of a slice ``(y, x)``: SNR of an object of magnitude 1."""
        whitening = whitening_matrix(self.covariance, np.sqrt(2.0)).astype(np.complex64)
        return np.linalg.norm(np.tensordot(whitening, self.maps[slice_index], axes=1), axis=0)


def scan_grid(options: ScanOptions) -> Grid:
    """Pixels of the encoded space, whose field of view is larger along the readout by the oversampling.

    They are those of the usual transverse plane, which is read out towards the patient's right. Other planes show the
    same picture: the chest is drawn as a stack of sections, not as a body that can be cut in any direction.
    """
    rows, columns = options.matrix
    pixel = (options.fov_mm[0] / rows, options.fov_mm[1] / columns)
    return Grid((rows, columns * options.readout_oversampling), pixel, mirrored=True)


def crop_readout(image: np.ndarray, columns: int) -> np.ndarray:
    """Middle columns of images (..., y, x): removes the readout oversampling."""
    first = image.shape[-1] // 2 - columns // 2
    return image[..., first : first + columns]


def make_receiver(options: ScanOptions, phantom: Phantom, heights_mm: np.ndarray) -> Receiver:
    """Coil maps of every slice and noise covariance, scaled so that blood has the desired SNR in the middle slice.

    Parameters
    ----------
    options
        The scan.
    phantom
        The subject, on `scan_grid`.
    heights_mm
        Position of each slice or partition along the slice direction.
    """
    grid = phantom.grid
    # One ring of loops would not encode the third direction.
    rings = 2 if options.partitions > 1 and options.coils < 14 else 0
    maps = np.stack([coil_maps(options.coils, grid.axis(0), grid.axis(1), float(z), rings) for z in heights_mm])
    middle = int(np.argmin(np.abs(heights_mm)))
    picture = np.abs(phantom.draw(float(heights_mm[middle]), 0.0))
    body = crop_readout(picture, options.matrix[1]) > 0.05
    seen = crop_readout(maps[middle], options.matrix[1])
    covariance = noise_covariance(seen, body, options.noise_correlation, options.seed)
    noisy = options.snr > 0
    covariance = covariance * 2 * _NOISE_STD**2 if noisy else 2 * np.eye(options.coils, dtype=np.complex128)
    snr = Receiver(maps, covariance, noisy).shading(middle)[phantom.blood_pixel()]
    wanted = options.snr if noisy else _NOISELESS_BLOOD
    return Receiver(maps * np.float32(wanted / snr), covariance, noisy)


def encode_volume(coil_images: np.ndarray, positions: np.ndarray, readout: Readout) -> np.ndarray:
    """K-space lines of a volume ``(line, coil, sample)`` complex64.

    Parameters
    ----------
    coil_images
        ``(coil, z, y, x)`` complex64 on the oversampled readout.
    positions
        Positions in the plane of both phase encodings (line,), ``partition * rows + row``.
    readout
        Acquired samples of a line.
    """
    kspace = fftc(coil_images, (-3, -2, -1))
    partition, row = divmod(positions, coil_images.shape[2])
    return np.ascontiguousarray(kspace[:, partition, row, readout.first :].swapaxes(0, 1))


def slab_profile(heights_mm: np.ndarray) -> np.ndarray:
    """Excitation of the partitions of a slab, which falls towards both ends so that nothing folds in."""
    step = float(heights_mm[1] - heights_mm[0])
    end = step * len(heights_mm) / 2
    beyond = (np.abs(heights_mm + step / 2 - float(np.mean(heights_mm + step / 2))) - 0.75 * end) / (0.25 * end)
    return np.asarray(np.cos(np.pi / 2 * np.clip(beyond, 0, 1)) ** 2)


def encode(coil_images: np.ndarray, rows: np.ndarray, readout: Readout) -> np.ndarray:
    """K-space lines of coil images.

    Parameters
    ----------
    coil_images
        ``(coil, y, x)`` complex64 on the oversampled readout.
    rows
        Rows of k-space (line,).
    readout
        Acquired samples of a line.

    Returns
    -------
    numpy.ndarray
        ``(line, coil, sample)`` complex64, centred unitary transform.
    """
    size = coil_images.shape[1]
    centre = size // 2
    # Only the requested lines are computed: a scan often needs few lines of each state of the body.
    angle = np.outer(rows - centre, np.arange(size) - centre) / size
    transform = (np.exp(-2j * np.pi * angle) / np.sqrt(size)).astype(np.complex64)
    lines = fftc(transform @ coil_images, -1)[..., readout.first :]
    return lines.swapaxes(0, 1)
