from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import MethodError
from onebreath.methods.base import SliceData
from onebreath.methods.cg_sense import CgSense, conjugate_gradients
from onebreath.methods.zero_filled import ZeroFilled
from onebreath.mri.fourier import fft2c
from onebreath.mri.sampling import describe
from onebreath.mri.sense import SenseOperator
from tests.helpers import as_numpy, backend, complex_normal, nrmse, relative_error  # noqa: F401
from tests.methods.slices import lines, real, slice_of, smooth_maps, synthetic


def converted(data, convert):
    """The slice as arrays of another library."""
    return replace(data, **{name: convert(getattr(data, name)) for name in ("kspace", "mask", "acs", "maps")})


@pytest.mark.parametrize(("number", "regularisation"), [(0, 1e-3), (1, 1e-3), (2, 1e-2)])
def test_equals_bart(shared, backend, number, regularisation):  # noqa: F811
    golden = np.load(shared / "golden" / "bart_pics.npz")
    mask = golden["in/mask_lines"].astype(bool)[None, :, None]
    data = slice_of(golden["in/kspace"][None], mask, 24, golden["in/maps"][None])
    result = CgSense(regularisation=regularisation, device="cpu")(converted(data, backend))
    expected = golden[f"out/pics{number}"] / golden["cfg/pics_global_phase_of_tool"]
    assert relative_error(result.images[0], expected) < 1e-4


@pytest.mark.parametrize(
    ("name", "coils", "acceleration", "limit"),
    [("cardiac34ch", 12, 3, 0.052), ("cardiac34ch", 12, 4, 0.100), ("brain7ch", None, 3, 0.080)],
)
def test_error_on_real_data(shared, name, coils, acceleration, limit):
    case = real(shared, name, acceleration, 32, coils)
    error = nrmse(CgSense()(case.data).images, case.truth)
    assert error <= limit
    assert error < 0.5 * nrmse(ZeroFilled()(case.data).images, case.truth)


def test_solves_the_normal_equations():
    case = synthetic(lines(64, 3, 12))
    operator = SenseOperator(case.data.maps.astype(complex), case.data.mask)
    rhs = operator.adjoint(case.data.kspace.astype(complex))[None]
    x, progress = conjugate_gradients(operator, rhs, 0.01, 200, 1e-12)
    assert progress.converged
    assert nrmse(operator.normal(x) + 0.01 * x, rhs) < 1e-11


def test_frames_with_their_own_masks_do_not_influence_each_other():
    rng = np.random.default_rng(1)
    masks = np.stack([lines(64, 3, 8, offset) for offset in (0, 1, 2)] + [lines(64, 2) | (rng.random(64) < 0.4)])
    case = synthetic(masks)
    together = CgSense(device="cpu")(case.data)
    for i in range(len(masks)):
        alone = SliceData(
            case.data.kspace[i : i + 1], case.data.mask[i : i + 1], None, 0, case.data.maps, case.data.sampling
        )
        assert nrmse(together.images[i], CgSense(device="cpu")(alone).images[0]) < 1e-5
    assert nrmse(together.images, case.truth) < 0.1


def test_two_map_sets_unfold_an_object_larger_than_the_field_of_view():
    ny, nx, coils = 96, 48, 8
    maps, image = smooth_maps(coils, ny, nx), synthetic(np.ones(ny, bool), ny=ny).truth[0]
    fov = slice(16, 80)
    folded = [
        np.roll(part * np.isin(np.arange(ny), rows)[:, None], shift, axis=-2)
        for part, rows, shift in (
            (maps * image, range(16, 80), 0),
            (maps * image, range(16), 64),
            (maps * image, range(80, 96), -64),
        )
    ]
    coil_images = np.sum([one[:, fov] for one in folded], axis=0)
    second = np.zeros((coils, 64, nx), np.complex64)
    second[:, 48:], second[:, :16] = maps[:, :16], maps[:, 80:]
    sets = np.stack([maps[:, fov], second])
    outside = np.zeros((64, nx), np.complex64)
    outside[48:], outside[:16] = image[:16], image[80:]
    kspace, mask = fft2c(coil_images)[None], lines(64, 2, 16)[None, :, None]
    expected = np.sqrt(np.abs(image[fov]) ** 2 + np.abs(outside) ** 2)
    two = CgSense(iterations=100, regularisation=1e-4)(slice_of(kspace, mask, 16, sets))
    one = CgSense(iterations=100, regularisation=1e-4)(slice_of(kspace, mask, 16, sets[:1]))
    assert two.facts["map_sets"] == 2
    assert nrmse(np.abs(two.images[0]), expected) < 0.02
    assert nrmse(np.abs(one.images[0]), np.abs(image[fov])) > nrmse(np.abs(two.images[0]), expected)


def test_facts_tell_how_it_ended():
    data = synthetic(lines(64, 4, 8)).data
    short = CgSense(iterations=2)(data).facts
    assert short["iterations"] == 2
    assert short["converged"] == "no"
    done = CgSense(regularisation=0.1, tolerance=1e-3)(data).facts
    assert done["converged"] == "yes"
    assert done["residual"] <= 1e-3
    assert done["iterations"] < 30


