"""Simulated scans of image series: acquired matrix, phase, coils, noise, whitening, compression and coil maps.

The data are as in the chain before reconstruction: white noise with unit standard deviation in real and imaginary part,
compressed channels, and maps estimated from noisy calibration lines.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter

from onebreath.errors import ScanError
from onebreath.mri.coils import apply_channel_matrix, pca_matrix, rss
from onebreath.mri.espirit import espirit
from onebreath.mri.fourier import fft2c, ifft2c, resize
from onebreath.mri.noise import whitening_matrix
from onebreath.simulation.coils import coil_maps, noise_covariance
from onebreath.training.data.measured_coils import measured_maps
from onebreath.training.data.motion import beating
from onebreath.training.data.series import NOT_CYCLIC, ImageSeries, PreparedSlice
from onebreath.validation import CorrelationRange, CountRange, PositiveRange

# SNR refers to this percentile of the magnitude, which is about that of blood.
_BLOOD_PERCENTILE = 97.0
CALIBRATION_SAMPLES = 64
"""Samples of the readout around the centre for the estimation of maps, as in the chain's calibration."""
# And those by which channels are compressed.
_COMPRESSION_SAMPLES = 32


class ScanSettings(BaseModel):
    """Settings for simulating scans from images; each variant of a slice draws its own values from the ranges."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variants: int = Field(3, ge=1, description="scans simulated from each slice")
    frames: int = Field(20, ge=1, description="frames of simulated motion made from a single image")
    matrix: PositiveRange = Field(
        (0.65, 1.0), description="acquired matrix along each axis, as a fraction of the pixels of the image"
    )
    coils: CountRange = Field((10, 24), description="receive channels before compression")
    channels: int = Field(10, ge=1, description="channels after compression")
    measured_coils: str | None = Field(
        None, description="file with measured multi-coil k-space (coil, y, x), .npy, whose coil maps are also used"
    )
    measured_share: float = Field(0.3, ge=0, le=1, description="fraction of scans with coil maps of `measured_coils`")
    noise_correlation: CorrelationRange = Field((0.0, 0.5), description="correlation of the channels' noise")
    snr: PositiveRange = Field(
        (12.0, 60.0), description="SNR of the brightest tissues (97th percentile), fully sampled"
    )
    calibration_lines: CountRange = Field((20, 32), description="calibration lines for the coil maps")


def make_scan(series: ImageSeries, settings: ScanSettings, seed: tuple[int, ...]) -> PreparedSlice:
    """Simulated scan of a slice.

    Parameters
    ----------
    series
        The images; motion is simulated for a single one.
    settings
        Ranges of all properties.
    seed
        Seed of all random numbers; the same seed gives the same scan.

    Raises
    ------
    ScanError
        If the images are too small for the calibration.
    """
    rng = np.random.default_rng(seed)
    image, coils = simulate_channels(series, settings, rng)
    if NOT_CYCLIC in series.facts and len(series.images) > 1:
        # Forwards and backwards, since examples go round: there is no jump from the last frame to the first.
        image = np.concatenate([image, image[-2:0:-1]])
    lines = int(rng.integers(settings.calibration_lines[0], settings.calibration_lines[1] + 1))
    maps = _estimated(image, coils, lines, rng)
    return PreparedSlice(series.patient, series.name, image[:, None], coils, maps, np.ones((1, image.shape[1]), bool))


def simulate_channels(
    series: ImageSeries, settings: ScanSettings, rng: np.random.Generator, vary: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Images of a slice with acquired matrix and phase, and its receive channels after whitening and compression.

    Parameters
    ----------
    series
        The images; motion is simulated for a single one.
    settings
        Ranges of all properties.
    rng
        Random numbers.
    vary
        Whether contrast and phase encoding direction are random; otherwise they are those of the images.

    Returns
    -------
    tuple
        Image ``(frame, y, x)`` and sensitivities ``(coil, y, x)``, complex64; their product is in SNR units.
    """
    images = series.images.astype(np.complex64)
    pixel = np.array(series.pixel_mm)
    if len(images) == 1 and settings.frames > 1:
        images = beating(images[0], settings.frames, rng)
    if vary and rng.random() < 0.3:
        images, pixel = images.swapaxes(1, 2), pixel[::-1]
    images = _acquired(_with_contrast(images, rng) if vary else images, settings, rng)
    fov = pixel * series.images.shape[1:]
    images = images * np.exp(1j * smooth_phase(images.shape[1:], rng))
    sensitivities, covariance = _receiver(settings, np.abs(images).mean(0), fov, rng)
    coils, scale = _compressed(images, sensitivities, covariance, settings, rng)
    return (images * scale).astype(np.complex64), coils


