"""The noise in the images of any method, classical or learned, measured on the slice at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from onebreath.errors import MethodError
from onebreath.methods.base import Method, SliceData
from onebreath.methods.device import as_numpy
from onebreath.methods.known_noise import noise_level
from onebreath.mri import Array
from onebreath.mri.noise_map import noise_map
from onebreath.mri.normality import LEAST_SAMPLES, LIMIT, lilliefors

Finish: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Processing of a method's images (frame, y, x) after it."""


@runtime_checkable
class Differentiable(Protocol):
    """A method with a derivative of its images with respect to k-space."""

    def derivative(self, data: SliceData) -> Callable[[Array], Array] | None:
        """Return the map from a small change of the k-space (frame, coil, y, x) to that of the images (frame, y, x).

        Coil maps, calibration and scaling are what they are at these data. None if it cannot be computed here.
        """


@dataclass(frozen=True)
class Effort:
    """Effort for a noise map: limits of samples and seconds, and one map for all frames or one each."""

    samples: int = 64
    seconds: float = 60.0
    pool_frames: bool = False


@dataclass(frozen=True)
class MeasuredNoise:
    """Noise in the magnitude of images.

    Attributes
    ----------
    std : (frame or 1, y, x) real
        Standard deviation, in the units of the images.
    how
        Estimator, number of samples and standard error, as text.
    normality : (frame, y, x) real, or None
        Distance of the magnitude's noise from a normal distribution, if requested; 1 is the limit that normal noise
        exceeds in 5 % of all pixels.
    level
        Standard deviation of the noise in the real and in the imaginary part of the samples: 1 where they are whitened.
    """

    std: np.ndarray
    how: str
    normality: np.ndarray | None = None
    level: float = 1.0


def measure_noise(
    method: Method,
    data: SliceData,
    images: np.ndarray,
    effort: Effort,
    finish: Finish | None = None,
    normality: bool = False,
) -> MeasuredNoise:
    """Measure the noise in the images of a slice.

    With probes of the derivative where the method has one, else with noise replicas of the whole reconstruction, which
    also hold where noise is not small against the signal.

    Parameters
    ----------
    method
        That made the images.
    data
        The slice.
    images : (frame, y, x) complex
        Finished images.
    effort
        What may be spent.
    finish
        What was done to the method's images after it, if anything.
    normality
        Whether to test the noise too; it is then measured with replicas, as that of probes is always normal.

    Raises
    ------
    TimeoutError
        If the time does not suffice for two samples, or for the five of a test.
    MethodError
        If the level of the noise is not known.
    """
    data, method, level = as_numpy(data), method.for_replicas(), noise_level(data)[0]
    if not level > 0:
        raise MethodError("the samples hold no noise that could be measured, so that none can be added to them")
    derivative = method.derivative(data) if isinstance(method, Differentiable) and not normality else None
    replicas = _Replicas(method, data, images, finish or _unchanged, keep=normality)
    response, words = (replicas, "noise replicas") if derivative is None else (derivative, "probes of the derivative")
    if derivative is not None and finish is not None:
        response = _finished(derivative, np.asarray(method(data).images), images, finish)
    found = noise_map(
        response if level == 1 else lambda noise: response(np.float32(level) * noise),
        data.kspace,
        data.mask,
        effort.samples,
        along=images,
        pool_frames=effort.pool_frames,
        seconds=effort.seconds,
    )
    how = f"{words}, {found.samples} samples, standard error {found.error:.1%}"
    return MeasuredNoise(found.std, how, replicas.normality(effort) if normality else None, level)


class _Replicas:
    """Change of the images when noise is added to the samples and the reconstruction is repeated."""

    def __init__(self, method: Method, data: SliceData, images: np.ndarray, finish: Finish, keep: bool) -> None:
        self.method, self.data, self.images, self.finish, self.keep = method, data, images, finish, keep
        self.kept: list[np.ndarray] = []

    def __call__(self, noise: np.ndarray) -> np.ndarray:
        made = self.finish(np.asarray(self.method(self.data.replica(self.data.kspace + noise)).images))
        if self.keep:
            self.kept.append(np.abs(made) - np.abs(self.images))
        found: np.ndarray = made - self.images
        return found

    def normality(self, effort: Effort) -> np.ndarray:
        """The test of the magnitude's changes (frame, y, x); see `MeasuredNoise`."""
        if len(self.kept) < LEAST_SAMPLES:
            raise TimeoutError(
                f"{effort.seconds:g} s sufficed for {len(self.kept)} replicas, a normality map needs {LEAST_SAMPLES}"
            )
        return lilliefors(np.stack(self.kept)) / LIMIT


def _finished(
    derivative: Callable[[Array], Array], unfinished: np.ndarray, images: np.ndarray, finish: Finish
) -> Callable[[Array], Array]:
    """Derivative of a method followed by the processing of its images, which may not be differentiable."""

    def response(noise: Array) -> Array:
        return finish(unfinished + derivative(noise)) - images

    return response


def _unchanged(images: np.ndarray) -> np.ndarray:
    return images
