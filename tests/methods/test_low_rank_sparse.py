import time
import timeit
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from onebreath.commands.demo import reconstruct
from onebreath.errors import ConfigError, MethodError
from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.methods.low_rank_sparse.problem import Problem
from onebreath.methods.low_rank_sparse.split import exact_data_step, iterative_data_step, split_steps
from onebreath.methods.low_rank_sparse.steps import accelerated_steps
from onebreath.methods.zero_filled import ZeroFilled
from onebreath.simulation.scan import ScanOptions, simulate
from tests.helpers import as_numpy, backend, complex_normal, nrmse, relative_error  # noqa: F401
from tests.methods.slices import lines, slice_of, smooth_maps, synthetic

ALGORITHMS = ("noise", "published", "accelerated")


def converted(data, convert):
    """The slice as arrays of another library."""
    return replace(data, **{name: convert(getattr(data, name)) for name in ("kspace", "mask", "maps")}, acs=None)


def varying(frames=12, acceleration=6, **options):
    """A slice whose lines shift from frame to frame."""
    offsets = (frame % acceleration for frame in range(frames))
    return synthetic(np.stack([lines(48, acceleration, 6, o) for o in offsets]), ny=48, nx=40, coils=6, **options)


@pytest.fixture
def golden(shared):
    return np.load(shared / "golden" / "l_plus_s_transcription.npz")


def golden_slice(golden, dtype):
    mask = golden["in/mask_lines"].astype(bool)[:, :, None]
    return slice_of(golden["in/kspace"].astype(dtype), mask, None, golden["in/sens_maps"][None].astype(dtype))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.complex128, 1e-9), (np.complex64, 1e-4)])
def test_iterates_equal_the_published_ones(golden, backend, dtype, tolerance):  # noqa: F811
    problem = Problem.of(converted(golden_slice(golden, dtype), backend))
    steps = list(islice(problem.steps("published", 0.01, 0.0025), 20))
    for number in (1, 5, 20):
        step = steps[number - 1]
        for name, found in (("L", step.low_rank), ("S", step.sparse), ("M", step.series)):
            expected = golden[f"out/{name}_iter{number}_f64"]
            images = as_numpy(problem.images(found))[0] * problem.scale
            # S is zero in the first iteration: errors are measured on the scale of the series, which is 1.
            assert np.max(np.abs(images - expected)) < tolerance * max(1.0, float(np.max(np.abs(expected))))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.complex128, 1e-9), (np.complex64, 1e-4)])
def test_the_stopping_rule_is_the_published_one(golden, backend, dtype, tolerance):  # noqa: F811
    result = LowRankSparse(algorithm="published", device="cpu")(converted(golden_slice(golden, dtype), backend))
    assert result.facts["iterations"] == int(golden["out/iterations_stop"])
    assert result.facts["converged"] == "yes"
    assert relative_error(result.images, golden["out/L_stop_f64"] + golden["out/S_stop_f64"]) < tolerance


def test_the_objective_is_made_of_the_published_terms(golden):
    problem = Problem.of(golden_slice(golden, np.complex128))
    weight = problem.weight(0.01)
    for number, step in enumerate(islice(problem.steps("published", 0.01, 0.0025), 5)):
        consistency, nuclear, sparse, largest, _ = golden["out/history"][number]
        expected = consistency + weight * nuclear + 0.0025 * sparse
        assert problem.objective(step, weight, 0.0025) == pytest.approx(expected, rel=1e-6)
        if number == 0:
            assert weight == pytest.approx(0.01 * largest, rel=1e-6)


@pytest.mark.parametrize("frames_differ", [False, True])
def test_the_accelerated_form_needs_half_the_iterations(frames_differ):
    case = varying() if frames_differ else synthetic(np.stack([lines(48, 4, 8)] * 12), ny=48, nx=40, coils=6)
    problem = Problem.of(case.data)
    at = {}
    for algorithm, iterations in (("published", 50), ("accelerated", 25)):
        *_, last = islice(problem.steps(algorithm, 0.01, 0.0025), iterations)
        at[algorithm] = problem.objective(last, problem.weight(0.01), 0.0025)
    assert at["accelerated"] < at["published"]


