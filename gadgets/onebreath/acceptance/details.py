"""Test: the smallest contrast and size of a detail that a reconstruction keeps, learned against classical.

Discs are added to the object in the scan's own k-space, through its coil maps; what is left of them after the
reconstruction is measured by the mean over the disc less that of a ring around it. A detail survives if

- its signal is at least 5 times the noise of that mean (A. Rose, J Opt Soc Am 38:196 (1948)), with the noise from
  replicas, so that a network that takes noise away is credited with it; and
- at least half of the contrast is left, so that one which takes details away with the noise is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from onebreath.acceptance.limits import DetailLimits
from onebreath.acceptance.subject import Subject, Trial
from onebreath.errors import ScanError
from onebreath.evaluation.candidates import Candidate
from onebreath.methods.base import SliceData
from onebreath.mri.fourier import fft2c
from onebreath.mri.noise_map import white_noise
from onebreath.terminal import steps

TEST = "inserted details"
_RING = 2.0
"""Outer diameter of the ring, over that of the detail."""
_FINE = 8
"""Points along each side of a pixel by which its cover by a disc is counted."""
_HOMOGENEOUS = 0.25
"""Largest standard deviation of the image around a detail, over its mean."""


@dataclass(frozen=True)
class Site:
    """A detail's place: pixel (y, x), diameter in mm, and its disc and the weights that measure it, both (y, x)."""

    at: tuple[int, int]
    size_mm: float
    disc: NDArray[np.float32]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Kept:
    """What a method keeps of details of one size and contrast: part of the contrast, and signal over noise."""

    size_mm: float
    contrast: float
    retained: float
    rose: float

    def survives(self, limits: DetailLimits) -> bool:
        """Return whether it does; see the module's text."""
        return self.rose >= limits.rose and self.retained >= limits.retained


@dataclass(frozen=True)
class Series:
    """Everything that one method keeps in one trial."""

    label: str
    learned: bool
    trial: Trial
    kept: tuple[Kept, ...]

    def smallest(self, size_mm: float, limits: DetailLimits) -> float | None:
        """Return the contrast from which on all details survive, interpolated; None if the largest does not.

        Where all do, it is the smallest that was inserted.
        """
        kept = sorted((k for k in self.kept if k.size_mm == size_mm), key=lambda k: -k.contrast)
        if not kept or not kept[0].survives(limits):
            return None
        for above, below in pairwise(kept):
            if not below.survives(limits):
                return max(
                    _crossing(below.contrast, above.contrast, below.rose, above.rose, limits.rose),
                    _crossing(below.contrast, above.contrast, below.retained, above.retained, limits.retained),
                )
        return kept[-1].contrast


def _crossing(low: float, high: float, at_low: float, at_high: float, wanted: float) -> float:
    """Return the contrast at which a value reaches what is wanted, linear between two contrasts; `low` if it has."""
    if at_low >= wanted:
        return low
    return low + (high - low) * (wanted - at_low) / (at_high - at_low)


def sizes_of(subject: Subject, limits: DetailLimits) -> tuple[float, ...]:
    """Return the diameters in mm: the site's, or 2, 3 and 5 pixels."""
    pixel = max(subject.pixel_mm)
    return limits.sizes_mm or tuple(round(n * pixel, 1) for n in (2, 3, 5))


def disc_cover(
    shape: tuple[int, int], pixel_mm: tuple[float, float], at: tuple[int, int], diameter_mm: float
) -> NDArray[np.float32]:
    """Return the part of each pixel (y, x) that a disc covers."""
    fine = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    y = ((np.arange(shape[0])[:, None] + fine - at[0]) * pixel_mm[0]).ravel()
    x = ((np.arange(shape[1])[:, None] + fine - at[1]) * pixel_mm[1]).ravel()
    cover = (y[:, None] ** 2 + x[None] ** 2) < (diameter_mm / 2) ** 2
    return np.asarray(cover.reshape(shape[0], _FINE, shape[1], _FINE).mean(axis=(1, 3)), np.float32)


def choose_sites(subject: Subject, sizes: Sequence[float], count: int) -> list[Site]:
    """Choose places in the object that are as even as can be and do not touch each other; sizes take turns.

    Raises
    ------
    ScanError
        If there are fewer places than sizes.
    """
    image = np.abs(subject.combined).mean(axis=0)
    maps = np.any(np.asarray(subject.data.maps)[0] != 0, axis=0)
    largest = max(sizes) * _RING
    reach = tuple(int(np.ceil(largest / 2 / mm)) for mm in subject.pixel_mm)
    inside = (image > 0.4 * np.percentile(image, 95)) & maps
    rng = np.random.default_rng(0)
    candidates = np.argwhere(inside)
    rng.shuffle(candidates)
    chosen: list[tuple[int, int]] = []
    for y, x in candidates:
        window = (slice(y - reach[0], y + reach[0] + 1), slice(x - reach[1], x + reach[1] + 1))
        if min(y - reach[0], x - reach[1]) < 0 or not inside[window].size or not inside[window].all():
            continue
        if image[window].shape != (2 * reach[0] + 1, 2 * reach[1] + 1):
            continue
        if image[window].std() > _HOMOGENEOUS * image[window].mean():
            continue
        apart = [
            np.hypot((y - a) * subject.pixel_mm[0], (x - b) * subject.pixel_mm[1]) > 1.2 * largest for a, b in chosen
        ]
        if all(apart):
            chosen.append((int(y), int(x)))
        if len(chosen) == count:
            break
    if len(chosen) < len(sizes):
        raise ScanError(
            f"the object has {len(chosen)} even places for details of up to {max(sizes):g} mm; "
            f"{len(sizes)} are needed: name smaller sizes_mm in the limits"
        )
    return [_site(subject, at, sizes[n % len(sizes)]) for n, at in enumerate(chosen)]


