"""Normal equations from products of two lines beside those of all equations written down."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onebreath.methods.grappa.lattice_equations import NormalEquations, normal_equations


def random(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def written_down(acs, acceleration, lines, width, samples):
    """Sources (row, place, unknown) and targets (row, place, missing line and coil), one by one."""
    _, present, nx = acs.shape
    before, rows, half = (lines - 1) // 2, present - (lines - 1) * acceleration, width // 2
    first = (nx - width + 1 - samples) // 2 + half
    sources, targets = [], []
    for row in range(rows):
        for x in range(first, first + samples):
            at = row + np.arange(lines) * acceleration
            sources.append(acs[:, at, x - half : x + half + 1].ravel())
            missing = row + before * acceleration + np.arange(1, acceleration)
            targets.append(acs[:, missing, x].T.ravel())
    return np.array(sources).reshape(rows, samples, -1), np.array(targets).reshape(rows, samples, -1)


@settings(max_examples=40, deadline=None)
@given(
    coils=st.integers(1, 3),
    acceleration=st.integers(2, 4),
    counts=st.lists(st.integers(2, 5), min_size=1, max_size=3, unique=True),
    width=st.sampled_from([1, 3, 5]),
    spare=st.integers(1, 7),
    narrower=st.integers(0, 4),
    parts=st.integers(1, 2),
)
def test_the_same_as_all_equations_written_down(coils, acceleration, counts, width, spare, narrower, parts):
    acs = random(coils, (max(counts) - 1) * acceleration + 1 + spare, width + 8)
    samples = acs.shape[2] - width + 1 - narrower
    found = normal_equations(acs, acceleration, counts, width, samples, parts)
    for lines, pieces in zip(counts, found, strict=True):
        sources, targets = written_down(acs, acceleration, lines, width, samples)
        bounds = [len(sources) * part // parts for part in range(parts + 1)]
        assert len(pieces) == parts
        for piece, first, last in zip(pieces, bounds[:-1], bounds[1:], strict=True):
            a, b = (side[first:last].reshape(-1, side.shape[2]) for side in (sources, targets))
            np.testing.assert_allclose(piece.normal, a.conj().T @ a, atol=1e-9)
            np.testing.assert_allclose(piece.product, a.conj().T @ b, atol=1e-9)
            assert piece.energy == pytest.approx(np.linalg.norm(b) ** 2)
            assert piece.count == len(a)
            weights = random(*piece.product.shape, seed=1)
            assert piece.residual(weights) == pytest.approx(np.linalg.norm(a @ weights - b) ** 2)


def test_weights_are_those_of_least_squares():
    a, b = random(30, 6), random(30, 4, seed=1)
    equations = NormalEquations(a.conj().T @ a, a.conj().T @ b, float(np.linalg.norm(b) ** 2), 30)
    best = np.linalg.lstsq(a, b, rcond=None)[0]
    np.testing.assert_allclose(equations.weights(0.0), best, atol=1e-10)
    assert equations.residual(best) == pytest.approx(np.linalg.norm(a @ best - b) ** 2)
    tikhonov = np.vstack([a, np.sqrt(0.1 * np.linalg.norm(a) ** 2 / 6) * np.eye(6)])
    expected = np.linalg.lstsq(tikhonov, np.vstack([b, np.zeros((6, 4))]), rcond=None)[0]
    np.testing.assert_allclose(equations.weights(0.1), expected, atol=1e-10)


def test_a_perfect_fit_leaves_nothing():
    a, weights = random(30, 6), random(6, 4, seed=1)
    b = a @ weights
    equations = NormalEquations(a.conj().T @ a, a.conj().T @ b, float(np.linalg.norm(b) ** 2), 30)
    assert 0 <= equations.residual(weights) < 1e-12 * equations.energy


def test_both_halves_make_the_whole():
    acs = random(2, 14, 12)
    ((lower, upper),) = normal_equations(acs, 3, [3], 3, 10, parts=2)
    ((whole,),) = normal_equations(acs, 3, [3], 3, 10)
    both = lower + upper
    np.testing.assert_allclose(both.normal, whole.normal, atol=1e-9)
    np.testing.assert_allclose(both.product, whole.product, atol=1e-9)
    assert (both.count, both.energy) == (whole.count, pytest.approx(whole.energy))
