"""L+S by the alternating direction method of multipliers: the data step is solved exactly, so that few steps do.

S. Boyd et al., "Distributed optimization and statistical learning via the alternating direction method of multipliers",
Found Trends Mach Learn 3:1 (2011), section 3.1. The split is x = L + S with x in the data term, and x = z with z in
the norm of the wavelets where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from array_api_compat import array_namespace

from onebreath.methods.cg_sense import conjugate_gradients
from onebreath.methods.low_rank_sparse.problem import Problem, matrix_of
from onebreath.methods.low_rank_sparse.steps import Step, shrink_spectrum
from onebreath.mri import Array
from onebreath.mri.proximal import WAVELET_SHARE, WaveletSplit, shrink_singular_values
from onebreath.mri.sense import inverse_positive, normal_matrices

DataStep: TypeAlias = Callable[[Array, Array], Array]
# Conjugate-gradient steps where the data step has no matrices; each goes on from the solution before.
_STEPS = 3


def split_steps(
    problem: Problem,
    low_rank: float,
    sparse: float,
    wavelet: float,
    penalty: float,
    data_step: DataStep | None = None,
) -> Iterator[Step]:
    """Iterate without end.

    Parameters
    ----------
    problem
        The slice.
    low_rank, sparse
        lambda_L and lambda_S in the problem's units.
    wavelet
        lambda_W, for the root mean square over the frames, in the problem's units; 0: without wavelets.
    penalty
        Weight of the split; that of the wavelets comes on top, see `total_penalty`.
    data_step
        `exact_data_step` of the total penalty; None: the iterative one.
    """
    data_step = data_step or iterative_data_step(problem, total_penalty(penalty, wavelet))
    xp, zero = array_namespace(problem.start), 0 * problem.start
    series, dual, changes = data_step(zero, zero), zero, zero
    smooth = WaveletSplit(wavelet / (WAVELET_SHARE * penalty)) if wavelet else None
    while True:
        split = series + dual
        background = shrink_singular_values(split - changes, low_rank / penalty)
        changes = shrink_spectrum(split - background, sparse / penalty)
        both = background + changes
        dual = split - both
        towards = both - dual
        if smooth is not None:
            smoothed = xp.reshape(smooth(problem.by_frame(series)), series.shape)
            towards = (towards + WAVELET_SHARE * smoothed) / (1 + WAVELET_SHARE)
        series = data_step(towards, series)
        yield Step(background, changes, series)


def total_penalty(penalty: float, wavelet: float) -> float:
    """Penalty of all splits together."""
    return penalty * (1 + WAVELET_SHARE) if wavelet else penalty


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
    matrices = normal_matrices(operator.maps, mask[0, :, 0])
    eye = xp.eye(sets * ny, dtype=matrices.dtype, device=getattr(matrices, "device", None))
    inverse = inverse_positive(matrices + penalty * eye)

    def data_step(towards: Array, _: Array) -> Array:
        images = problem.images(problem.start + penalty * towards)
        columns = xp.reshape(xp.permute_dims(images, (3, 0, 2, 1)), (nx, sets * ny, frames))
        solved = xp.permute_dims(xp.reshape(inverse @ columns, (nx, sets, ny, frames)), (3, 1, 2, 0))
        return xp.reshape(solved, (frames, -1))

    return data_step


def iterative_data_step(problem: Problem, penalty: float) -> DataStep:
    """Approach the same minimiser by conjugate gradients, each time from the solution before."""

    def data_step(towards: Array, before: Array) -> Array:
        residual = problem.start + penalty * (towards - before) - problem.normal(before)
        rest, _ = conjugate_gradients(problem.operator, problem.images(residual), penalty, _STEPS, 0.0)
        return before + matrix_of(rest)

    return data_step
