"""Tests of candidates on a part of a slice.

Held-back lines show the error at lines that were not acquired. For lines that the candidates see the noise is split in
two: they get the data with a little more noise, and are judged by data whose noise is independent of it. With n drawn
as the noise of the data is, y + a n and y - n / a are independent; so the squared difference of a prediction from the
former to the latter, less the known noise, is an unbiased estimate of its error, whatever the method.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from onebreath.errors import MethodError, OnebreathError
from onebreath.methods.base import Method, SliceData
from onebreath.methods.choice.held_back import full_centre, held_back, signal_of, weights_of
from onebreath.methods.choice.stacked import begins, weighted_mean
from onebreath.methods.known_noise import noise_level
from onebreath.methods.score import part_of, without
from onebreath.mri import Array
from onebreath.mri.fourier import fft2c

MORE = 0.5
"""Standard deviation of the noise that is added to the lines that the candidates see, over that of the data."""
NOISIER = math.sqrt(1 + MORE**2)
LIKELY = (0.45, 1.25)
"""`LineTrial.likely` at lines between the others: patient SCD0000301 and a phantom, SNR 8 to 300, R = 2 to 24. The true
error is mostly below the estimate, as noise across the signal does not count in a magnitude, and held-back lines leave
wider gaps than those that are missing."""
MAPS = 0.0318
"""Error of cine images, relative to the image, that may come of coil maps and of signal outside of what they cover: no
line shows it, as all candidates have it, and it does not become less with the noise (R = 2, SNR 300: 0.02 to 0.06).
With it, `NEVER` and `FARTHER` 94 % of 150 scans of SCD0000201, SCD0000301 and a phantom are in the interval."""
NEVER = 0.06
"""Part of the signal that may be lost in lines that no frame has, besides: those that are held back are of lines that
some frame has, and where there is little noise these are predicted far better (the same patients and phantoms)."""


@dataclass(frozen=True)
class Tested:
    """One candidate: error energies at each held-back line (frame, y) and of the whole image, the image's energy, its
    prediction less the measurement (frame, coil, y, x), and what else its trial knows of each line. Not `complete` if
    the test ended early, as the candidate is behind: there are no predictions then.
    """

    at_held: np.ndarray
    total: float
    energy: float
    rest: np.ndarray
    by_line: tuple[np.ndarray, ...] = ()
    complete: bool = True


Behind: TypeAlias = Callable[[np.ndarray, float], Tested | None]
"""What a part of a test (predictions less the measurement, energy of the images) tells of a candidate that is behind;
None if it may not be."""


@dataclass(frozen=True)
class Made:
    """Images that a method made of some data."""

    method: Method
    given: SliceData
    images: np.ndarray


@dataclass(frozen=True)
class LineTrial(ABC):
    """Test of candidates by what they predict of lines.

    Attributes
    ----------
    made
        What was reconstructed so far, by those that other candidates may begin with.
    """

    made: list[Made] = field(default_factory=list, init=False, compare=False)

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of held-back lines."""

    @property
    @abstractmethod
    def likely(self) -> tuple[float, float]:
        """Parts of the estimated error between which that of the magnitude was in nine of ten scans."""

    def run(self, method: Method, behind: Behind | None = None) -> Tested | str:
        """Test a method, in full unless it is seen to be behind; return the reason if it could not be tested."""
        try:
            return self._tested(method.for_replicas(), behind)
        except OnebreathError as reason:
            return str(reason)
        except MemoryError:
            return "memory ran out"

    def images(self, method: Method, given: SliceData) -> np.ndarray:
        """Reconstruct data, from another candidate's images of the same data if the method begins with such."""
        known = (one.images for one in self.made if one.given is given and begins(method, one.method))
        images = finite(method.trial(replace(given, start=next(known, None))).images)
        if not method.learned:
            self.made.append(Made(method, given, images))
        return images

    @abstractmethod
    def _tested(self, method: Method, behind: Behind | None = None) -> Tested:
        """Let a method reconstruct what the trial gives it, and judge that; the test may end where it is behind."""

    def mean(self, tested: Sequence[Tested], weights: Sequence[float]) -> Tested:
        """Return what testing the weighted mean of candidates' images would give; the weights have the sum 1."""
        rest = weighted_mean([one.rest for one in tested], weights)
        return self._judged(np.asarray(rest), max(one.energy for one in tested))

    @abstractmethod
    def _judged(self, rest: np.ndarray, energy: float) -> Tested:
        """Judge predictions less the measurement, of images of some energy."""

    def inner_products(self, tested: Sequence[Tested]) -> np.ndarray:
        """Inner products of candidates' errors (candidate, candidate); their diagonal is the energy of each error."""
        found = np.empty((len(tested), len(tested)))
        for i, one in enumerate(tested):
            for j, other in enumerate(tested[: i + 1]):
                found[i, j] = found[j, i] = self._product(one.rest, other.rest)
        return found

    @abstractmethod
    def _product(self, one: np.ndarray, other: np.ndarray) -> float:
        """Inner product of two candidates' errors in the whole image."""

    @abstractmethod
    def beyond_maps(self, tested: Sequence[Tested]) -> float:
        """Energy of the error that may be what the coil maps do not explain of the lines, not an error of images."""

    @abstractmethod
    def unshown(self, energy: float) -> float:
        """Energy of the error that held-back lines may not show, however little noise there is.

        Parameters
        ----------
        energy
            Of the images.
        """

    @property
    @abstractmethod
    def centre_is_known(self) -> bool:
        """Whether all frames have the centre of k-space, where most of the energy is."""

    @property
    @abstractmethod
    def noise_through(self) -> float:
        """Noise energy of the acquired lines in the image: a unit-norm combination keeps that of one coil."""

    @abstractmethod
    def standard_error(self, one: Tested, other: Tested | None) -> float:
        """Standard error of one candidate's error, or of the difference of two, from the scatter of lines."""


