"""From the encoded to the recon space: images are cropped to its field of view and interpolated to its matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.budget import claim
from onebreath.errors import ScanError
from onebreath.mrd.header_values import LARGEST
from onebreath.mrd.readout import WHOLE
from onebreath.mri.fourier import fftc, ifftc, resize

AXES = ("RO", "E1", "E2")
"""Names of the axes x, y, z in the meta."""


class Axis:
    """One axis of an image on its way to the recon space.

    Parameters
    ----------
    size, wanted
        Pixels before and after.
    covered
        Pixels before that the field of view covers after, or parts of them.
    sampled
        First and last acquired sample of k-space, counted from its centre.
    """

    def __init__(self, size: int, wanted: int, covered: float, sampled: tuple[int, int]) -> None:
        self.size, self.wanted, self.covered = size, wanted, covered
        first, last = -(size // 2), size - size // 2 - 1
        self._all = first, last
        self._sampled = max(sampled[0], first), min(sampled[1], last)
        near = round(covered)
        self.whole = near if abs(covered - near) <= WHOLE else 0

    @property
    def changes(self) -> bool:
        """Whether anything is done along this axis."""
        return not self.size == self.wanted == self.whole

    @property
    def noise(self) -> float:
        """Standard deviation of noise after over before: a smaller matrix leaves out samples, and their noise."""
        first, last = self._sampled
        kept = min(self._band[1], last) - max(self._band[0], first) + 1
        return math.sqrt(min(max(kept, 1.0) / max(last - first + 1, 1), 1.0))

    @property
    def _band(self) -> tuple[float, float]:
        """First and last sample of k-space that the pixels after can hold, or parts of samples."""
        first, last = self._all
        if not self.whole:
            finest = self.wanted * self.size / (2 * self.covered)
            return max(math.ceil(-finest - 1e-6), first), min(math.ceil(finest - 1e-6) - 1, last)
        step, half = self.size / self.whole, self.wanted // 2
        if self.wanted >= self.whole:
            return first, last
        return (0.5 - half - 1) * step + 0.5, (self.wanted - half - 0.5) * step - 0.5

    def bring(self, pixels: NDArray[np.complex64], axis: int) -> NDArray[np.complex64]:
        """Bring this axis of an image to the recon space."""
        if not self.changes:
            return pixels
        largest = max(self.wanted, math.ceil(self.covered))
        claim(8 * pixels.size // pixels.shape[axis] * largest, "an image of the recon matrix")
        if not self.whole:
            claim(40 * self.size * max(self.wanted, self.size), "the weights of an image of the recon matrix")
            weights = _fourier_sum(self.size, self.wanted, self.covered, *self._band)
            placed = np.moveaxis(pixels, axis, -1) @ weights.T
            return np.ascontiguousarray(np.moveaxis(placed, -1, axis))
        if self.whole != self.size:
            pixels = resize(pixels, _with(pixels.shape, axis, self.whole))
        if self.wanted != self.whole:
            spectrum = resize(fftc(pixels, axis), _with(pixels.shape, axis, self.wanted))
            pixels = ifftc(spectrum, axis) * np.float32(np.sqrt(self.wanted / self.whole))
        return pixels

    def spread(self, variance: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        """Return the mean variance of the pixels before of which each pixel after is made, by their weights in it."""
        if not self.changes:
            return variance
        weights = np.abs(self.bring(np.eye(self.size, dtype=np.complex64), 0)).astype(np.float64) ** 2
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        return np.moveaxis(np.moveaxis(variance, axis, -1) @ weights.T, -1, axis)


class ReconSpace:
    """Way of an image (..., z, y, x) from the encoded to the recon space.

    Parameters
    ----------
    axes
        What becomes of each axis, by its place in the image: -1, -2, -3.
    """

    def __init__(self, axes: Mapping[int, Axis]) -> None:
        self.axes = axes

    @classmethod
    def of_meta(cls, entries: Mapping[str, Any], shape: Sequence[int]) -> ReconSpace:
        """Return the way that entries of the meta, or what is written there, name for an image of this shape.

        ``encoding_FOV`` and ``recon_FOV`` (mm) say how much of the image is kept, ``recon_matrix`` to how many pixels
        it is interpolated, ``sampling_limits_*`` what was acquired. A slice stays as thick as it is.

        Raises
        ------
        ScanError
            If the entries are no numbers, or impossible ones.
        """
        count = 2 if len(shape) < 3 or shape[-3] == 1 else 3
        return cls({-1 - place: _axis(shape[-1 - place], entries, place) for place in range(count)})

    @classmethod
    def of(cls, buffer: Any) -> ReconSpace:
        """Return the way of the images of a message's k-space (x, y, z, ...), by its description of the sampling."""
        sampling = buffer.sampling
        entries = {"encoding_FOV": sampling.encoded_FOV, "recon_FOV": sampling.recon_FOV}
        limits = [(limit.min, limit.center, limit.max) for limit in sampling.sampling_limits]
        named = {f"sampling_limits_{name}": of_axis for name, of_axis in zip(AXES, limits, strict=True)}
        return cls.of_meta({**entries, "recon_matrix": sampling.recon_matrix, **named}, buffer.data.shape[2::-1])

    @property
    def plane(self) -> ReconSpace:
        """Way of a plane (..., z, y) of a volume."""
        return ReconSpace({place + 1: axis for place, axis in self.axes.items() if place < -1})

    @property
    def readout(self) -> ReconSpace:
        """Way of the readout alone."""
        return ReconSpace({-1: self.axes[-1]})

    @property
    def changes(self) -> bool:
        """Whether anything is done."""
        return any(axis.changes for axis in self.axes.values())

    @property
    def noise(self) -> float:
        """Standard deviation of the noise in an image after over before, if all acquired samples hold as much."""
        return math.prod(axis.noise for axis in self.axes.values())

    def bring(self, pixels: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Bring an image to the recon space: zero filling in k-space about its centre, pixel values kept.

        Where the field of view covers whole pixels, the others are cut off before; else the Fourier sum of the image is
        taken at the place of each pixel.
        """
        for place, axis in self.axes.items():
            pixels = axis.bring(pixels, place)
        return pixels

    def spread(self, std: NDArray[Any]) -> NDArray[np.float32]:
        """Bring a map of standard deviations to the recon space, but for the factor `noise`.

        What a pixel after takes of the noise of pixels before are the squares of its weights; a map interpolated like
        an image would ring.
        """
        if not self.changes:
            return np.asarray(std, np.float32)
        variance = np.square(std, dtype=np.float64)
        for place, axis in self.axes.items():
            variance = axis.spread(variance, place)
        return np.sqrt(variance).astype(np.float32)


@lru_cache(3)
def _fourier_sum(size: int, wanted: int, covered: float, first: float, last: float) -> NDArray[np.complex64]:
    """Return the weights (after, before) of the Fourier sum at the places of the pixels after; zero outside.

    `first` and `last` are the samples of k-space that are summed; cached, as all images of a scan have the same.
    """
    before = np.arange(size) - size // 2
    after = (np.arange(wanted) - wanted // 2) * (covered / wanted)
    samples = np.arange(first, last + 1)
    turn = 2j * np.pi / size
    weights = np.exp(turn * np.outer(after, samples)) @ np.exp(-turn * np.outer(samples, before)) / size
    weights[(after < -size / 2) | (after >= size / 2)] = 0
    return weights.astype(np.complex64)


def _axis(size: int, entries: Mapping[str, Any], place: int) -> Axis:
    """Return an axis, of which the entries say what becomes of it."""
    try:
        encoded, recon = float(entries["encoding_FOV"][place]), float(entries["recon_FOV"][place])
        wanted, covered = int(entries["recon_matrix"][place]), size * recon / encoded
        limits = entries.get(f"sampling_limits_{AXES[place]}", (0, size // 2, size - 1))
        first, centre, last = (int(limit) for limit in limits)
        near = round(covered)
    except (ValueError, TypeError, LookupError, OverflowError, ZeroDivisionError) as error:
        raise ScanError(f"the sizes in the meta of an image cannot be used: {error}") from error
    if not (0 < wanted <= LARGEST and 0 < near <= LARGEST):
        raise ScanError(
            f"an image of {size} pixels would get {near} for its field of view ({recon:g} of {encoded:g} mm) and "
            f"{wanted} in the end; from 1 to {LARGEST} are possible"
        )
    return Axis(size, wanted, covered, (first - centre, last - centre))


def _with(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    changed = list(shape)
    changed[axis] = size
    return tuple(changed)