def test_the_accelerated_form_ends_at_the_minimum():
    """At the minimum -gradient lies in the subgradients: its temporal spectrum is at most lambda_S in magnitude, its
    largest singular value at most lambda_L, and both bounds are reached where S and L are not zero."""
    mask = np.stack([lines(24, 3, 4, frame % 3) for frame in range(6)])
    data = synthetic(mask, ny=24, nx=16, coils=4).data
    problem = Problem.of(replace(data, kspace=data.kspace.astype(complex), maps=data.maps.astype(complex)))
    relative, sparse = 0.005, 0.009
    *_, last = islice(problem.steps("accelerated", relative, sparse), 300)
    gradient = problem.normal(last.low_rank + last.sparse) - problem.start
    weight = problem.weight(relative)
    assert np.linalg.svd(gradient, compute_uv=False)[0] == pytest.approx(weight, rel=1e-5)
    values = np.linalg.svd(last.low_rank, compute_uv=False)
    assert values[0] > 1
    assert -np.vdot(gradient, last.low_rank).real == pytest.approx(weight * values.sum(), rel=1e-5)
    spectrum, of_sparse = (np.fft.fft(x, axis=0, norm="ortho") for x in (gradient, last.sparse))
    assert np.max(np.abs(spectrum)) == pytest.approx(sparse, rel=1e-4)
    used = np.abs(of_sparse) > 1e-3
    assert used.any()
    assert np.max(np.abs(spectrum[used] / sparse + of_sparse[used] / np.abs(of_sparse[used]))) < 1e-4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_beats_zero_filling_when_lines_change_and_when_they_do_not(algorithm):
    method = LowRankSparse(algorithm=algorithm, device="cpu")
    case = varying()
    assert nrmse(method(case.data).images, case.truth) < 0.5 * nrmse(ZeroFilled()(case.data).images, case.truth)
    fixed = synthetic(lines(48, 3, 6), ny=48, nx=40, coils=6)
    mask = np.repeat(fixed.data.mask, 12, axis=0)
    moving = synthetic(mask[:, :, 0], ny=48, nx=40, coils=6)
    one_mask = replace(moving.data, mask=moving.data.mask[:1])
    error = nrmse(method(one_mask).images, moving.truth)
    assert error < nrmse(ZeroFilled()(one_mask).images, moving.truth)
    assert relative_error(method(moving.data).images, method(one_mask).images) < 1e-5


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_units_are_kept(algorithm):
    data = replace(varying().data, whitened=False)  # whitened data have one unit only
    method = LowRankSparse(algorithm=algorithm, iterations=5)
    once, thousand = method(data), method(replace(data, kspace=1024 * data.kspace))
    assert relative_error(thousand.images, 1024 * once.images) < 1e-5
    assert thousand.facts["objective"] == pytest.approx(once.facts["objective"], rel=1e-4)


def noise_alone(level=1.0, ny=96, nx=80, frames=12, coils=6):
    """A slice without signal, every fourth line and those in the centre."""
    data = synthetic(np.stack([lines(ny, 4, 8)] * frames), ny=ny, nx=nx, coils=coils).data
    noise = level * complex_normal(np.random.default_rng(0), data.kspace.shape, np.complex64)
    return replace(data, kspace=noise * data.mask[:, None])


def test_the_units_of_the_weights_are_those_of_noise():
    problem = Problem.of(noise_alone())
    largest, deviation = problem.noise_units()
    assert np.linalg.svd(problem.start, compute_uv=False)[0] == pytest.approx(largest, rel=0.05)
    spectrum = np.fft.fft(problem.start, axis=0, norm="ortho")
    assert np.sqrt(np.mean(np.abs(spectrum) ** 2)) == pytest.approx(deviation, rel=0.02)
    cropped = noise_alone()
    cropped.maps[..., :40] = 0
    largest, _ = Problem.of(cropped).noise_units()
    assert np.linalg.svd(Problem.of(cropped).start, compute_uv=False)[0] == pytest.approx(largest, rel=0.05)


