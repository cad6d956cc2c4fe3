"""Which uniform GRAPPA kernel suits a scan: calibrated on half of the places, judged on the other half.

The error of a missing sample has two parts. What the kernel does not explain of the signal is measured on calibration
places that took no part in the fit, and scaled to the energy of the lines outside the calibration block. The noise of
its sources is passed on with the sum of the squared weights. The kernel with the smallest sum is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onebreath.methods.grappa.lattice import equations_of

STRENGTHS = (1, 4, 20)
"""Multiples of the regularisation that are compared."""
# Part of the readout, at each end, whose mean energy stands for that of the noise.
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
    """

    noise: float
    acs_noise: float
    outside: float


def energies(kspace: np.ndarray, mask: np.ndarray, acs: np.ndarray, acs_first: int) -> Energies:
    """Estimate the energies from the data themselves: scans without a noise scan are not in units of the noise.

    Parameters
    ----------
    kspace : (frame, coil, y, x) complex
        Undersampled frames.
    mask : (frame or 1, y, x or 1) bool
        Sampled places.
    acs : (coil, ya, x) complex
        Calibration lines.
    acs_first
        Row of the first of them.
    """
    lines = np.asarray(mask.any(axis=(0, 2)))
    lines[acs_first : acs_first + acs.shape[1]] = False
    outer = np.flatnonzero(lines)
    if not len(outer):
        return Energies(0.0, 0.0, float(np.mean(np.abs(acs) ** 2)))
    measured = np.abs(kspace[:, :, outer]) ** 2
    farthest = np.abs(outer - kspace.shape[2] // 2) >= kspace.shape[2] // 4
    noise = _edge_energy(measured[:, :, farthest] if farthest.any() else measured)
    acs_noise = min(_edge_energy(np.abs(acs) ** 2), noise)
    return Energies(noise, acs_noise, max(_mean_of_measured(measured) - noise, 0.0))


def choose(
    acs: np.ndarray,
    acceleration: int,
    lines: Sequence[int],
    width: int,
    regularisations: Sequence[float],
    has: Energies,
) -> tuple[int, float]:
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
    tuple
        Number of lines and regularisation with the least expected error.
    """
    found = [
        (error, count, regularisation)
        for count in lines
        for regularisation, error in zip(
            regularisations, _expected_errors(acs, acceleration, count, width, regularisations, has), strict=True
        )
    ]
    _, count, regularisation = min(found)
    return count, regularisation


def _expected_errors(
    acs: np.ndarray, acceleration: int, lines: int, width: int, regularisations: Sequence[float], has: Energies
) -> list[float]:
    """Expected squared error of a missing sample for each regularisation; the halves are the lower and upper rows."""
    samples = acs.shape[2] - width + 1
    matrix, right = equations_of(acs, acceleration, lines, width, samples)
    rows = acs.shape[1] - (lines - 1) * acceleration
    lower = np.arange(len(matrix)) // max(len(matrix) // rows, 1) < rows // 2
    halves = [(matrix[part], right[part]) for part in (~lower, lower)]
    normals = [np.conj(a.T) @ a for a, _ in halves]
    products = [np.conj(a.T) @ b for a, b in halves]
    power = float(np.mean(np.abs(right) ** 2))
    weaker = min(has.outside / max(power - has.acs_noise, 1e-30), 1.0)
    errors = []
    for regularisation in regularisations:
        residual = passed = 0.0
        for fitted, judged in ((0, 1), (1, 0)):
            normal = normals[fitted]
            diagonal = np.eye(len(normal)) * (regularisation * np.trace(normal).real / len(normal))
            weights = np.linalg.solve(normal + diagonal, products[fitted])
            a, b = halves[judged]
            residual += float(np.sum(np.abs(b - a @ weights) ** 2)) / right.size
            passed += float(np.sum(np.abs(weights) ** 2)) / weights.shape[1] / 2
        unexplained = max(residual - has.acs_noise * (1 + passed), 0.0)
        errors.append(weaker * unexplained + has.noise * passed)
    return errors


def _edge_energy(energy: np.ndarray) -> float:
    """Mean of the samples (..., x) at the weaker end of the readout that was measured."""
    edge = max(int(energy.shape[-1] * _EDGE), 1)
    ends = [_mean_of_measured(part) for part in (energy[..., :edge], energy[..., -edge:])]
    return min((one for one in ends if one > 0), default=0.0)


def _mean_of_measured(energy: np.ndarray) -> float:
    """Mean of the samples that are not exactly zero, as those are which an asymmetric echo or a mask left out."""
    measured = np.count_nonzero(energy)
    return float(energy.sum(dtype=float) / measured) if measured else 0.0
