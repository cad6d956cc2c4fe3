"""L+S by the alternating direction method of multipliers: the data step is solved exactly, so that few steps do.

S. Boyd et al., "Distributed optimization and statistical learning via the alternating direction method of multipliers",
Found Trends Mach Learn 3:1 (2011), section 3.1. The split is x = L + S with x in the data term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from array_api_compat import array_namespace

from onebreath.methods.low_rank_sparse_problem import Problem
from onebreath.methods.low_rank_sparse_steps import Step, shrink_spectrum
from onebreath.mri import Array
from onebreath.mri.fourier import ifft
from onebreath.mri.proximal import shrink_singular_values

DataStep: TypeAlias = Callable[[Array, Array], Array]
# Conjugate-gradient steps where the data step has no matrices; each goes on from the solution before.
_STEPS = 3


def split_steps(
    problem: Problem, low_rank: float, sparse: float, penalty: float, data_step: DataStep | None = None
) -> Iterator[Step]:
    """Iterate without end.

    Parameters
    ----------
    problem
        The slice.
    low_rank, sparse
        lambda_L and lambda_S in the problem's units.
    penalty
        Weight of the split.
    data_step
        `exact_data_step` of the same penalty; None: the iterative one.
    """
    data_step = data_step or iterative_data_step(problem, penalty)
    zero = 0 * problem.start
    series, dual, changes = data_step(zero, zero), zero, zero
    while True:
        split = series + dual
        background = shrink_singular_values(split - changes, low_rank / penalty)
        changes = shrink_spectrum(split - background, sparse / penalty)
        both = background + changes
        dual = split - both
        series = data_step(both - dual, series)
        yield Step(background, changes, series)


def exact_data_step(problem: Problem, penalty: float) -> DataStep | None:
    """Minimiser of ``||E x - d||^2 + penalty ||x - z||^2`` for z, by one inverse matrix for each column of pixels.

    Returns
    -------
    None where the mask depends on the frame or on x, and where the matrices would need more memory than four copies of
    the k-space.
    """
    operator = problem.operator
    xp = array_namespace(operator.maps, problem.start)
    sets, coils, ny, nx = operator.maps.shape
    frames, mask = problem.start.shape[0], operator.mask
    fixed = bool(xp.all(mask == mask[:1])) and bool(xp.all(mask == mask[..., :1]))
    if not fixed or sets * sets * ny > 4 * frames * coils:
        return None
    matrices = _normal_matrices(operator.maps, mask[0, :, 0])
    eye = xp.eye(sets * ny, dtype=matrices.dtype, device=getattr(matrices, "device", None))
    # Hermitian and positive; a general inverse fails in threaded builds of MKL on batches of such matrices.
    factor = xp.linalg.inv(xp.linalg.cholesky(matrices + penalty * eye))
    inverse = xp.conj(xp.matrix_transpose(factor)) @ factor

    def data_step(towards: Array, _: Array) -> Array:
        images = problem.images(problem.start + penalty * towards)
        columns = xp.reshape(xp.permute_dims(images, (3, 0, 2, 1)), (nx, sets * ny, frames))
        solved = xp.permute_dims(xp.reshape(inverse @ columns, (nx, sets, ny, frames)), (3, 1, 2, 0))
        return xp.reshape(solved, (frames, -1))

    return data_step


def _normal_matrices(maps: Array, lines: Array) -> Array:
    """``E^H E`` as matrices ``(x, set y, set y)`` of pixels and lines.

    Along y the projection onto the samples is a convolution with the point-spread function p of the mask, so that an
    entry is ``p[y - y'] sum_c conj(S_c[y]) S_c[y']``.
    """
    xp = array_namespace(maps)
    sets, coils, ny, nx = maps.shape
    spread = ifft(xp.fft.ifftshift(xp.astype(lines, maps.dtype)), 0) / ny**0.5
    place = xp.arange(ny, device=getattr(maps, "device", None))
    toeplitz = spread[(place[:, None] - place[None]) % ny]
    columns = xp.reshape(xp.permute_dims(maps, (3, 0, 2, 1)), (nx, sets * ny, coils))
    return (xp.conj(columns) @ xp.matrix_transpose(columns)) * xp.tile(toeplitz, (sets, sets))


def iterative_data_step(problem: Problem, penalty: float) -> DataStep:
    """Approach the same minimiser by conjugate gradients, each time from the solution before."""
    xp = array_namespace(problem.start)

    def energy(x: Array) -> Array:
        return xp.sum(xp.real(x) ** 2 + xp.imag(x) ** 2, axis=1, keepdims=True)

    def data_step(towards: Array, before: Array) -> Array:
        solution = before
        residual = problem.start + penalty * towards - problem.normal(before) - penalty * before
        direction, now = residual, energy(residual)
        for _ in range(_STEPS):
            image = problem.normal(direction) + penalty * direction
            curvature = xp.sum(xp.real(xp.conj(direction) * image), axis=1, keepdims=True)
            length = now / xp.where(curvature > 0, curvature, xp.ones_like(curvature))
            solution, residual = solution + length * direction, residual - length * image
            previous, now = now, energy(residual)
            direction = residual + (now / xp.where(previous > 0, previous, xp.ones_like(previous))) * direction
        return solution

    return data_step