def estimate_maps(kspace: np.ndarray, lines: int) -> np.ndarray:
    """ESPIRiT maps ``(coil, y, x)`` from the central `lines` of time-averaged k-space ``(coil, y, x)``."""
    ny, nx = kspace.shape[-2:]
    acs = resize(kspace, (min(lines, ny), min(CALIBRATION_SAMPLES, nx)))
    maps, _ = espirit(acs, (ny, nx), crop=None)
    return np.asarray(maps[0], np.complex64)


def _acquired(images: np.ndarray, settings: ScanSettings, rng: np.random.Generator) -> np.ndarray:
    """Images of the acquired matrix, which is smaller than that of a scanner's interpolated images.

    A drawn matrix is even, as those of scanners are; a fraction of 1 is the matrix of the images, whatever it is.
    """
    low, high = settings.matrix
    fractions = [rng.uniform(low, high) for _ in images.shape[1:]]
    whole = low == high == 1
    shape = [n if whole else 2 * round(n * part / 2) for n, part in zip(images.shape[1:], fractions, strict=True)]
    if min(shape) < max(_COMPRESSION_SAMPLES, settings.calibration_lines[1]):
        raise ScanError(f"images of {images.shape[1:]} pixels give a matrix of {shape}, too small for calibration")
    return np.asarray(ifft2c(resize(fft2c(images), tuple(shape))))


def _with_contrast(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change the contrast by a power of the magnitude."""
    magnitude = np.abs(images)
    return images * (magnitude / magnitude.max() + 1e-3) ** rng.uniform(-0.2, 0.3)


def smooth_phase(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Phase of off-resonance and receiver in rad: a polynomial and a smooth random field, ``(y, x)``."""
    y, x = (np.linspace(-1, 1, size) for size in shape)
    a, b, c, d, e = rng.normal(0, (1.5, 1.5, 0.8, 0.8, 0.8))
    polynomial = a * y[:, None] + b * x + c * y[:, None] ** 2 + d * x**2 + e * y[:, None] * x
    field = gaussian_filter(rng.standard_normal(shape), min(shape) * rng.uniform(0.06, 0.15), mode="wrap")
    phase = rng.uniform(0, 2 * np.pi) + polynomial + field * (rng.uniform(0, 1.0) / field.std())
    return phase.astype(np.float32)


def _receiver(
    settings: ScanSettings, magnitude: np.ndarray, fov: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivities ``(coil, y, x)`` and noise covariance ``(coil, coil)`` of a coil array around the body."""
    coils = int(rng.integers(settings.coils[0], settings.coils[1] + 1))
    if settings.measured_coils is not None and rng.random() < settings.measured_share:
        sensitivities = measured_maps(settings.measured_coils, coils, magnitude.shape, rng)
    else:
        # The simulated loops are close to the chest: smaller coordinates keep them outside a large field of view.
        half = np.minimum(fov / 2, (130.0, 185.0)) * rng.uniform(0.75, 1.0, 2)
        axes = [np.linspace(-h, h, n) + rng.uniform(-15, 15) for n, h in zip(magnitude.shape, half, strict=True)]
        sensitivities = coil_maps(coils, axes[0], axes[1], float(rng.uniform(-60, 60)))
        # Scanners have already removed part of the shading from the images.
        sensitivities = sensitivities / rss(sensitivities, 0) ** np.float32(rng.uniform(0.3, 1.0))
    body = magnitude > 0.05 * magnitude.max()
    correlation = float(rng.uniform(*settings.noise_correlation))
    return sensitivities, noise_covariance(sensitivities, body, correlation, int(rng.integers(2**31)))


def _compressed(
    images: np.ndarray,
    sensitivities: np.ndarray,
    covariance: np.ndarray,
    settings: ScanSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.float32]:
    """Whitened and compressed sensitivities ``(coil, y, x)``, and the factor that scales the images to SNR units."""
    whitened = np.tensordot(whitening_matrix(covariance, np.sqrt(2.0)), sensitivities, axes=1)
    mean = images.mean(axis=0)
    centre = resize(fft2c(mean * whitened), (settings.calibration_lines[0], _COMPRESSION_SAMPLES))
    matrix = pca_matrix(centre, min(settings.channels, len(whitened)))
    coils = apply_channel_matrix(matrix, whitened, 0).astype(np.complex64)
    level = np.percentile(np.abs(images).mean(axis=0) * rss(coils, 0), _BLOOD_PERCENTILE)
    snr = np.exp(rng.uniform(*np.log(settings.snr)))
    return coils, np.float32(snr / level)


def _estimated(image: np.ndarray, coils: np.ndarray, lines: int, rng: np.random.Generator) -> np.ndarray:
    """Maps estimated, as in the chain, from the noisy time average of the calibration lines."""
    kspace = fft2c(image.mean(axis=0) * coils)
    noise = rng.standard_normal((2, *kspace.shape)).astype(np.float32) / np.sqrt(len(image))
    return estimate_maps((kspace + noise[0] + 1j * noise[1]).astype(np.complex64), lines)
