"""The out-of-domain score: error of one scan's images, measured with held-back lines of that scan.

A few acquired lines are withheld, the method reconstructs without them, and what it predicts there is compared with
what was measured. Where a method meets data unlike those it was made for, its predictions are wrong, whatever
differs: mask, contrast, motion, coil maps or noise. The idea is cross-validation, as networks that learn from a scan
itself use it to stop in time (Yaman et al., Zero-shot self-supervised learning for MRI reconstruction, ICLR 2022).

The score estimates ``||image - truth|| / ||image||``. With e(k) the relative energy of the prediction's error at lines
held back at distance k from the centre, after the noise of the measurement was subtracted:

    score^2 = [ sum over missing lines of e(k) P(k)
              + sum over acquired lines of min(|A x - y|^2 - noise + noise / coils, e(k) P(k)) ] / |P|^2

P is the predicted k-space. An acquired line errs by its disagreement with the measurement and by the noise that its
combination over the coils keeps; but a line that was used errs no more than one that was held back, so that a method
that removes noise is not blamed for the noise it removed. Missing lines farther out than any held-back line were tested
by nothing: there the error is taken to be the whole signal, as the measured lines' decay extrapolates it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from onebreath.errors import MethodError
from onebreath.methods.base import Reconstruction, SliceData
from onebreath.methods.device import as_numpy
from onebreath.methods.known_noise import noise_level
from onebreath.mri.fourier import fft2c, fftc, ifftc
from onebreath.mri.sampling import describe, distance_bands

SHARE = 0.08
"""Share of the acquired lines of each frame that is held back."""
WIDTH = 64
"""Columns about the middle of the readout that are reconstructed for the score, to save time."""
FEWEST_LINES = 6
"""Fewest acquired lines of a frame from which lines are held back."""
GOLDEN = 0.6180339887
"""Golden ratio: the shift of the held-back lines from frame to frame, in steps between them."""
BANDS = 7
"""Bands of distance from the k-space centre in which errors are averaged."""


@dataclass(frozen=True)
class Score:
    """The score and its parts, each relative to the energy of the image.

    Attributes
    ----------
    value
        Estimated ``||image - truth|| / ||image||``.
    missing, acquired
        Its parts: error of the lines that were not acquired, and of those that were.
    lines
        Number of held-back lines, in all frames.
    """

    value: float
    missing: float
    acquired: float
    lines: int


def domain_score(method: Callable[[SliceData], Reconstruction], data: SliceData) -> Score:
    """Measure the out-of-domain score of a method on a slice.

    Parameters
    ----------
    method
        What makes images of a slice; it is called once, on fewer lines and columns.
    data
        The slice; its first map set is used.

    Raises
    ------
    MethodError
        If there are no coil maps, or too few lines to keep any back.
    """
    if data.maps is None:
        raise MethodError("the out-of-domain score needs coil maps; let the calibrate gadget run before it")
    level = noise_level(data)[0]
    data = middle_columns(as_numpy(data))
    kspace, maps = data.kspace, np.asarray(data.maps)[0]
    frames, coils, ny, nx = kspace.shape
    sampled = np.broadcast_to(data.mask, (frames, ny, nx))
    acquired: np.ndarray = np.any(sampled, axis=2)
    held = held_out(acquired, data.sampling.centre)
    images = np.asarray(method(without(data, held)).images)
    predicted = fft2c(images[:, None] * maps)
    error = (np.abs(np.where(sampled[:, None], predicted - kspace, 0)) ** 2).sum(axis=(1, 3))
    noise = 2 * level**2 * coils * sampled.sum(axis=2)
    energy = (np.abs(predicted) ** 2).sum(axis=(1, 3))
    excess = error - noise
    bands = _Bands.of(excess, energy, data.sampling.centre, held)
    distance = np.broadcast_to(np.abs(np.arange(ny) - data.sampling.centre), (frames, ny))
    missing = bands.predicted(~acquired).sum() + _untested(energy, distance, held, acquired)
    # The noise of all acquired lines reaches the image, those held back here included; of that of all coils a unit-norm
    # combination keeps the noise of one.
    measured = np.maximum(bands.sums(excess * (acquired & ~held)), 0) + bands.sums(noise * acquired) / coils
    at_acquired = np.minimum(measured, bands.predicted(acquired)).sum()
    whole = max(float(energy.sum()), np.finfo(np.float32).tiny)
    first, second = (float(np.sqrt(part / whole)) for part in (missing, at_acquired))
    return Score(float(np.hypot(first, second)), first, second, int(held.sum()))


def middle_columns(data: SliceData, width: int = WIDTH) -> SliceData:
    """Return the slice's columns about the middle of the readout.

    The lines of a Cartesian scan are fully sampled along the readout, so that any part of it is a scan of its own;
    where the mask depends on x the slice is returned as it is.
    """
    fixed = bool((data.mask == data.mask[:, :, :1]).all())
    if data.kspace.shape[3] <= width or not fixed or data.maps is None:
        return data
    return part_of(replace(data, acs=None, acs_first=0), len(data.kspace), width)


def part_of(data: SliceData, frames: int, columns: int) -> SliceData:
    """Return the first frames and the columns about the middle of the readout, with their calibration lines.

    Where the mask depends on x all columns stay.
    """
    data = as_numpy(data)
    nx = data.kspace.shape[3]
    kspace, mask, acs, maps = data.kspace[:frames], data.mask[:frames], data.acs, data.maps
    if columns < nx and bool((mask == mask[:, :, :1]).all()):
        middle = slice((nx - columns) // 2, (nx - columns) // 2 + columns)
        mask, maps = mask[:, :, :1], None if maps is None else maps[..., middle]
        kspace, acs = (
            None if one is None else np.asarray(fftc(ifftc(one, -1)[..., middle], -1), np.complex64)
            for one in (kspace, acs)
        )
    sampling = describe(mask, data.sampling.centre, acceleration=data.sampling.acceleration)
    return SliceData(kspace, mask, acs, data.acs_first, maps, sampling, data.whitened)


def held_out(acquired: np.ndarray, centre: int) -> np.ndarray:
    """Choose the lines to hold back, (frame, y) bool: spread over k-space, different in every frame, never the centre.

    The choice depends on the mask alone, so that the same scan has the same score.

    Raises
    ------
    MethodError
        If no frame has enough lines.
    """
    chosen = np.zeros_like(acquired)
    for frame, lines in enumerate(acquired):
        rows = np.flatnonzero(lines)
        if len(rows) < FEWEST_LINES:
            continue
        candidates = rows[np.abs(rows - centre) > 1]
        count = max(1, round(SHARE * len(rows)))
        wanted = rows[0] + (rows[-1] - rows[0]) * (((np.arange(count) + frame * GOLDEN) / count) % 1)
        chosen[frame, candidates[np.abs(candidates[None] - wanted[:, None]).argmin(axis=1)]] = True
    if not chosen.any():
        raise MethodError(f"the out-of-domain score needs a frame with {FEWEST_LINES} lines or more to keep one back")
    return chosen


def without(data: SliceData, held: np.ndarray) -> SliceData:
    """Return the slice without the held-back lines, (frame, y) bool."""
    frames, ny = held.shape
    mask = np.broadcast_to(data.mask, (frames, ny, data.mask.shape[2])) & ~held[:, :, None]
    kspace = np.where(mask[:, None], data.kspace, np.complex64(0))
    return replace(data, kspace=kspace, mask=mask, sampling=describe(mask, data.sampling.centre), start=None)


@dataclass(frozen=True)
class _Bands:
    """Lines (frame, y) by their distance from the k-space centre, and how wrong predictions are there.

    Attributes
    ----------
    number
        Band of each line (frame, y).
    energy
        Predicted energy of each line (frame, y).
    ratio
        Energy of the error relative to the predicted one (band,); interpolated where no line was held back.
    """

    number: np.ndarray
    energy: np.ndarray
    ratio: np.ndarray

    @classmethod
    def of(cls, excess: np.ndarray, energy: np.ndarray, centre: int, held: np.ndarray) -> _Bands:
        """Compare the error beyond the noise with the predicted energy (frame, y) at the held-back lines."""
        number = np.broadcast_to(distance_bands(held.shape[1], centre, BANDS), held.shape)
        wrong, whole, lines = (np.bincount(number.ravel(), (one * held).ravel()) for one in (excess, energy, held))
        tested = np.flatnonzero(lines)
        ratio = np.maximum(wrong[tested], 0) / np.maximum(whole[tested], 1e-30)
        return cls(number, energy, np.interp(np.arange(len(lines)), tested, ratio))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of the values (frame, y) of each band (band,)."""
        return np.asarray(np.bincount(self.number.ravel(), values.ravel(), len(self.ratio)))

    def predicted(self, lines: np.ndarray) -> np.ndarray:
        """Error (band,) of these lines, (frame, y) bool, if they were as wrong as those held back."""
        return np.asarray(self.ratio * self.sums(self.energy * lines))


def _untested(energy: np.ndarray, distance: np.ndarray, held: np.ndarray, acquired: np.ndarray) -> float:
    """Extrapolate the signal of lines farther out than all held-back ones, by the power law of the acquired lines."""
    farthest = distance[acquired].max()
    beyond = ~acquired & (distance > max(farthest, distance[held].max()))
    near = acquired & (distance > 2) & (energy > 0)
    if not beyond.any() or near.sum() < 2 or np.ptp(distance[near]) == 0:
        return 0.0
    slope, level = np.polyfit(np.log(distance[near]), np.log(energy[near]), 1)
    return float(np.exp(level + min(slope, 0.0) * np.log(distance[beyond])).sum())
