"""Noise covariance and whitening in Gadgetron's convention.

After whitening with `gadgetron_scale` the real and the imaginary part of every channel have unit standard deviation.
P. Kellman and E. R. McVeigh, "Image reconstruction in SNR units", Magn Reson Med 54:1439 (2005).
"""

import math
from collections.abc import Iterable

import numpy as np
from array_api_compat import array_namespace, device

from onebreath.errors import ScanError
from onebreath.mri import Array

# Noise is measured in the first and the last 1 / _EDGE of the readout.
_EDGE = 16
# A channel whose noise variance is this far below the median channel carries no signal path.
_DEAD = 1e-8
# Smallest eigenvalue of the noise correlation matrix; coupled array elements stay above 1e-3, rounding below 1e-7.
_DEPENDENT = 1e-6


def covariance(samples: Array) -> Array:
    """Noise covariance ``n n^H / (N - 1)``, without subtraction of a mean, as Gadgetron computes it.

    Parameters
    ----------
    samples
        Noise samples ``(coil, n)``, complex.

    Returns
    -------
    Array
        ``(coil, coil)``, entry ``[i, j] = sum(n_i conj(n_j)) / (N - 1)``; summed in double precision.

    Raises
    ------
    ScanError
        Samples that are not finite (names the channels), or fewer samples than channels.
    """
    xp = array_namespace(samples)
    if samples.ndim != 2:
        raise ValueError(f"samples must be (coil, n), got shape {tuple(samples.shape)}")
    coils, count = samples.shape
    broken = _indices(~xp.all(xp.isfinite(samples), axis=1))
    if broken:
        raise ScanError(
            f"The noise scan holds NaN or Inf in channel {_list(broken)}. Repeat the noise scan, or remove the channel."
        )
    if count <= coils:
        raise ScanError(
            f"The noise scan has {count} samples for {coils} channels; more samples than channels are needed. "
            "Repeat the noise scan with more lines."
        )
    double = xp.astype(samples, xp.complex128)
    return xp.astype(double @ xp.conj(double.T) / (count - 1), samples.dtype)


def whitening_matrix(cov: Array, scale: float = 1.0) -> Array:
    """Whitening matrix ``W = scale * L^-1`` with the Cholesky factor ``cov = L L^H``; whitened ``= W @ k``.

    Parameters
    ----------
    cov
        Noise covariance ``(coil, coil)``, see `covariance`.
    scale
        1 gives unit variance of the complex noise, `gadgetron_scale` Gadgetron's unit standard deviation in each of
        real and imaginary part, corrected for the dwell times.

    Returns
    -------
    Array
        ``(coil, coil)``, lower triangular.

    Raises
    ------
    ScanError
        The covariance is not finite or singular; names the channels (counted from 0) and what to do.
    """
    xp = array_namespace(cov)
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1]:
        raise ValueError(f"cov must be (coil, coil), got shape {tuple(cov.shape)}")
    _require_regular(cov)
    double = xp.astype(cov, xp.complex128)
    factor = xp.linalg.cholesky((double + xp.conj(double.T)) / 2)
    identity = xp.eye(cov.shape[0], dtype=xp.complex128, device=device(cov))
    return xp.astype(scale * xp.tril(xp.linalg.solve(factor, identity)), cov.dtype)


def gadgetron_scale(dwell_us: float, noise_dwell_us: float, bandwidth: float = 0.793) -> float:
    """Scale of the whitening matrix, ``sqrt(2 dwell / noise_dwell * bandwidth)`` as in Gadgetron's NoiseAdjustGadget.

    Parameters
    ----------
    dwell_us, noise_dwell_us
        Dwell time (``sample_time_us``) of the imaging and of the noise acquisitions in microseconds, both with
        readout oversampling.
    bandwidth
        Relative receiver noise bandwidth (``relativeReceiverNoiseBandwidth`` of the header, Siemens 0.793).

    Raises
    ------
    ScanError
        A dwell time or the bandwidth is not positive and finite.
    """
    values = {"dwell time": dwell_us, "dwell time of the noise scan": noise_dwell_us, "noise bandwidth": bandwidth}
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ScanError(f"The {name} is {value} but must be positive to scale the noise. Correct the raw data.")
    return math.sqrt(2 * dwell_us / noise_dwell_us * bandwidth)


def edge_noise(lines: Iterable[np.ndarray]) -> float | None:
    """Noise of k-space lines, estimated from the samples at both ends of the readout, where signal is weakest.

    Parameters
    ----------
    lines
        Lines (coil, x), complex.

    Returns
    -------
    float or None
        Standard deviation of real and imaginary part in the quietest fifth of the lines; None without such samples.
    """
    found = []
    for line in lines:
        width = max(1, line.shape[1] // _EDGE)
        power = np.abs(np.concatenate([line[:, :width], line[:, -width:]], axis=1)) ** 2
        power = power[power > 0]
        if power.size:
            # The power of complex noise is exponentially distributed; signal in a few samples hardly moves its median.
            found.append(math.sqrt(float(np.median(power)) / (2 * math.log(2))))
    return float(np.quantile(found, 0.2)) if found else None


def _require_regular(cov: Array) -> None:
    """Raise a ScanError that names the channels which make the covariance singular."""
    xp = array_namespace(cov)
    broken = _indices(~xp.all(xp.isfinite(cov), axis=1))
    if broken:
        raise ScanError(f"The noise covariance is NaN or Inf in channel {_list(broken)}. Repeat the noise scan.")
    variance = xp.real(xp.astype(xp.linalg.diagonal(cov), xp.complex128))
    typical = float(xp.sort(variance)[variance.shape[0] // 2])
    dead = _indices(variance <= _DEAD * typical)
    if dead or typical <= 0:
        raise ScanError(
            f"Channel {_list(dead)} measured no noise, so the covariance is singular: dead or unplugged. "
            "Check the coil, or remove the channel from the scan."
        )
    std = xp.sqrt(variance)
    values, vectors = xp.linalg.eigh(xp.astype(cov, xp.complex128) / (std[:, None] * std))
    null = vectors[:, values < _DEPENDENT]
    if null.shape[1]:
        share = xp.sum(xp.abs(null) ** 2, axis=1)
        involved = _indices(share > 0.1 * xp.max(share))
        raise ScanError(
            f"The noise of the channels {_list(involved)} is linearly dependent (duplicated or already combined "
            "channels), so the covariance is singular. Remove the surplus channels from the scan."
        )


def _indices(flags: Array) -> list[int]:
    return [i for i in range(flags.shape[0]) if bool(flags[i])]


def _list(channels: list[int]) -> str:
    return ", ".join(map(str, channels))
