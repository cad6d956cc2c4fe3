"""L+S with spatial wavelets as a third norm."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from onebreath.errors import ConfigError
from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.methods.low_rank_sparse.problem import Problem
from onebreath.methods.low_rank_sparse.split import exact_data_step, split_steps, total_penalty
from onebreath.methods.low_rank_sparse.steps import Weights
from onebreath.mri import proximal
from tests.helpers import complex_normal, nrmse
from tests.methods.slices import lines, synthetic

VARYING = np.stack([lines(48, 6, 6, frame % 6) for frame in range(12)])


def test_wavelets_make_images_better_where_all_frames_have_the_same_lines():
    """Nothing else holds a background in directions that coils hardly tell apart."""
    mask = np.repeat(lines(64, 6, 10)[None], 8, axis=0)
    case = synthetic(mask, ny=64, nx=48, coils=6, noise=8.0)
    data, truth = replace(case.data, kspace=case.data.kspace / np.float32(8)), np.abs(case.truth) / 8
    error = {w: nrmse(np.abs(LowRankSparse(wavelet=w, device="cpu")(data).images), truth) for w in (0, None)}
    assert error[None] < 0.9 * error[0]


@pytest.mark.parametrize("noise", [0.05, 0.2, 1.0])
def test_few_steps_reach_the_end_where_there_is_little_noise(noise):
    """Lower thresholds need more steps; an image that is stopped on its way is worse than one without wavelets."""
    mask = np.stack([lines(48, 8, 6, 3 * frame % 8) for frame in range(8)])
    case = synthetic(mask, ny=48, nx=40, coils=6, noise=noise)
    data, truth = replace(case.data, kspace=case.data.kspace / np.float32(noise)), np.abs(case.truth) / noise
    error = {w: nrmse(np.abs(LowRankSparse(wavelet=w, device="cpu")(data).images), truth) for w in (0, None)}
    assert error[None] < 1.05 * error[0]


def test_wavelets_are_of_known_noise_alone():
    with pytest.raises(ConfigError, match="units of the noise and goes with algorithm=noise alone"):
        LowRankSparse(algorithm="published", wavelet=0.1)
    assert (
        LowRankSparse(wavelet=0, device="cpu")(synthetic(VARYING, ny=48, nx=40, coils=6).data).facts["lambda_wavelet"]
        == 0
    )
    assert (
        LowRankSparse(algorithm="published", device="cpu")(synthetic(VARYING, ny=48, nx=40, coils=6).data).facts[
            "lambda_wavelet"
        ]
        == 0
    )


def test_the_split_with_wavelets_reaches_a_minimum_of_its_function(monkeypatch):
    """With one shift it finds a smaller function than the split without them, and none nearby has a smaller one."""
    monkeypatch.setattr(proximal, "WAVELET_SHIFTS", ((0, 0),))
    case = synthetic(np.repeat(lines(48, 3, 6)[None], 8, axis=0), ny=48, nx=24, coils=6)
    problem = Problem.of(case.data)
    unit, deviation = problem.noise_units()
    weights = Weights(20 * unit, 20 * deviation, 10 * deviation)
    exact = exact_data_step(problem, total_penalty(0.1, weights.wavelet))
    step = next(islice(split_steps(problem, *weights, 0.1, exact), 80, None))
    without = next(islice(split_steps(problem, *weights._replace(wavelet=0.0), 0.1), 80, None))
    least = problem.objective(step, *weights)
    assert least < problem.objective(without, *weights)
    rng = np.random.default_rng(0)
    for scale in (0.01, 0.1):
        series = step.series + scale * complex_normal(rng, step.series.shape, np.complex64) * np.abs(step.series).mean()
        other = replace(step, sparse=step.sparse + series - step.series, series=series)
        assert problem.objective(other, *weights) > least