def test_zero_kspace_gives_a_zero_image_and_says_so():
    data = synthetic(np.stack([lines(64, 2, 8)] * 2)).data
    kspace = data.kspace.copy()
    kspace[1] = 0
    result = CgSense()(replace(data, kspace=kspace))
    assert result.facts["empty_frames"] == 1
    assert np.all(result.images[1] == 0)
    assert np.all(np.isfinite(result.images))
    everything = CgSense()(replace(data, kspace=0 * kspace))
    assert everything.facts["iterations"] == 0
    assert not everything.images.any()


def test_precision_device_and_input_are_kept(backend):  # noqa: F811
    data = converted(synthetic(lines(64, 2, 8)).data, backend)
    before = as_numpy(data.kspace).copy()
    images = CgSense(device="cpu")(data).images
    assert type(images) is type(data.kspace)
    assert images.dtype == data.kspace.dtype
    assert np.array_equal(as_numpy(data.kspace), before)


def test_noise_is_that_of_the_gfactor_map():
    case = synthetic(np.stack([lines(32, 2)] * 300), ny=32, nx=24, coils=6, acs=None, noise=0)
    noise = complex_normal(np.random.default_rng(5), case.full.shape, np.complex64)
    replicas = slice_of(noise, case.data.mask, None, case.data.maps)
    images = CgSense(regularisation=0)(replicas).images
    one = slice_of(noise[:1], case.data.mask[:1], None, case.data.maps)
    gfactor = CgSense(regularisation=0, gfactor_replicas=200)(one).gfactor
    measured = np.sqrt((np.var(images.real, axis=0) + np.var(images.imag, axis=0)) / 2)
    assert gfactor.shape == (1, 32, 24)
    assert np.median(measured / (gfactor[0] * np.sqrt(2))) == pytest.approx(1, abs=0.02)


def test_scans_it_cannot_do_are_named():
    data = synthetic(lines(64, 2, 8)).data
    with pytest.raises(MethodError, match="needs coil maps"):
        CgSense()(replace(data, maps=None))
    broken = data.kspace.copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(MethodError, match="cg_sense: the k-space hold 1 samples"):
        CgSense()(replace(data, kspace=broken))


def test_cuda_that_is_not_there_is_an_error():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(MethodError, match="'cuda' was asked for"):
        CgSense(device="cuda")(synthetic(lines(64, 2, 8)).data)


@pytest.mark.cuda
def test_gpu_and_cpu_agree():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    data = synthetic(np.stack([lines(64, 3, 16)] * 4)).data
    gpu = CgSense(device="cuda", gfactor_replicas=4)(data)
    cpu = CgSense(device="cpu", gfactor_replicas=4)(data)
    assert isinstance(gpu.images, np.ndarray)
    assert "cuda" in gpu.facts["backend"]
    assert relative_error(gpu.images, cpu.images) < 1e-4
    assert relative_error(gpu.gfactor, cpu.gfactor) < 1e-3


def test_description_of_a_mask_for_every_sample():
    rng = np.random.default_rng(2)
    mask = rng.random((1, 64, 48)) < 0.5
    mask[:, 24:40, 16:32] = True
    case = synthetic(mask, acs=None)
    assert describe(mask).family.startswith("irregular")
    assert nrmse(CgSense()(case.data).images, case.truth) < 0.05


@pytest.mark.parametrize("noise", [1.0, 10.0, 40.0])
@pytest.mark.parametrize("acceleration", [2, 4])
def test_weights_by_the_noise_are_about_the_best_of_a_grid(noise, acceleration):
    """Regularisation by the noise is within 3 % of the best of a grid, which only who has the truth could choose."""
    case = synthetic(lines(64, acceleration, 12), noise=noise)
    data = replace(case.data, kspace=case.data.kspace / np.float32(noise), acs=case.data.acs / np.float32(noise))
    grid = [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3]
    errors = [nrmse(CgSense(regularisation=value)(data).images, case.truth / noise) for value in grid]
    made = CgSense(regularisation="noise")(data)
    assert nrmse(made.images, case.truth / noise) <= 1.03 * min(errors)
    assert made.facts["expected_image"] == "that of the calibration lines"
    assert made.facts["regularisation"] > 0


def test_an_expected_image_that_explains_nothing_is_not_used():
    """Calibration lines of another contrast, or none: the image is regularised towards zero, and the facts say so."""
    case = synthetic(lines(64, 3, 12), noise=5.0)
    data = replace(case.data, kspace=case.data.kspace / np.float32(5))
    usual = nrmse(CgSense()(data).images, case.truth / 5)
    for acs in (np.ascontiguousarray(case.data.acs[..., ::-1]), None):
        made = CgSense(regularisation="noise")(replace(data, acs=acs))
        assert made.facts["expected_image"] == "zero"
        assert nrmse(made.images, case.truth / 5) <= usual
    nothing = CgSense(regularisation="noise")(replace(data, kspace=0 * data.kspace))
    assert np.isfinite(nothing.images).all()


def test_without_noise_lines_nothing_is_weighed_by_the_noise():
    """The faintest part of k-space may be signal: a scan with little noise would be smoothed by it."""
    data = replace(synthetic(lines(64, 3, 12), noise=0).data, whitened=False)
    made = CgSense(regularisation="noise")(data)
    assert made.facts["expected_image"] == "none, as the noise is not known"
    assert np.array_equal(made.images, CgSense()(data).images)