@dataclass(frozen=True)
class Trial(LineTrial):
    """The tested part of a slice, its held-back lines (frame, y), and the number of lines that each represents.

    `given` is what the methods get, `judge` what they are judged by where they saw a line, both in units of the data.
    `never` are the lines (y,) that the scan has in no frame.
    """

    data: SliceData
    held: np.ndarray
    weight: np.ndarray
    noise: float
    given: SliceData
    judge: np.ndarray
    never: np.ndarray

    @property
    def count(self) -> int:
        """Number of held-back lines, in all frames."""
        return int(self.held.sum())

    @property
    def likely(self) -> tuple[float, float]:
        """See `LIKELY`."""
        return LIKELY

    @classmethod
    def of(cls, data: SliceData, frames: int, columns: int) -> Trial:
        """Make the trial on the first frames and the middle columns; raises MethodError if they cannot be tested."""
        if data.maps is None:
            raise MethodError("held-back lines cannot be predicted without coil maps")
        part = part_of(data, frames, columns)
        frames, _, ny, _ = part.kspace.shape
        acquired = np.any(np.broadcast_to(part.mask, (frames, ny, part.mask.shape[2])), axis=2)
        held = held_back(acquired, part.sampling.centre)
        noise = noise_level(data)[0]
        rest = without(part, held)
        added = noise * drawn(rest.kspace.shape) * np.broadcast_to(rest.mask, (frames, ny, rest.mask.shape[2]))[:, None]
        given = replace(rest, kspace=(rest.kspace + MORE * added) / np.float32(NOISIER))
        judge = part.kspace - added / np.float32(MORE)
        weight = weights_of(held, acquired, part.sampling.centre, data.sampling.acquired)
        low, high = data.sampling.acquired
        rows = np.arange(ny)
        never = ~np.asarray(data.mask).any(axis=(0, 2)) & (rows >= low) & (rows <= high)
        return cls(part, held, weight, noise, given, judge, never)

    def _tested(self, method: Method, behind: Behind | None = None) -> Tested:
        images = self.images(method, self.given) * np.float32(NOISIER)
        mask = np.broadcast_to(self.data.mask, (len(images), *images.shape[1:]))
        used = np.any(mask, axis=2) & ~self.held
        predicted = fft2c(images[:, None] * np.asarray(self.data.maps)[0])
        measured = np.where(used[:, None, :, None], self.judge, self.data.kspace)
        rest = np.where(mask[:, None], predicted - measured, 0)
        return self._judged(rest, float((np.abs(images) ** 2).sum()))

    def _judged(self, rest: np.ndarray, energy: float) -> Tested:
        mask = np.broadcast_to(self.data.mask, (len(rest), *rest.shape[2:]))
        used = np.any(mask, axis=2) & ~self.held
        variance = 2 * self.noise**2 * np.where(used, 1 + MORE**-2, 1)
        excess = (np.abs(rest) ** 2).sum(axis=(1, 3)) - variance * rest.shape[1] * mask.sum(axis=2)
        return Tested(np.where(self.held, excess, 0), self._whole(excess), energy, rest)

    def _whole(self, energies: np.ndarray) -> float:
        """Energy in the whole image from energies of lines (frame, y)."""
        acquired = np.any(np.broadcast_to(self.data.mask, (*energies.shape, self.data.kspace.shape[3])), axis=2)
        used = acquired & ~self.held
        held = float((self.weight * energies)[self.held].sum())
        return held + float(energies[used].sum()) * float(acquired.sum() / used.sum())

    def inner_products(self, tested: Sequence[Tested]) -> np.ndarray:
        """As in any trial; the noise of the measurement is the same in all products."""
        found = super().inner_products(tested)
        return np.asarray(found - (found[0, 0] - tested[0].total))

    def _product(self, one: np.ndarray, other: np.ndarray) -> float:
        return self._whole(np.real(np.conj(one) * other).sum(axis=(1, 3)))

    def beyond_maps(self, tested: Sequence[Tested]) -> float:
        """Energy of the error that may be what the coil maps do not explain of the lines, and not an error of images.

        It is what all candidates' errors at lines that they saw exceed the noise that a unit-norm combination keeps.
        """
        return max(
            min(one.total - float((self.weight * one.at_held).sum()) for one in tested) - self.noise_through, 0.0
        )

    def unshown(self, energy: float) -> float:
        """Energy of the error that held-back lines may not show, of images of some energy; see `NEVER` and `MAPS`."""
        kspace = self.data.kspace
        mask = np.broadcast_to(self.data.mask, (len(kspace), *kspace.shape[2:]))
        energies = (np.abs(kspace) ** 2).sum(axis=(1, 3)) - 2 * self.noise**2 * kspace.shape[1] * mask.sum(axis=2)
        acquired = np.asarray(mask.any(axis=2))
        never = len(kspace) * signal_of(self.never, energies, acquired, self.data.sampling.centre)
        return NEVER * never + MAPS**2 * energy

    @property
    def centre_is_known(self) -> bool:
        """Return whether all frames have the centre of k-space, where most of the energy is."""
        return bool(full_centre(self.data.mask.any(axis=2), self.data.sampling.centre).any())

    @property
    def noise_through(self) -> float:
        """Noise energy of the acquired lines in the image: a unit-norm combination keeps that of one coil."""
        mask = np.broadcast_to(self.data.mask, (len(self.held), self.held.shape[1], self.data.kspace.shape[3]))
        return 2 * self.noise**2 * float(mask.sum())

    def standard_error(self, one: Tested, other: Tested | None) -> float:
        """Standard error of one candidate's error, or of the difference of two, from the scatter of lines."""
        values = one.at_held - (0 if other is None else other.at_held)
        variance = 0.0
        for weight in np.unique(self.weight[self.held]):
            these = values[self.held & (self.weight == weight)]
            spread = float(np.var(these, ddof=1)) if len(these) > 1 else float(np.mean(values[self.held] ** 2))
            variance += weight**2 * len(these) * spread
        return math.sqrt(variance)


def finite(images: Array) -> np.ndarray:
    """Return images; raises MethodError if pixels are NaN or infinite."""
    found = np.asarray(images)
    if not np.isfinite(found).all():
        raise MethodError("it made pixels that are NaN or infinite")
    return found


def drawn(shape: tuple[int, ...], seed: int | tuple[int, int] = 0) -> np.ndarray:
    """Draw complex noise of unit standard deviation in both parts, always the same for reproducible choices."""
    parts = np.random.default_rng(seed).standard_normal((2, *shape), dtype=np.float32)
    return np.asarray(parts[0] + 1j * parts[1], np.complex64)
