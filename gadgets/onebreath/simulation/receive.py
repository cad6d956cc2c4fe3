"""Receiver noise: correlated between channels, and band-limited in the noise scan."""

from __future__ import annotations

import numpy as np

from onebreath.simulation.options import ScanOptions


def add_noise(data: np.ndarray, covariance: np.ndarray, seed: int) -> None:
    """Add noise to image lines ``(line, coil, sample)`` in place.

    Samples are independent, as the receiver's filter is flat over the bandwidth of the image.

    Parameters
    ----------
    data
        Lines, complex64.
    covariance
        ``(coil, coil)``, ``E[n n^H]`` of a sample.
    seed
        Seed of the random numbers.
    """
    rng = np.random.default_rng([seed, 6])
    factor = np.linalg.cholesky(covariance).astype(np.complex64)
    for line in data:
        line += factor @ _white(rng, line.shape)


def noise_scan(options: ScanOptions, covariance: np.ndarray) -> np.ndarray:
    """Lines of a noise scan ``(line, coil, sample)`` complex64.

    Noise of the same spectral density as in the image lines, sampled with its own dwell time: the variance grows with
    the bandwidth ``1 / dwell``, of which the receiver's filter passes the fraction `noise_bandwidth`. Hence Gadgetron's
    scale ``sqrt(2 dwell / noise_dwell * noise_bandwidth)``, times the inverse Cholesky factor of the covariance of this
    scan, gives image lines of unit standard deviation in the real and in the imaginary part.

    Parameters
    ----------
    options
        The scan.
    covariance
        ``(coil, coil)`` of a sample of the image lines.
    """
    rng = np.random.default_rng([options.seed, 7])
    factor = np.linalg.cholesky(covariance * options.dwell_us / options.noise_dwell_us)
    white = _white(rng, (options.noise_lines, options.coils, options.noise_samples))
    response = np.sqrt(_pass_band(options.noise_samples, options.noise_bandwidth))
    filtered = np.fft.ifft(np.fft.fft(white, axis=-1) * response, axis=-1)
    return np.einsum("dc,lcn->ldn", factor, filtered).astype(np.complex64)


def _white(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Complex noise with ``E|n|^2 = 1``."""
    parts = rng.standard_normal((*shape, 2), dtype=np.float32)
    return parts.view(np.complex64)[..., 0] * np.float32(np.sqrt(0.5))


def _pass_band(samples: int, bandwidth: float) -> np.ndarray:
    """Power response over the frequencies of `numpy.fft.fft`: flat, then falling linearly to 0; mean = bandwidth."""
    frequency = np.abs(np.fft.fftfreq(samples))
    flat = bandwidth - 0.5
    response = np.clip((0.5 - frequency) / max(0.5 - flat, 1e-12), 0, 1)
    # A finite number of frequencies does not have exactly the desired mean.
    return response * (bandwidth / response.mean())
