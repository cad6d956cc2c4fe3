"""Choice of the uniform GRAPPA kernel by cross-validation on halves of the calibration positions.

The error of a missing sample has two parts. What the kernel does not explain of the signal is measured on calibration
positions that took no part in the fit, and scaled to the energy of the lines outside the calibration block; for lines
that are missing within the block, which the fit has seen, it is what the fit leaves. The noise of its sources is passed
on with the sum of the squared weights. The kernel with the smallest sum is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from onebreath.methods.grappa.lattice_equations import NormalEquations, normal_equations

STRENGTHS = (1, 4, 20)
"""Multiples of the regularisation that are compared."""
# Part of the readout, at each end, whose mean energy is taken for that of the noise.
_EDGE = 1 / 16


@dataclass(frozen=True)
class Energies:
    """Mean squared magnitude of a sample.

    Attributes
    ----------
    noise, acs_noise
        Noise of the measured lines and of the (averaged) calibration lines.
    outside
        Signal of the measured lines outside the calibration block.
    inside
        Part of the missing lines that lie within the block (not an energy): 0 where the block counts as data.
    """

    noise: float
    acs_noise: float
    outside: float
    inside: float = 0.0

    def unexplained(self, residual: float, passed: float) -> float:
        """Return the part of a mean squared residual that the noise of the calibration lines does not explain."""
        return max(residual - self.acs_noise * (1 + passed), 0.0)

    def weaker(self, power: float) -> float:
        """Return the signal outside the block as a part of that of the calibration lines, 1 at most.

        `power` is the mean squared magnitude of their samples.
        """
        return min(self.outside / max(power - self.acs_noise, 1e-30), 1.0)


@dataclass(frozen=True)
class Validated:
    """The number of source lines and the regularisation of a kernel, and its equations of all calibration lines."""

    lines: int
    regularisation: float
    equations: NormalEquations


def energies(kspace: np.ndarray, mask: np.ndarray, acs: np.ndarray, acs_first: int) -> Energies:
    """Estimate the energies from the data themselves: scans without a noise scan are not in units of the noise.

    Parameters
    ----------
    kspace : (frame, coil, y, x) complex
        Undersampled frames.
    mask : (frame or 1, y, x or 1) bool
        Sampled positions.
    acs : (coil, ya, x) complex
        Calibration lines.
    acs_first
        Row of the first of them.
    """
    block, lines = slice(acs_first, acs_first + acs.shape[1]), np.asarray(mask.any(axis=(0, 2)))
    inside = _missing_within(np.asarray(mask.any(axis=2)), lines, block)
    lines[block] = False
    outer = np.flatnonzero(lines)
    if not len(outer):
        return Energies(0.0, 0.0, float(np.mean(np.abs(acs) ** 2)), inside)
    measured = np.abs(kspace[:, :, outer]) ** 2
    farthest = np.abs(outer - kspace.shape[2] // 2) >= kspace.shape[2] // 4
    noise = _edge_energy(measured[:, :, farthest] if farthest.any() else measured)
    acs_noise = min(_edge_energy(np.abs(acs) ** 2), noise)
    return Energies(noise, acs_noise, max(_mean_of_measured(measured) - noise, 0.0), inside)


def choose(
    acs: np.ndarray,
    acceleration: int,
    lines: Sequence[int],
    width: int,
    regularisations: Sequence[float],
    has: Energies,
) -> Validated:
    """Choose the number of source lines and the regularisation.

    Parameters
    ----------
    acs : (coil, ya, x) complex
        Calibration lines in k-space.
    acceleration
        R.
    lines
        Numbers of source lines to choose from.
    width
        Kernel size along the readout in samples, odd.
    regularisations
        Tikhonov, relative to the mean diagonal element, to choose from.
    has
        Energies of the scan.

    Returns
    -------
    Validated
        What has the least expected error.
    """
    samples = acs.shape[2] - width + 1
    parts = normal_equations(acs, acceleration, lines, width, samples, parts=2)
    found = [
        (error, count, regularisation)
        for count, (lower, upper) in zip(lines, parts, strict=True)
        for regularisation, error in zip(
            regularisations, _expected_errors(lower, upper, regularisations, has), strict=True
        )
    ]
    _, count, regularisation = min(found)
    lower, upper = parts[list(lines).index(count)]
    return Validated(count, regularisation, lower + upper)


def _expected_errors(
    lower: NormalEquations, upper: NormalEquations, regularisations: Sequence[float], has: Energies
) -> Iterator[tuple[float, float]]:
    """Yield the expected squared error of a missing sample with each regularisation, and the regularisation."""
    whole, targets = lower + upper, lower.product.shape[1]
    samples = whole.count * targets
    weaker = has.weaker(whole.energy / samples)
    for regularisation in regularisations:
        below, above = (half.weights(regularisation) for half in (lower, upper))
        passed = (noise_passed(below) + noise_passed(above)) / 2
        residual = lower.residual(above) + upper.residual(below)
        error = (1 - has.inside) * weaker * has.unexplained(residual / samples, passed)
        if has.inside:
            weights = whole.weights(regularisation)
            error += has.inside * has.unexplained(whole.residual(weights) / samples, noise_passed(weights))
        yield error + has.noise * passed, regularisation


def noise_passed(weights: np.ndarray) -> float:
    """Return the noise energy in a predicted sample, relative to that in a source."""
    return float(np.sum(np.abs(weights) ** 2) / weights.shape[1])


def _missing_within(sampled: np.ndarray, ever: np.ndarray, block: slice) -> float:
    """Part of the lines that frames lack (frame, y), between the first and the last that any has (y,), in a block."""
    held = np.flatnonzero(ever)
    if not len(held):
        return 0.0
    missing = ~sampled[:, held[0] : held[-1] + 1]
    within = missing[:, max(block.start - held[0], 0) : max(block.stop - held[0], 0)]
    return int(np.count_nonzero(within)) / max(int(np.count_nonzero(missing)), 1)


def _edge_energy(energy: np.ndarray) -> float:
    """Mean of the samples (..., x) at the weaker end of the readout that was measured."""
    edge = max(int(energy.shape[-1] * _EDGE), 1)
    ends = [_mean_of_measured(part) for part in (energy[..., :edge], energy[..., -edge:])]
    return min((one for one in ends if one > 0), default=0.0)


def _mean_of_measured(energy: np.ndarray) -> float:
    """Mean of the samples that are not exactly zero, as those are which an asymmetric echo or a mask left out."""
    measured = np.count_nonzero(energy)
    return float(energy.sum(dtype=float) / measured) if measured else 0.0