@pytest.mark.parametrize(("level", "whitened"), [(1.0, True), (1e-6, False), (300.0, False), (1e-6, True)])
def test_noise_alone_gives_nothing_above_its_units(level, whitened):
    """Scans without a noise scan have units of their own, and so have those that only count as whitened."""
    data = replace(noise_alone(level), whitened=whitened)
    result = LowRankSparse(low_rank=1.1, sparse=5, wavelet=0, device="cpu")(data)
    assert np.linalg.norm(result.images) < 0.01 * np.linalg.norm(ZeroFilled()(data).images)
    assert result.facts["noise_std"] == pytest.approx(level, rel=0.1)
    assert ("measured" in result.facts["noise_std_from"]) == (level != 1)


@pytest.mark.parametrize(("noise", "acceleration"), [(20.0, 4), (5.0, 8), (1.0, 4)])
def test_the_default_weights_are_near_the_best(noise, acceleration):
    """Whatever the noise, no pair of weights is much better, though the truth is known here."""
    offsets = (3 * frame % acceleration for frame in range(8))
    mask = np.stack([lines(48, acceleration, 6, o) for o in offsets])
    case = synthetic(mask, ny=48, nx=24, coils=6, noise=noise)
    data = replace(case.data, kspace=case.data.kspace / np.float32(noise))
    error = {
        (a, b): nrmse(
            np.abs(LowRankSparse(low_rank=a, sparse=b, device="cpu")(data).images), np.abs(case.truth) / noise
        )
        for a in (0.25, 1, 4)
        for b in (0.25, 0.5, 1, 2, 4)
    }
    plain = nrmse(np.abs(LowRankSparse(device="cpu")(data).images), np.abs(case.truth) / noise)
    assert 20 * np.log10(plain / min(error.values())) < 0.5


@pytest.mark.parametrize("sets", [1, 2])
def test_the_exact_data_step_is_what_conjugate_gradients_approach(sets):
    case = synthetic(np.repeat(lines(33, 3, 6)[None], 6, axis=0), ny=33, nx=20, coils=6)
    maps = np.concatenate([case.data.maps, case.data.maps[:, :, ::-1]])[:sets] / np.float32(sets**0.5)
    problem = Problem.of(replace(case.data, maps=maps))
    exact, near = exact_data_step(problem, 0.2), iterative_data_step(problem, 0.2)
    towards = complex_normal(np.random.default_rng(0), problem.start.shape, np.complex64)
    wanted = exact(towards, problem.start)
    residual = problem.normal(wanted) + 0.2 * wanted - problem.start - 0.2 * towards
    assert np.linalg.norm(residual) < 1e-5 * np.linalg.norm(problem.start)
    found = problem.start
    for _ in range(8):
        found = near(towards, found)
    assert relative_error(found, wanted) < 1e-4


def test_masks_that_change_and_short_series_have_no_exact_data_step():
    assert exact_data_step(Problem.of(varying().data), 0.1) is None
    few = synthetic(np.repeat(lines(64, 3, 6)[None], 2, axis=0), ny=64, nx=20, coils=2)
    assert exact_data_step(Problem.of(few.data), 0.1) is None


def test_a_few_split_steps_reach_the_minimum():
    """The split converges to what optimised gradients find with many steps, whatever its penalty."""
    case = synthetic(np.repeat(lines(48, 3, 6)[None], 8, axis=0), ny=48, nx=24, coils=6)
    problem = Problem.of(case.data)
    unit, deviation = problem.noise_units()
    weights = 20 * unit, 20 * deviation
    slow = next(islice(accelerated_steps(problem.normal, problem.start, *weights), 800, None))
    least = problem.objective(slow, *weights)
    for penalty in (0.05, 0.3):
        exact = exact_data_step(problem, penalty)
        step = next(islice(split_steps(problem, *weights, 0.0, penalty, exact), 60, None))
        assert problem.objective(step, *weights) == pytest.approx(least, rel=5e-3)
        assert relative_error(step.series, step.low_rank + step.sparse) < 1e-2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_array_library_precision_and_input_are_kept(backend, algorithm):  # noqa: F811
    data = varying().data
    other = converted(data, backend)
    result = LowRankSparse(algorithm=algorithm, iterations=8)(other)
    assert type(result.images) is type(other.kspace)
    assert result.images.dtype == other.kspace.dtype
    assert np.array_equal(as_numpy(other.kspace), data.kspace)
    assert relative_error(result.images, LowRankSparse(algorithm=algorithm, iterations=8)(data).images) < 1e-4