def _site(subject: Subject, at: tuple[int, int], size: float) -> Site:
    shape = (subject.data.kspace.shape[2], subject.data.kspace.shape[3])
    disc = disc_cover(shape, subject.pixel_mm, at, size)
    ring = disc_cover(shape, subject.pixel_mm, at, _RING * size) - disc
    return Site(at, size, disc, disc / disc.sum() - ring / ring.sum())


def inserted(
    subject: Subject, data: SliceData, sites: Sequence[Site], contrast: float, every_other: bool
) -> tuple[SliceData, NDArray[np.float32]]:
    """Add details to a slice's samples and calibration lines.

    Returns
    -------
    data
        The slice with them.
    amplitude : (site,) real
        Signal of each, in the units of the images of `data`.
    """
    level = _level(subject, data)
    mean = np.abs(subject.combined).mean(axis=0) * level
    amplitude = np.array([contrast * float(mean[site.disc > 0.5].mean()) for site in sites], np.float32)
    picture = sum((a * site.disc for a, site in zip(amplitude, sites, strict=True)), np.zeros_like(sites[0].disc))
    kspace = fft2c(np.asarray(data.maps)[0] * (picture * subject.phase))
    frames, mask = len(data.kspace), np.asarray(data.mask)
    seen = np.ones(frames, np.float32)
    if every_other:
        seen[1::2] = 0
    whole = np.broadcast_to(mask, (frames, *data.kspace.shape[2:]))[:, None]
    added = np.asarray(data.kspace + whole * kspace * seen[:, None, None, None], np.complex64)
    acs = data.acs
    if acs is not None:
        rows = slice(data.acs_first, data.acs_first + acs.shape[1])
        acs = np.asarray(acs + kspace[:, rows] * seen.mean(), np.complex64)
    return replace(data, kspace=added, acs=acs), amplitude


def _level(subject: Subject, data: SliceData) -> float:
    """Return the signal of a slice over that of the scan: lower where noise was added."""
    mask = np.broadcast_to(data.mask, (len(data.kspace), *data.kspace.shape[2:]))[:, None]
    own = subject.data.kspace * mask
    return float(np.real(np.vdot(own, data.kspace)) / np.real(np.vdot(own, own)))


def measure(subject: Subject, trial: Trial, one: Candidate, sites: Sequence[Site], limits: DetailLimits) -> Series:
    """Insert details of all contrasts and measure what a method keeps of them.

    Raises
    ------
    OnebreathError
        If the method cannot reconstruct the slice.
    """
    every_other = limits.presence == "every other frame"
    frames = slice(None, None, 2) if every_other else slice(None)

    def responses(data: SliceData) -> NDArray[np.float64]:
        images = (np.asarray(one.method(data).images)[frames] * np.conj(subject.phase)).real
        return np.array([np.tensordot(images, site.weights, 2) for site in sites])  # (site, frame)

    plain = responses(trial.data)
    rng = np.random.default_rng(5)
    mask = np.broadcast_to(trial.data.mask, (len(trial.data.kspace), *trial.data.kspace.shape[2:]))[:, None]
    changes = np.stack(
        [
            responses(trial.data.replica(trial.data.kspace + mask * white_noise(rng, trial.data.kspace))) - plain
            for _ in steps(range(limits.replicas), f"{one.label}, {trial}: replicas")
        ]
    )
    noise = {
        size: float(np.sqrt(np.mean(changes[:, [n for n, s in enumerate(sites) if s.size_mm == size]] ** 2)))
        for size in {site.size_mm for site in sites}
    }
    kept = []
    for contrast in steps(limits.contrasts, f"{one.label}, {trial}: details"):
        data, amplitude = inserted(subject, trial.data, sites, contrast, every_other)
        left = (responses(data) - plain).mean(axis=1)
        for size in sorted(noise):
            here = [n for n, site in enumerate(sites) if site.size_mm == size]
            full = np.array([amplitude[n] * float((sites[n].disc * sites[n].weights).sum()) for n in here])
            signal = left[here]
            rose = float(signal.mean() / noise[size]) if noise[size] > 0 else float("inf")
            kept.append(Kept(size, contrast, float((signal / full).mean()), rose))
    return Series(one.label, one.method.learned, trial, tuple(kept))
