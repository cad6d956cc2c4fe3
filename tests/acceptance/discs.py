"""A disc with an edge of known blur, as a scan of the wanted matrix shows it."""

import numpy as np

from onebreath.mri.fourier import fft2c, ifft2c, resize

FINE = 6


def disc(
    shape=(96, 96), pixel_mm=(2.0, 2.0), radius=55.0, sigma_mm=(2.4, 2.4), centre=(1.3, -2.1), height=1.0
) -> np.ndarray:
    """Image (y, x): a disc, blurred by a Gaussian of these standard deviations along y and x, band-limited."""
    fine = tuple(FINE * n for n in shape)
    y, x = ((np.arange(n) - n // 2) * mm / FINE - c for n, mm, c in zip(fine, pixel_mm, centre, strict=True))
    sharp = (np.hypot(y[:, None], x[None]) < radius).astype(np.complex64) * height
    kspace = resize(fft2c(sharp), shape) / FINE
    for axis, (n, mm, sigma) in enumerate(zip(shape, pixel_mm, sigma_mm, strict=True)):
        frequency = (np.arange(n) - n // 2) / (n * mm)
        transfer = np.exp(-2 * (np.pi * sigma * frequency) ** 2)
        kspace = kspace * (transfer[:, None] if axis == 0 else transfer[None])
    return np.asarray(ifft2c(kspace.astype(np.complex64))).real