def test_a_second_map_set_that_is_empty_changes_nothing():
    data = varying().data
    two = replace(data, maps=np.concatenate([data.maps, 0 * data.maps]))
    result = LowRankSparse(iterations=10)(two)
    assert result.facts["map_sets"] == 2
    assert relative_error(np.abs(result.images), np.abs(LowRankSparse(iterations=10)(data).images)) < 1e-4


def test_facts_tell_how_it_ended():
    facts = LowRankSparse(algorithm="published", iterations=2, low_rank=0.02, sparse=0.005)(varying().data).facts
    assert (facts["iterations"], facts["converged"]) == (2, "no")
    assert (facts["lambda_low_rank"], facts["lambda_sparse"], facts["algorithm"]) == (0.02, 0.005, "published")
    assert facts["objective"] > 0
    assert facts["change"] > 0.0025


def test_zero_kspace_gives_zero_images():
    data = varying().data
    result = LowRankSparse()(replace(data, kspace=0 * data.kspace))
    assert not result.images.any()
    assert (result.facts["iterations"], result.facts["objective"]) == (0, 0)


def test_scans_it_cannot_do_are_named():
    data = varying(2, 2).data
    with pytest.raises(MethodError, match="this scan has one frame; use cg_sense"):
        LowRankSparse()(replace(data, kspace=data.kspace[:1], mask=data.mask[:1]))
    with pytest.raises(MethodError, match="needs coil maps"):
        LowRankSparse()(replace(data, maps=None))
    with pytest.raises(MethodError, match="sum of squares is at most 1, but it is 4"):
        LowRankSparse()(replace(data, maps=2 * data.maps))
    broken = data.kspace.copy()
    broken[0, 0, 0, 0] = np.inf
    with pytest.raises(MethodError, match="low_rank_sparse: the k-space hold 1 samples"):
        LowRankSparse()(replace(data, kspace=broken))
    with pytest.raises(ConfigError, match="sparse"):
        LowRankSparse(sparse=0)


def test_divergence_is_an_error():
    """Two equal map sets give a model of norm sqrt(2), with which steps of length 1 grow."""
    data = varying(4, 1).data
    doubled = replace(data, maps=np.concatenate([data.maps, data.maps]))
    with pytest.raises(MethodError, match="diverged in iteration"):
        LowRankSparse(algorithm="published", iterations=200, tolerance=0)(doubled)


def test_a_long_series_costs_no_more_than_its_transforms():
    """The shrinkage works on the small Gram matrix: a full decomposition would take many times as long."""
    rng = np.random.default_rng(0)
    mask = np.ones((12, 1, 1), bool)
    maps = smooth_maps(4, 96, 80)[None]
    kspace = rng.standard_normal((12, 4, 96, 80)).astype(np.complex64)
    problem = Problem.of(slice_of(kspace, np.broadcast_to(mask, (12, 96, 1)), None, maps))

    def seconds(run):
        return min(timeit.repeat(run, timer=time.process_time, number=1, repeat=3))

    steps = problem.steps("published", 0.01, 0.0025)
    next(steps)
    assert seconds(lambda: next(steps)) < 4 * seconds(lambda: problem.normal(problem.start)) + 0.05


def test_a_scan_through_the_configuration_beats_zero_filling(tmp_path):
    scan = simulate(ScanOptions(matrix=(64, 56), slices=1, phases=8, coils=6, acceleration=4, acs_lines=12, snr=40.0))
    raw = tmp_path / "scan.h5"
    scan.write(raw)
    truth = np.abs(scan.truth["image"])
    error = {}
    for name in ("LplusS", "ZeroFilled"):
        images, _ = reconstruct(raw, f"Onebreath_Cine_{name}.xml", tmp_path / f"{name}.h5", truth.shape)
        error[name] = nrmse(images, truth)
    assert error["LplusS"] < 0.4 * error["ZeroFilled"]
