"""The L+S problem of one slice: model, data, and units of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from array_api_compat import array_namespace

from onebreath.methods.base import SliceData
from onebreath.methods.low_rank_sparse_steps import Step, accelerated_steps, published_steps
from onebreath.mri import Array
from onebreath.mri.fourier import fft
from onebreath.mri.proximal import singular_values
from onebreath.mri.sense import SenseOperator

PENALTY, PENALTIES = 3.0, (0.003, 0.3)
"""Weight of the split times the strength of a series, and its bounds."""
BALANCE, USUAL_STRENGTH, LESS_WITH_LITTLE_NOISE = 1.1, 25.0, 0.15
"""See `Problem.balance`; the strength of a series is its largest singular value over that of noise."""


@dataclass(frozen=True)
class Problem:
    """One slice as L+S sees it: series are matrices (frame, pixel), the pixels of all map sets in one row.

    Parameters
    ----------
    operator
        The model E.
    kspace : (frame, coil, y, x) complex
        Divided by `scale`.
    start : (frame, pixel) complex
        E^H d, its largest magnitude 1.
    scale
        Units of the images in one of `start`.
    """

    operator: SenseOperator
    kspace: Array
    start: Array
    scale: float

    @classmethod
    def of(cls, data: SliceData) -> Problem:
        """Scale a slice and set up its model."""
        xp = array_namespace(data.kspace)
        operator = SenseOperator(data.maps, data.mask)
        zero_filled = operator.adjoint(data.kspace)
        scale = float(xp.max(xp.abs(zero_filled))) or 1.0
        masked = data.kspace * xp.astype(data.mask[:, None], xp.real(data.kspace).dtype)
        return cls(operator, masked / scale, matrix_of(zero_filled / scale), scale)

    def images(self, series: Array) -> Array:
        """Series (frame, pixel) as images (set, frame, y, x)."""
        xp = array_namespace(series)
        sets, _, ny, nx = self.operator.maps.shape
        return xp.permute_dims(xp.reshape(series, (series.shape[0], sets, ny, nx)), (1, 0, 2, 3))

    def normal(self, series: Array) -> Array:
        """E^H E of a series (frame, pixel)."""
        return matrix_of(self.operator.normal(self.images(series)))

    def steps(self, algorithm: str, low_rank: float, sparse: float) -> Iterator[Step]:
        """Iterate without end, ``published`` or ``accelerated``, with relative thresholds."""
        if algorithm == "published":
            return published_steps(self.normal, self.start, low_rank, sparse)
        return accelerated_steps(self.normal, self.start, self.weight(low_rank), sparse)

    def weight(self, low_rank: float) -> float:
        """lambda_L: the relative threshold times the largest singular value of the zero-filled series."""
        return low_rank * float(singular_values(self.start)[-1])

    def noise_units(self, level: float = 1.0) -> tuple[float, float]:
        """Largest singular value, and deviation in the temporal spectrum, of the zero-filled series of noise alone.

        Parameters
        ----------
        level
            Standard deviation of the noise in the real and in the imaginary part of a sample.
        """
        xp = array_namespace(self.start)
        real = xp.real(self.operator.maps).dtype
        share = float(xp.mean(xp.astype(self.operator.mask, real)))
        pixels = float(xp.sum(xp.abs(self.operator.maps) ** 2))  # maps are zero outside the object
        deviation = math.sqrt(2 * share) * level / self.scale
        return deviation * (math.sqrt(pixels) + math.sqrt(self.start.shape[0])), deviation

    def balance(self, unit: float) -> float:
        """Threshold in the temporal spectrum for one of 1 of the singular values, both in units of the noise.

        A background b that does not move costs ``lambda_L sqrt(T) ||b||_2`` in L and ``lambda_S sqrt(T) ||b||_1`` in
        S. Where both are the same neither part is empty, which is where images are best at usual noise; with little
        noise less sparsity is better (exponent and factor were fitted to simulated scans, SNR 10 to 150, R 4 to 24).

        Parameters
        ----------
        unit
            The largest singular value of noise, see `noise_units`.
        """
        xp = array_namespace(self.start)
        background = xp.abs(xp.mean(self.start, axis=0))
        total, energy = float(xp.sum(background)), float(xp.sum(background**2))
        if total == 0 or unit == 0:
            return 1.0
        pixels = float(xp.sum(xp.abs(self.operator.maps) ** 2))
        even = (math.sqrt(pixels) + math.sqrt(self.start.shape[0])) * math.sqrt(energy) / total
        strength = max(1.0, float(singular_values(self.start)[-1]) / unit)
        return float(BALANCE * even * (USUAL_STRENGTH / strength) ** LESS_WITH_LITTLE_NOISE)

    def penalty(self, unit: float) -> float:
        """Weight of the split of `split_steps`: the first threshold is a third of the largest singular value.

        Parameters
        ----------
        unit
            The largest singular value of noise, see `noise_units`.
        """
        strength = float(singular_values(self.start)[-1]) / unit if unit else math.inf
        return min(max(PENALTY / max(strength, 1.0), PENALTIES[0]), PENALTIES[1])

    def objective(self, step: Step, low_rank: float, sparse: float) -> float:
        """Return the minimised function; both weights and the function in scaled units."""
        xp = array_namespace(step.low_rank)
        residual = self.operator.forward(self.images(step.low_rank + step.sparse)) - self.kspace
        nuclear = float(xp.sum(singular_values(step.low_rank)))
        spectrum = float(xp.sum(xp.abs(fft(step.sparse, 0))))
        return norm(residual) ** 2 / 2 + low_rank * nuclear + sparse * spectrum


def matrix_of(images: Array) -> Array:
    """Return images (frame, y, x) or (set, frame, y, x) as a matrix (frame, pixel)."""
    xp = array_namespace(images)
    by_frame = images if images.ndim == 3 else xp.permute_dims(images, (1, 0, 2, 3))
    return xp.reshape(by_frame, (by_frame.shape[0], -1))


def norm(x: Array) -> float:
    """Root of the sum of squared magnitudes of a complex array."""
    xp = array_namespace(x)
    return math.sqrt(float(xp.sum(xp.real(x) ** 2 + xp.imag(x) ** 2)))
