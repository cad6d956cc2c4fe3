"""Test: maps of noise and g-factor against noise replicas, and both against the noise of repeated frames.

Replicas as in P. M. Robson et al., Magn Reson Med 60:895 (2008). For CG-SENSE without regularisation the g-factor is
known: that of K. P. Pruessmann et al., Magn Reson Med 42:952 (1999), eq. 25, here for any mask of whole lines.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onebreath.acceptance.findings import Finding, judged, not_done
from onebreath.acceptance.limits import GfactorLimits
from onebreath.acceptance.noise import Differences
from onebreath.acceptance.subject import Subject, Trial
from onebreath.errors import OnebreathError, ScanError
from onebreath.evaluation.candidates import Candidate
from onebreath.methods.base import Method, SliceData, method_class
from onebreath.methods.noise import Effort, measure_noise
from onebreath.mri.gfactor import pseudo_replica
from onebreath.mri.noise_map import noise_map
from onebreath.mri.sampling import describe
from onebreath.mri.sense import normal_matrices
from onebreath.terminal import Progress

TEST = "noise maps against replicas"
_OBJECT = 0.3
"""Of the 95th percentile: what is brighter is object."""
_LARGEST_G = 4.0
"""Where noise is amplified more, conjugate gradients end before the inverse is reached, and nothing can be compared."""
_LEAST_FRAMES = 6
_STEADY = 1.1


@dataclass(frozen=True)
class Compared:
    """A map against that of the replicas.

    Attributes
    ----------
    ratio
        Median over the object of map / replicas.
    spread
        Half of the range of the middle 90 % of these ratios.
    error
        Standard error of the replicas in one pixel, relative.
    replicas, pixels
        How many.
    """

    ratio: float
    spread: float
    error: float
    replicas: int
    pixels: int

    def __str__(self) -> str:
        return (
            f"{self.ratio:.4f} (middle 90 % of {self.pixels} pixels: +- {self.spread:.3f}); {self.replicas} replicas, "
            f"standard error of a pixel {self.error:.1%}"
        )


def compared(told: NDArray[np.floating], replicas: NDArray[np.floating], where: NDArray[np.bool_], n: int) -> Compared:
    """Compare two maps (y, x) in the pixels of the object; `n` replicas of complex noise."""
    good = where & np.isfinite(told) & (told > 0) & (replicas > 0)
    ratios = told[good] / replicas[good]
    if not ratios.size:
        return Compared(math.nan, math.nan, math.nan, n, 0)
    low, middle, high = np.percentile(ratios, (5, 50, 95))
    return Compared(float(middle), float(high - low) / 2, 1 / math.sqrt(4 * (n - 1)), n, int(ratios.size))


def sense_gfactor(
    maps: NDArray[np.complexfloating], lines: NDArray[np.bool_], acceleration: float
) -> NDArray[np.float64]:
    """Return the g-factor of SENSE in closed form: root of the diagonal of (A^H A)^-1 / R, for unit noise.

    Parameters
    ----------
    maps : (coil, y, x) complex
        Unit sum of squares, or 0 outside the object.
    lines : (y,) bool
        Acquired lines.
    acceleration
        The R to divide out.

    Returns
    -------
    (y, x) real
        NaN where maps are 0, and where the inverse does not exist.
    """
    found = np.full(maps.shape[1:], np.nan)
    matrices = normal_matrices(maps[None].astype(np.complex128), lines.astype(float))
    for x, matrix in enumerate(matrices):
        there = np.flatnonzero(np.any(maps[:, :, x] != 0, axis=0))
        if there.size == 0:
            continue
        part = matrix[np.ix_(there, there)]
        if np.linalg.cond(part) < 1e8:
            found[there, x] = np.sqrt(np.real(np.diag(np.linalg.inv(part))) / acceleration)
    return found


def gfactor_findings(
    subject: Subject, trial: Trial, learned: list[Candidate], limits: GfactorLimits
) -> Iterator[tuple[Finding, NDArray[np.floating] | None]]:
    """Compare the maps of SENSE, GRAPPA and the learned methods with replicas; with each the g-factor map, if any."""
    data = _one_frame(trial.data)
    where = _object(subject)
    for told in (_sense, _grappa):
        try:
            found, map_of_it = told(data, where, limits)
        except OnebreathError as error:
            yield not_done(TEST, f"{trial}: {error}"), None
            continue
        yield _judged(found, limits), map_of_it
    for candidate in learned:
        try:
            yield _judged(_learned(candidate, trial, where, limits), limits), None
        except OnebreathError as error:
            yield not_done(TEST, f"{candidate.label}, {trial}: {error}"), None


def _judged(found: tuple[str, Compared], limits: GfactorLimits) -> Finding:
    what, one = found
    if one.pixels == 0:
        return not_done(TEST, f"{what}: nowhere in the object is the g-factor below {_LARGEST_G:g}")
    good = one.pixels > 0 and abs(one.ratio - 1) <= limits.tolerance
    return judged(TEST, what, str(one), f"median 1 +- {limits.tolerance:g}", good)


def _sense(
    data: SliceData, where: NDArray[np.bool_], limits: GfactorLimits
) -> tuple[tuple[str, Compared], NDArray[np.floating]]:
    mask = np.broadcast_to(data.mask, (1, *data.kspace.shape[2:]))
    lines, r = mask[0].any(axis=1), data.sampling.effective_acceleration
    if not np.array_equal(mask[0], np.broadcast_to(lines[:, None], mask[0].shape)):
        raise ScanError(
            "the g-factor of SENSE is known in closed form for masks of whole lines, and here samples of the lines "
            "are missing, as those of an asymmetric echo"
        )
    known = sense_gfactor(np.asarray(data.maps)[0], lines, r)
    method = method_class("cg_sense")(regularisation=0, iterations=300, tolerance=1e-7, device="cpu")
    found = _replicas(method, data, r, limits.replicas)
    what = f"R = {data.sampling.acceleration}: g-factor of SENSE in closed form over that of replicas of CG-SENSE"
    return (what, compared(known, found, where & (known < _LARGEST_G), limits.replicas)), known


def _grappa(
    data: SliceData, where: NDArray[np.bool_], limits: GfactorLimits
) -> tuple[tuple[str, Compared], NDArray[np.floating]]:
    method = method_class("grappa")()
    told = np.asarray(method(data).gfactor)[0]
    # The map's reference is a full scan of the lines that were acquired or predicted, each as long as it was measured:
    # neither partial Fourier nor an asymmetric echo is a reduction of noise.
    (first, last), (start, end), (_, _, ny, nx) = data.sampling.covered, data.sampling.readout, data.kspace.shape
    coverage = (last - first + 1) / ny * ((end - start + 1) / nx if data.sampling.shape[2] > 1 else 1.0)
    found = _replicas(method.for_replicas(), data, data.sampling.acceleration, limits.replicas, coverage)
    what = f"R = {data.sampling.acceleration}: g-factor map of GRAPPA over that of replicas"
    return (what, compared(told, found, where, limits.replicas)), told


def _replicas(method: Method, data: SliceData, r: float, count: int, coverage: float = 1.0) -> NDArray[np.floating]:
    with Progress("noise replicas", count + 1, "replicas") as progress:

        def images(kspace: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
            made = np.asarray(method(data.replica(kspace)).images)
            progress.advance()
            return made

        return np.asarray(pseudo_replica(images, data.kspace, data.mask, r, count, coverage, seed=1))[0]


def _learned(
    candidate: Candidate, trial: Trial, where: NDArray[np.bool_], limits: GfactorLimits
) -> tuple[str, Compared]:
    """Compare the chain's own noise map of a network, from probes of its derivative, with replicas."""
    data, method, count = trial.data, candidate.method, limits.network_replicas
    images = np.asarray(method(data).images)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")  # torch's own, in forward mode
        told = measure_noise(method, data, images, Effort(count, math.inf, pool_frames=True))

    with Progress(f"noise replicas of {candidate.label}", count, "replicas") as progress:

        def change(noise: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
            made = np.asarray(method(data.replica(data.kspace + noise)).images) - images
            progress.advance()
            return made

        found = noise_map(change, data.kspace, data.mask, count, seed=1, along=images, pool_frames=True)
    one = compared(told.std[0], np.asarray(found.std)[0], where, count)
    one = Compared(one.ratio, one.spread, math.hypot(found.error, found.error), count, one.pixels)
    return f"{trial}: noise map of {candidate.label} ({told.how.split(',')[0]}) over that of replicas", one


def repeated_findings(subject: Subject, moved: Differences | None) -> list[Finding]:
    """Compare the noise of frames that show the same with 1, which it is in SNR units."""
    frames = subject.combined
    what = "noise of repeated frames of the fully sampled scan over 1, its value in SNR units"
    if not subject.full or not subject.data.whitened:
        return []
    if len(frames) < _LEAST_FRAMES or moved is None or moved.centre > _STEADY:
        why = f"repeated frames: needs {_LEAST_FRAMES} frames of an object at rest"
        return [not_done(TEST, why)]
    std = frames.std(axis=0, ddof=1)[_object(subject)]
    found = float(np.sqrt(np.mean(std.astype(float) ** 2)))
    error = 1 / math.sqrt(2 * (len(frames) - 1) * std.size)
    return [judged(TEST, what, f"{found:.4f} +- {error:.4f}", "1 +- 0.05", abs(found - 1) <= 0.05)]


def _object(subject: Subject) -> NDArray[np.bool_]:
    image = np.abs(subject.combined).mean(axis=0)
    maps = np.any(np.asarray(subject.data.maps)[0] != 0, axis=0)
    return np.asarray((image > _OBJECT * np.percentile(image, 95)) & maps)


def _one_frame(data: SliceData) -> SliceData:
    mask = np.broadcast_to(data.mask, (len(data.kspace), *data.kspace.shape[2:]))[:1]
    sampling = describe(mask, acceleration=data.sampling.acceleration)
    return replace(data, kspace=data.kspace[:1], mask=mask, sampling=sampling)
