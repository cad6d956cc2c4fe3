"""Normal equations of GRAPPA kernels from both halves of a calibration block, for cross-validation.

Both matrices are Hermitian, so that one array holds them: the upper triangle that of the first half, the lower one that
of the second. With many channels they are the largest arrays beside k-space and coil maps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onebreath.budget import claim_equations
from onebreath.methods.grappa.lattice_equations import solved
from onebreath.methods.grappa.validation import Energies, noise_passed

Complex = NDArray[np.complex64]
Weights = NDArray[np.complex128]


class HalfEquations:
    """A^H A, A^H B, |B|^2 and the number of equations A w = B of the halves 0 and 1.

    Parameters
    ----------
    unknowns, coils
        Length of w, and number of targets.
    """

    def __init__(self, unknowns: int, coils: int) -> None:
        claim_equations(unknowns, unknowns, "the equations of GRAPPA's kernel")
        self._normal = np.zeros((unknowns, unknowns), np.complex128, order="F")
        self._diagonal = np.zeros((2, unknowns))
        self._right = np.zeros((2, unknowns, coils), np.complex128)
        self._power, self._count = [0.0, 0.0], [0, 0]

    def add(self, half: int, matrix: Complex, target: Complex) -> None:
        """Add equations (equation, unknown) and (equation, target coil) to one half."""
        from scipy.linalg.blas import zherk

        adjoint = np.conj(matrix.astype(np.complex128)).T
        zherk(1.0, adjoint, beta=1.0, c=self._normal, lower=half, overwrite_c=1)
        self._diagonal[half] += np.sum(np.abs(adjoint) ** 2, axis=1)
        self._right[half] += adjoint @ target
        self._power[half] += float(np.linalg.norm(target)) ** 2
        self._count[half] += len(matrix)

    def expected_error(self, regularisation: float, has: Energies) -> float:
        """Return the expected squared error of a missing sample: residual on the other half, and propagated noise."""
        coils = self._right.shape[2]
        power = sum(self._power) / max(sum(self._count) * coils, 1)
        residual = passed = 0.0
        for half in (0, 1):
            weights = self._solved(self._normal.copy(order="F"), half, regularisation)
            residual += self._residual(1 - half, weights) / 2
            passed += noise_passed(weights) / 2
        return float(has.weaker(power) * has.unexplained(residual, passed) + has.noise * passed)

    def weights(self, regularisation: float) -> Weights:
        """Solve for weights (unknown, target coil) with both halves; the equations are used up by this."""
        for row in range(len(self._normal)):
            self._normal[row, row + 1 :] += np.conj(self._normal[row + 1 :, row])
        self._diagonal[0] += self._diagonal[1]
        self._right[0] += self._right[1]
        return self._solved(self._normal, 0, regularisation)

    def _solved(self, matrix: Weights, half: int, regularisation: float) -> Weights:
        """Solve the equations of one half; `matrix`, a copy or the original, is destroyed."""
        diagonal = self._diagonal[half]
        np.fill_diagonal(matrix, diagonal + regularisation * diagonal.mean())
        return solved(matrix, self._right[half], half)

    def _residual(self, half: int, weights: Weights) -> float:
        """Return the mean squared residual of weights in the equations of one half."""
        from scipy.linalg.blas import zhemm

        np.fill_diagonal(self._normal, self._diagonal[half])
        right = self._right[half]
        explained = 2 * np.vdot(weights, right).real
        explained -= np.vdot(weights, zhemm(1.0, self._normal, weights, lower=half)).real
        return float(max(self._power[half] - explained, 0.0) / (self._count[half] * right.shape[1]))
