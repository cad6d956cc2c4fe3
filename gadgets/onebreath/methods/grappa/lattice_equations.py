"""Normal equations of uniform GRAPPA kernels, put together from products of two calibration lines each.

An equation has windows of `lines` source lines on one side, R apart, and the lines between two of them on the other. So
the normal matrix is made of sums of products of two lines that lie a multiple of R apart. Kernels with more or fewer
source lines, and both halves of the calibration lines, share these products; each is made once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from onebreath.budget import KERNEL, claim, claim_equations
from onebreath.cancellation import checkpoint
from onebreath.errors import MethodError

Complex = NDArray[np.complex128]
_NAMED = "the equations of GRAPPA's kernel"


@dataclass(frozen=True)
class NormalEquations:
    """A^H A, A^H B, the energy of B and the number of equations A w = B.

    Attributes
    ----------
    normal : (unknown, unknown)
        The unknowns are (source coil, source line, sample).
    product : (unknown, target)
        The targets are (missing line, target coil).
    energy
        Sum of the squared magnitudes of all targets.
    count
        Equations of one target.
    """

    normal: Complex
    product: Complex
    energy: float
    count: int

    def __add__(self, other: NormalEquations) -> NormalEquations:
        """All equations of both."""
        return NormalEquations(
            self.normal + other.normal,
            self.product + other.product,
            self.energy + other.energy,
            self.count + other.count,
        )

    def weights(self, regularisation: float) -> Complex:
        """Solve for weights (unknown, target); this part of the mean diagonal element is added to the diagonal.

        Raises
        ------
        MethodError
            If the equations are singular.
        """
        checkpoint()
        matrix = self.normal.copy()
        matrix.ravel()[:: len(matrix) + 1] += regularisation * np.trace(matrix).real / len(matrix)
        return solved(matrix, self.product)

    def residual(self, weights: Complex) -> float:
        """Return the sum of the squared residuals of weights (unknown, target)."""
        explained = 2 * np.vdot(weights, self.product).real - np.vdot(weights, self.normal @ weights).real
        return max(float(self.energy - explained), 0.0)


def solved(matrix: Complex, right: Complex, lower: int = 1) -> Complex:
    """Solve Hermitian equations of which one triangle is used; `matrix` may be destroyed.

    Raises
    ------
    MethodError
        If they are singular.
    """
    from scipy.linalg.lapack import zposv

    _, weights, failed = zposv(matrix, right, lower=lower, overwrite_a=1)
    if failed:
        raise MethodError(
            "grappa: the equations of its weights are singular: channels hold the same signal, or none. Compress the "
            "channels, or raise grappa_reg_lamda."
        )
    return np.asarray(weights, np.complex128)


def normal_equations(
    acs: np.ndarray, acceleration: int, lines: Sequence[int], width: int, samples: int, parts: int = 1
) -> list[list[NormalEquations]]:
    """Return the equations of kernels, each in `parts` parts: consecutive lines of the calibration lines.

    Parameters
    ----------
    acs : (coil, ya, x) complex
        Calibration lines in k-space.
    acceleration
        R.
    lines
        Numbers of source lines.
    width
        Kernel size along the readout in samples, odd.
    samples
        Places along the readout, those in its middle.
    parts
        Number of parts.
    """
    coils, present, nx = acs.shape
    wide, most = coils * width, max(lines)
    claim_equations(len(lines) * parts * wide * most, wide * most, _NAMED)
    claim(16 * present * wide * (wide + 2 * samples), _NAMED, advice=KERNEL)
    first = (nx - width + 1 - samples) // 2
    windows = sliding_window_view(acs.astype(np.complex128), width, axis=2)[:, :, first : first + samples]
    own = np.ascontiguousarray(windows.transpose(1, 0, 3, 2))  # y, coil, sample, place
    sides = _Sides(own.reshape(present, wide, samples), own[:, :, width // 2])
    kernels = [_Kernel(count, coils, width, acceleration, present, parts) for count in lines]
    for distance in range(0, most * acceleration, acceleration):
        products = sides.of_sources(distance)
        for kernel in kernels:
            kernel.add_sources(distance, products)
    for distance in sorted({distance for kernel in kernels for *_, distance in kernel.targets()}):
        products, first_line = sides.with_targets(distance)
        for kernel in kernels:
            kernel.add_targets(distance, products, first_line)
    energy = np.sum(np.abs(sides.centres) ** 2, axis=(1, 2))
    return [kernel.equations(energy, samples) for kernel in kernels]


@dataclass(frozen=True)
class _Sides:
    """Calibration lines as sources (y, coil and sample, place) and as targets (y, coil, place)."""

    sources: Complex
    centres: Complex

    def of_sources(self, distance: int) -> Complex:
        """Products of the sources of each line with those of the line `distance` further on."""
        checkpoint()
        ahead = self.sources[distance:].swapaxes(1, 2)
        return np.asarray(np.conj(self.sources[: len(self.sources) - distance]) @ ahead)

    def with_targets(self, distance: int) -> tuple[Complex, int]:
        """Products of the sources of each line with the targets `distance` further on, and the first such line."""
        first, last = max(-distance, 0), len(self.sources) - max(distance, 0)
        targets = self.centres[first + distance : last + distance]
        return np.conj(self.sources[first:last]) @ targets.swapaxes(1, 2), first


class _Kernel:
    """The equations of a number of source lines while they are put together."""

    def __init__(self, lines: int, coils: int, width: int, acceleration: int, present: int, parts: int) -> None:
        self.lines, self.coils, self.width, self.acceleration = lines, coils, width, acceleration
        rows = present - (lines - 1) * acceleration
        bounds = [rows * part // parts for part in range(parts + 1)]
        self.rows = list(itertools.pairwise(bounds))
        shape = coils, lines, width
        self.normal = np.zeros((parts, *shape, *shape), np.complex128)
        self.product = np.zeros((parts, *shape, acceleration - 1, coils), np.complex128)

    def targets(self) -> Iterator[tuple[int, int, int]]:
        """Source line, missing line (counted from 0) and the distance from the former to the latter."""
        before = (self.lines - 1) // 2
        for j in range(self.lines):
            for m in range(self.acceleration - 1):
                yield j, m, (before - j) * self.acceleration + m + 1

    def add_sources(self, distance: int, products: Complex) -> None:
        """Enter sums of products of two source lines that lie `distance` apart."""
        apart = distance // self.acceleration
        square = self.coils, self.width, self.coils, self.width
        for j in range(self.lines - apart):
            for part, (first, last) in enumerate(self.rows):
                start = j * self.acceleration
                block = products[first + start : last + start].sum(0).reshape(square)
                self.normal[part, :, j, :, :, j + apart] = block
                if apart:
                    self.normal[part, :, j + apart, :, :, j] = np.conj(block.transpose(2, 3, 0, 1))

    def add_targets(self, distance: int, products: Complex, first_line: int) -> None:
        """Enter sums of products of a source line with a missing line `distance` further on."""
        for j, m, between in self.targets():
            if between != distance:
                continue
            start = j * self.acceleration - first_line
            for part, (first, last) in enumerate(self.rows):
                block = products[first + start : last + start].sum(0)
                self.product[part, :, j, :, m] = block.reshape(self.coils, self.width, self.coils)

    def equations(self, energy: NDArray[np.float64], samples: int) -> list[NormalEquations]:
        """Return what was put together; `energy` is that of each calibration line."""
        start, unknowns = (self.lines - 1) // 2 * self.acceleration, self.coils * self.lines * self.width
        return [
            NormalEquations(
                normal.reshape(unknowns, unknowns),
                product.reshape(unknowns, -1),
                sum(float(energy[first + start + m : last + start + m].sum()) for m in range(1, self.acceleration)),
                (last - first) * samples,
            )
            for normal, product, (first, last) in zip(self.normal, self.product, self.rows, strict=True)
        ]
