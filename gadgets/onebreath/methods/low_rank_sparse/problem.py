"""The L+S problem of one slice: model, data, and units of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from array_api_compat import array_namespace

from onebreath.methods.base import SliceData
from onebreath.methods.low_rank_sparse.steps import Step, accelerated_steps, published_steps
from onebreath.mri import Array
from onebreath.mri.fourier import fft
from onebreath.mri.proximal import (
    SPLIT,
    SPLITS,
    balance,
    less_sparse,
    singular_values,
    smoothness,
    wavelet_norm,
)
from onebreath.mri.sense import SenseOperator


@dataclass(frozen=True)
class Problem:
    """The L+S problem of one slice: series are matrices (frame, pixel), the pixels of all map sets in one row.

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
        return array_namespace(series).permute_dims(self.by_frame(series), (1, 0, 2, 3))

    def by_frame(self, series: Array) -> Array:
        """Series (frame, pixel) as images (frame, set, y, x)."""
        sets, _, ny, nx = self.operator.maps.shape
        return array_namespace(series).reshape(series, (series.shape[0], sets, ny, nx))

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
        return low_rank * self.largest

    def noise_units(self, level: float = 1.0) -> tuple[float, float]:
        """Largest singular value, and deviation in the temporal spectrum, of the zero-filled series of noise alone.

        Parameters
        ----------
        level
            Standard deviation of the noise in the real and in the imaginary part of a sample.
        """
        xp = array_namespace(self.start)
        share = self._part(self.operator.mask)
        pixels = float(xp.sum(xp.abs(self.operator.maps) ** 2))  # maps are zero outside the object
        deviation = math.sqrt(2 * share) * level / self.scale
        return deviation * (math.sqrt(pixels) + math.sqrt(self.start.shape[0])), deviation

    def balance(self, unit: float) -> float:
        """Threshold of the temporal spectrum for a singular-value threshold of 1; see `onebreath.mri.proximal.balance`.

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
        evenness = (math.sqrt(pixels) + math.sqrt(self.start.shape[0])) * math.sqrt(energy) / total
        return float(balance(evenness, self.strength(unit)))

    def smoothness(self, unit: float) -> float:
        """Threshold of the wavelets over the noise's deviation; see `onebreath.mri.proximal.smoothness`."""
        return float(smoothness(self.strength(unit)))

    def less_sparse(self, unit: float) -> float:
        """Factor of `balance` where there are wavelets; see `onebreath.mri.proximal.less_sparse`."""
        common = array_namespace(self.operator.mask).all(self.operator.mask, axis=0)
        return float(less_sparse(self.strength(unit), self._part(common), np.clip))

    def _part(self, mask: Array) -> float:
        """Return the part of the samples that a mask has."""
        xp = array_namespace(mask)
        return float(xp.mean(xp.astype(mask, xp.real(self.operator.maps).dtype)))

    def penalty(self, unit: float) -> float:
        """Weight of the split of `split_steps`; `unit` as in `balance`."""
        return min(max(SPLIT / self.strength(unit), SPLITS[0]), SPLITS[1])

    def strength(self, unit: float) -> float:
        """Largest singular value of the zero-filled series over that of noise, at least 1."""
        return max(self.largest / unit, 1.0) if unit else math.inf

    @cached_property
    def largest(self) -> float:
        """Largest singular value of the zero-filled series."""
        return float(singular_values(self.start)[-1])

    def objective(self, step: Step, low_rank: float, sparse: float, wavelet: float = 0.0) -> float:
        """Return the minimised function, its wavelets without a shift; weights and the function in scaled units."""
        xp = array_namespace(step.low_rank)
        residual = self.operator.forward(self.images(step.low_rank + step.sparse)) - self.kspace
        nuclear = float(xp.sum(singular_values(step.low_rank)))
        spectrum = float(xp.sum(xp.abs(fft(step.sparse, 0))))
        smooth = wavelet * math.sqrt(len(step.series)) * wavelet_norm(self.by_frame(step.series)) if wavelet else 0.0
        return norm(residual) ** 2 / 2 + low_rank * nuclear + sparse * spectrum + smooth


def matrix_of(images: Array) -> Array:
    """Return images (frame, y, x) or (set, frame, y, x) as a matrix (frame, pixel)."""
    xp = array_namespace(images)
    by_frame = images if images.ndim == 3 else xp.permute_dims(images, (1, 0, 2, 3))
    return xp.reshape(by_frame, (by_frame.shape[0], -1))


def norm(x: Array) -> float:
    """Root of the sum of squared magnitudes of a complex array."""
    xp = array_namespace(x)
    return math.sqrt(float(xp.sum(xp.real(x) ** 2 + xp.imag(x) ** 2)))
