"""How like the slices that a choice was tested on another slice of the scan is, and what is known of its error.

A choice is made on the first slices and holds for all. Its interval does so only where a slice is the same experiment:
as many lines, and noise that rises no more than the signal does. A slice with less signal has the same noise in it, and
the same error then is a larger part of its image; one of lost signal stays the same part. So both ends of the interval
are extended to what either would give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onebreath.methods.base import SliceData
from onebreath.methods.known_noise import noise_level

UNLIKE = "the tested one"
"""In every text that says how a slice differs."""
_LINES = 0.05
"""Part by which the number of acquired samples may differ."""
_NOISE = 1.5
"""Factor by which the faintest part of k-space may have more or less energy (its root), besides that of the signal."""
_SIGNAL = 3.0
"""Factor by which the signal (its root mean square) may be weaker than that of the tested slices."""


@dataclass(frozen=True)
class Likeness:
    """What is compared of slices.

    Attributes
    ----------
    samples
        Number of acquired samples of a coil.
    signal
        Root mean square of the acquired samples without the noise.
    floor
        Root mean square of the faintest part of k-space.
    """

    samples: float
    signal: float
    floor: float

    @classmethod
    def of(cls, slices: Sequence[SliceData]) -> Likeness:
        """Describe some slices by their means."""
        found = np.array([_described(data) for data in slices]).mean(axis=0)
        return cls(*map(float, found))

    def differs(self, other: Likeness) -> str:
        """Return how another slice differs so that the interval of these says nothing of it; empty if it does not."""
        if abs(other.samples - self.samples) > _LINES * self.samples:
            return f"this slice has {other.samples / max(self.samples, 1):.2f} times as many samples as {UNLIKE}"
        if other.signal * _SIGNAL < self.signal:
            return f"this slice has {other.signal / self.signal:.2f} times the signal of {UNLIKE}"
        louder, noisier = other.signal / self.signal, other.floor / max(self.floor, 1e-30)
        if not min(1.0, louder) / _NOISE <= noisier <= max(1.0, louder) * _NOISE:
            return f"the faintest part of this slice's k-space is {noisier:.2f} times that of {UNLIKE}"
        return ""

    def extended(self, interval: tuple[float, float], other: Likeness) -> tuple[float, float]:
        """Return the interval for another slice, with more or less signal than these."""
        ratio = self.signal / max(other.signal, 1e-30)
        return interval[0] * min(1.0, ratio), interval[1] * max(1.0, ratio)


def _described(data: SliceData) -> tuple[float, float, float]:
    kspace = np.asarray(data.kspace)
    mask = np.broadcast_to(np.asarray(data.mask), (len(kspace), *kspace.shape[2:]))
    samples, coils = float(mask.sum()), kspace.shape[1]
    whole = float(np.vdot(kspace, kspace).real) / max(samples * coils, 1)
    noise = 2 * noise_level(data)[0] ** 2
    return samples, math.sqrt(max(whole - noise, noise / samples if samples else 1e-30, 1e-30)), data.noise_floor.level
