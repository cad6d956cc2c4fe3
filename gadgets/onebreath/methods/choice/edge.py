"""Tests of candidates on the edge of the calibration lines, for scans whose other lines are a lattice in all frames.

Methods that learn from calibration lines how lines of a lattice follow from each other (GRAPPA, RAKI) can be tested on
no line of the lattice: without it there is a gap twice as wide as those of the scan, and they would have to do
something else; others would look worse, but not all alike. So the outer calibration lines between those of the lattice
are held back. What remains is the same scan with fewer calibration lines: every candidate reconstructs it as it does
the scan itself, the gaps are as wide as those of the missing lines, and no kernel has seen the held-back lines. (Coil
maps have, but all candidates use the same.)

Every candidate gets the data twice, with a little noise n1 and n2 added, `MORE` times that of the data. With its
predictions f1 and f2 and the measurement y, the following are unbiased, if so little noise has a linear effect:

- *Error at held-back lines*: Re<f1 - y, f2 - y> less the noise of y. The added noise cancels out, as n1 and n2 are
  independent.
- *Noise* in the prediction of any line, missing or not: ||f1 - f2||^2 / (2 MORE^2). The rest of an error is signal that
  was lost.
- *Error at lines that are seen*, as data or for calibration: Re<f1 - y, f2 - y> - noise + 2 <f1 - f2, n1 - n2> / (2
  MORE), Stein's estimate with the divergence from differences: C. M. Stein, Ann Stat 9:1135 (1981); S. Ramani, T. Blu,
  M. Unser, IEEE Trans Image Process 17:1540 (2008).

A missing line is predicted with the noise measured for it, and the part of its signal is lost that is lost of the
held-back lines; its signal is that of the acquired lines beside it. The error of a magnitude
counts lost signal, and half of the noise: the half in phase with the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onebreath.methods.base import Method, SliceData
from onebreath.methods.choice.lattice_edge import Lines, lines_of
from onebreath.methods.choice.trial import MAPS, Behind, LineTrial, Tested, drawn
from onebreath.methods.known_noise import noise_level
from onebreath.methods.score import part_of
from onebreath.mri.fourier import fft2c
from onebreath.mri.sampling import describe

MORE = 0.25
"""Standard deviation of the added noise over that of the data."""
DRAWS = 2
_IN_PHASE = 0.5
"""Part of the noise that changes a magnitude."""
LIKELY = (0.8, 1.3)
"""`LineTrial.likely` of static scans, where the estimate is that of the magnitude's error (patients SCD0000201 and
SCD0000301, phantoms). The lower end counts from the estimate without what the coil maps do not explain of the lines: at
high SNR that is most of it, and may or may not be an error of the images."""
LIKELY_CINE, FARTHER = (0.8, 1.25), 0.01
"""The same for cine, and the part of the missing lines' signal that may be lost besides, times R - 1. Lines beside the
calibration block are predicted better than those in the middle of nowhere, the more so the wider the gaps; and methods
with thresholds in units of the noise lose more of the weak signal of outer lines. Where there is little noise, nothing
else matters (the same patients and phantoms, R = 2 to 24)."""
STATIC_FRAMES = 3
"""Scans of so few frames are static: methods do not take lines from other frames."""
_NEAREST = 2
"""Lines of the lattice whose mean signal stands for that of a missing line between them."""


@dataclass(frozen=True)
class Part:
    """The tested part of one slice.

    Attributes
    ----------
    given
        For each draw of noise the data with the calibration lines as imaging lines, and without.
    measured : (frame, coil, y, x)
        The lines.
    added : (draw, frame, coil, y, x)
        Noise as strong as theirs, of which `MORE` is added.
    lines
        What each line is.
    noise
        Energy of the noise in a line.
    """

    given: tuple[tuple[SliceData, SliceData], ...]
    measured: NDArray[np.complex64]
    added: NDArray[np.complex64]
    lines: Lines
    noise: float

    @classmethod
    def of(cls, data: SliceData, frames: int, columns: int, seed: int) -> Part:
        """Take the first frames and the middle columns of a slice."""
        part = part_of(data, frames, columns)
        lines, level = lines_of(part), noise_level(data)[0]
        kspace = np.asarray(part.kspace, np.complex64)
        acquired = np.broadcast_to(part.mask, (len(kspace), *part.mask.shape[1:]))[:, None]
        added = np.stack([level * drawn(kspace.shape, (seed, draw)) * acquired for draw in range(DRAWS)])
        given = tuple(_given(part, kspace + np.float32(MORE) * one, lines) for one in added)
        return cls(given, kspace, added, lines, 2 * level**2 * kspace[:, :, 0].size)

    @property
    def signal(self) -> NDArray[np.float64]:
        """Energy of the signal in each line; of missing ones that of the acquired ones beside them."""
        found = (np.abs(self.measured) ** 2).sum(axis=(0, 1, 3), dtype=np.float64) - self.noise
        acquired = np.flatnonzero(self.lines.lattice)
        for row in np.flatnonzero(self.lines.missing):
            nearest = acquired[np.argsort(np.abs(acquired - row), kind="stable")[:_NEAREST]]
            found[row] = max(float(found[nearest].mean()), 0.0)
        return np.asarray(found)


def _given(part: SliceData, noisy: NDArray[np.complex64], lines: Lines) -> tuple[SliceData, SliceData]:
    """Return the data without the held-back lines, and of these the lattice alone."""
    first, last = lines.left
    acs = noisy.mean(axis=0)[:, first : last + 1]
    found = []
    for rows in ((lines.lattice | lines.block) & ~lines.held, lines.lattice):
        mask = np.broadcast_to(part.mask, (len(noisy), *part.mask.shape[1:])) & rows[:, None]
        kspace = np.where(mask[:, None], noisy, np.complex64(0))
        sampling = describe(mask, part.sampling.centre, acceleration=part.sampling.acceleration)
        found.append(replace(part, kspace=kspace, mask=mask, sampling=sampling, acs=acs, acs_first=first))
    return found[0], found[1]


@dataclass(frozen=True)
class EdgeTrial(LineTrial):
    """The tested parts of some slices; see the module's text."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, slices: Sequence[SliceData], frames: int, columns: int) -> EdgeTrial:
        """Make the trial on parts of slices; raises MethodError if they cannot be tested."""
        return cls(tuple(Part.of(data, frames, columns, seed) for seed, data in enumerate(slices)))

    @property
    def count(self) -> int:
        """Number of held-back lines, of all slices."""
        return int(self.held.sum())

    @property
    def likely(self) -> tuple[float, float]:
        """See `LIKELY` and `LIKELY_CINE`."""
        return LIKELY if len(self.parts[0].measured) <= STATIC_FRAMES else LIKELY_CINE

    def _tested(self, method: Method, behind: Behind | None = None) -> Tested:
        first, energy = self._draw(method, 0)
        if behind is not None and (found := behind(first, energy)) is not None:
            return found
        others = [self._draw(method, draw) for draw in range(1, DRAWS)]
        rest = np.stack([first, *(one for one, _ in others)], axis=1)  # (slice, draw, ...)
        energy = (energy + sum(one for _, one in others)) / DRAWS
        return self._judged(rest.reshape(-1, *rest.shape[2:]), energy)

    def _draw(self, method: Method, draw: int) -> tuple[np.ndarray, float]:
        """Predict the lines from one draw; return what is left (slice, frame, coil, y, x), and the images' energy."""
        rest, energy = [], 0.0
        for part in self.parts:
            merged, lattice = part.given[draw]
            images = self.images(method, merged if method.acs_as_data else lattice)
            rest.append(fft2c(images[:, None] * np.asarray(merged.maps)[0]) - part.measured)
            energy += float((np.abs(images) ** 2).sum())
        return np.stack(rest), energy

    def _judged(self, rest: np.ndarray, energy: float) -> Tested:
        error, passed = self._products(rest, rest)
        held = np.where(self.held, error - passed, 0)
        return Tested(held, self.whole(error, passed), energy, rest, (error, passed))

    def _product(self, one: np.ndarray, other: np.ndarray) -> float:
        return self.whole(*self._products(one, other))

    def _products(self, one: np.ndarray, other: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Products of two candidates' errors, and of the noise in their predictions, at each line of each slice."""
        errors, noises = [], []
        for number, part in enumerate(self.parts):
            a, b = (which[DRAWS * number : DRAWS * (number + 1)] for which in (one, other))
            error = (dot(a[0], b[1]) + dot(a[1], b[0])) / 2 - part.noise
            between, added = (a[0] - a[1], b[0] - b[1]), part.added[0] - part.added[1]
            divergence = (dot(between[0], added) + dot(between[1], added)) / (2 * MORE)
            errors.append(np.where(part.lines.held, error, error + divergence))
            noises.append(dot(*between) / (2 * MORE**2))
        return np.concatenate(errors), np.concatenate(noises)

    def whole(self, error: NDArray[np.float64], passed: NDArray[np.float64]) -> float:
        """Energy in the whole images from the products at lines."""
        counted = error - (1 - _IN_PHASE) * passed
        inner = self._where("inner")
        block = float(counted[inner].mean()) * int((inner | self.held).sum())
        # No more is lost than there is, which matters where the held-back lines hold little but noise.
        lost = float(np.clip((error - passed)[self.held].sum() * self._represents, -self._unseen, self._unseen))
        missing = _IN_PHASE * float(passed[self._where("missing")].sum()) + lost
        seen = float(np.sum(counted[self._where("lattice")]))
        return float(seen + block + missing)

    def _where(self, what: str) -> NDArray[np.bool_]:
        return np.concatenate([getattr(part.lines, what) for part in self.parts])

    @cached_property
    def kinds(self) -> tuple[NDArray[np.bool_], ...]:
        """Lines that are alike: of the block and not of the lattice, of the lattice, missing."""
        return self.held | self._where("inner"), self._where("lattice"), self._where("missing")

    @cached_property
    def held(self) -> NDArray[np.bool_]:
        """The held-back lines, of all slices."""
        return self._where("held")

    @cached_property
    def _signal(self) -> NDArray[np.float64]:
        return np.concatenate([part.signal for part in self.parts])

    @cached_property
    def _unseen(self) -> float:
        """Signal in missing lines."""
        return float(self._signal[self._where("missing")].sum())

    @cached_property
    def _represents(self) -> float:
        """Signal in missing lines over that in held-back ones; they are farther out and have no more than these."""
        missing = self._where("missing")
        most = float(missing.sum() / self.held.sum())
        held = float(self._signal[self.held].sum())
        return min(self._unseen / held, most) if held > 0 else most

    def beyond_maps(self, tested: Sequence[Tested]) -> float:
        """Energy of the error that may be what the coil maps do not explain of the lines, and not an error of images.

        It is what all candidates lose of the signal of lines that they saw, in all lines in proportion to their signal.
        """
        lattice, signal = self._where("lattice"), self._signal
        lost = min(float((error - passed)[lattice].sum()) for error, passed in (one.by_line for one in tested))
        seen, whole = float(signal[lattice].sum()), float(np.maximum(signal, 0).sum())
        return float(max(lost, 0.0) * max(whole / seen, 1.0)) if seen > 0 else 0.0

    def unshown(self, energy: float) -> float:
        """Energy of the error that held-back lines may not show, of images of some energy; see `FARTHER`."""
        if len(self.parts[0].measured) <= STATIC_FRAMES:
            return 0.0
        gaps = self.parts[0].given[0][0].sampling.acceleration - 1
        return FARTHER * gaps * self._unseen + MAPS**2 * energy

    @property
    def centre_is_known(self) -> bool:
        """Return whether all frames have the centre of k-space: they have calibration lines there."""
        return True

    @property
    def noise_through(self) -> float:
        """Noise energy of the acquired lines in the image: a unit-norm combination keeps that of one coil."""
        acquired = [int((part.lines.lattice | part.lines.block).sum()) for part in self.parts]
        energy = [n * part.noise / part.measured.shape[1] for n, part in zip(acquired, self.parts, strict=True)]
        return float(_IN_PHASE * sum(energy))

    def standard_error(self, one: Tested, other: Tested | None) -> float:
        """Standard error of one candidate's error, or of the difference of two, from the scatter of lines."""
        error, passed = one.by_line
        if other is not None:
            error, passed = error - other.by_line[0], passed - other.by_line[1]
        lost, signal = (error - passed)[self.held], self._signal[self.held]
        count = len(lost)
        even = lost - signal * (lost.sum() / signal.sum() if signal.sum() > 0 else 0)
        variance = (self._represents**2) * (count / (count - 1) * (even**2).sum() if count > 1 else (lost**2).sum())
        variance = min(float(variance), self._unseen**2)
        counted, inner = error - (1 - _IN_PHASE) * passed, self._where("inner")
        # Neighbouring lines have nearly the same error, so that their differences show how well it is known.
        variance += float((np.diff(counted[self._where("lattice")]) ** 2).sum()) / 2
        variance += float(np.var(counted[inner])) / inner.sum() * int((inner | self.held).sum()) ** 2
        return math.sqrt(variance)


def dot(a: np.ndarray, b: np.ndarray) -> NDArray[np.float64]:
    """Real part of the inner product (y,) of (frame, coil, y, x)."""
    return np.asarray(np.real(np.conj(a) * b).sum(axis=(0, 1, 3), dtype=np.float64))
