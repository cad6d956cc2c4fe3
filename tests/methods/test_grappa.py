from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import MethodError
from onebreath.methods.base import SliceData
from onebreath.methods.grappa.grappa import Grappa
from onebreath.methods.zero_filled import ZeroFilled
from onebreath.mrd.buffers import kspace_of
from onebreath.mri.fourier import fft2c
from onebreath.mri.gfactor import pseudo_replica
from onebreath.mri.sampling import describe
from tests.helpers import as_numpy, backend, complex_normal, nrmse  # noqa: F401
from tests.methods.slices import lines, real, slice_of, synthetic
from tests.raw import stream

KERNELS = ["uniform", "arc"]


def object_of(truth):
    return np.abs(truth) > 0.1 * np.abs(truth).max()


def test_equals_gadgetron(shared):
    """The GRAPPA gadget's image and g-factor of the Siemens scan, without any free factor.

    Gadgetron's image is ours times sqrt(lines of the matrix / lines acquired) / R.
    """
    _, (recon_data,) = stream(shared, "siemens_recon_data_ref")
    kspace = kspace_of(recon_data.bits[0].data)
    acs = kspace_of(recon_data.bits[0].ref)[0]
    mask = np.any(kspace, axis=(1, 3))[:, :, None]
    theirs = np.load(shared / "gadgetron" / "siemens_grappa_gadget.npz")
    image, gfactor = np.abs(theirs["Image"].T), theirs["Gfactor"].T.real
    result = Grappa(grappa_validation=False)(SliceData(kspace, mask, acs, 48, None, describe(mask)))
    assert (result.facts["kernel"], result.facts["kernel_size"]) == ("uniform", "4 lines x 5 samples")
    inside = object_of(image)
    ours = np.abs(result.images[0]) * np.sqrt(144 / 36) / 3
    assert nrmse(ours[inside], image[inside]) < 0.01
    deviation = np.abs(result.gfactor[0] / gfactor - 1)[inside]
    assert np.median(deviation) < 0.02


@pytest.mark.parametrize(
    ("name", "coils", "acceleration", "limit"),
    [
        ("cardiac34ch", 12, 2, 0.022),
        ("cardiac34ch", 12, 4, 0.068),
        ("cardiac34ch", 12, 8, 0.18),
        ("cardiac34ch", 12, 24, 0.28),
        ("brain7ch", None, 3, 0.08),
    ],
)
def test_error_on_real_data(shared, name, coils, acceleration, limit):
    case = real(shared, name, acceleration, 24, coils)
    result = Grappa(gfactor=False)(case.data)
    assert result.facts["kernel"] == ("arc" if acceleration >= 8 else "uniform")
    assert nrmse(result.images, case.truth) <= limit < nrmse(ZeroFilled()(case.data).images, case.truth)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("acceleration", "size"), [(2, (64, 48)), (3, (63, 47))])
def test_unfolds(kernel, acceleration, size):
    mask = np.stack([lines(size[0], acceleration)] * 3)
    case = synthetic(mask, *size, acs=28, noise=0.2)
    result = Grappa(kernel=kernel)(case.data)
    assert result.images.dtype == np.complex64
    assert nrmse(result.images, case.truth) < 0.05 < nrmse(ZeroFilled()(case.data).images, case.truth)


@pytest.mark.parametrize("kernel", KERNELS)
def test_measured_lines_stay_and_missing_sides_stay_empty(kernel):
    """Partial Fourier: nothing beyond the range; calibration lines in the data are data; the edge line is predicted."""
    mask = lines(64, 3, 24, offset=18)
    mask[61] = False
    mask[60] = mask[63] = True
    case = synthetic(mask)
    eye = np.eye(8, dtype=np.complex64)[:, :, None, None] * np.ones((64, 48), np.float32)
    kspace = fft2c(np.stack([Grappa(kernel=kernel)(replace(case.data, maps=one[None])).images[0] for one in eye]))
    measured = case.data.kspace[0][:, mask]
    assert nrmse(kspace[:, mask], measured) < 1e-5
    assert np.abs(kspace[:, :18]).max() < 1e-5 * np.abs(measured).max()
    assert np.all(np.abs(kspace[:, 19]).max(axis=1) > 0.1)


def test_lattices_that_move_from_frame_to_frame():
    masks = np.stack([lines(64, 3, offset=frame % 3) for frame in range(6)])
    case = synthetic(masks, noise=0.2)
    result = Grappa()(case.data)
    assert (case.data.sampling.family, result.facts["kernel"]) == ("kt_uniform", "uniform")
    assert nrmse(result.images, case.truth) < 0.05
    alone = slice_of(case.full[4:5], case.data.mask[4:5], None, case.data.maps)
    single = Grappa()(replace(alone, acs=case.data.acs, acs_first=case.data.acs_first))
    assert nrmse(result.images[4], single.images[0]) < 1e-5
    assert nrmse(result.gfactor[4], single.gfactor[0]) < 1e-5


def test_too_few_calibration_lines_at_r_24():
    case = synthetic(lines(192, 24, 24), ny=192)
    with pytest.raises(MethodError, match=r"R = 24 .* at least 28 calibration lines, there are 24; use kernel 'arc'"):
        Grappa(kernel="uniform")(case.data)
    result = Grappa()(case.data)
    assert result.facts["kernel"] == "arc"
    assert "there are 24" in result.facts["kernel_reason"]
    assert result.facts["left_at_zero"] == 0


def test_irregular_masks_need_arc():
    rng = np.random.default_rng(4)
    case = synthetic(lines(64, 64, 24) | (rng.random(64) < 0.45), noise=0.2)
    with pytest.raises(MethodError, match=r"not a lattice of lines .*irregular_acs.*use kernel 'arc'"):
        Grappa(kernel="uniform")(case.data)
    result = Grappa()(case.data)
    assert result.facts["kernel_reason"].startswith("the mask is not a lattice")
    assert nrmse(result.images, case.truth) < 0.15
    assert result.gfactor is not None


def test_masks_of_samples_have_no_closed_form():
    rng = np.random.default_rng(4)
    mask = rng.random((1, 64, 48)) < 0.6
    mask[:, 20:44] = True
    case = synthetic(mask, noise=0.2)
    result = Grappa()(case.data)
    assert result.gfactor is None
    assert result.facts["gfactor"] == "none: the mask depends on the readout"
    assert nrmse(result.images, case.truth) < 0.1


def test_fewer_source_lines_are_said():
    result = Grappa(kernel="uniform", grappa_validation=False)(synthetic(lines(64, 4, 24)).data)
    assert result.facts["kernel_size"] == "2 lines x 5 samples"
    assert "2 source lines instead of 4, for 24 calibration lines" in result.facts["kernel_reason"]


def _decibels(result, case):
    return 20 * np.log10(nrmse(np.abs(result.images), np.abs(case.truth)))


@pytest.mark.parametrize(("acceleration", "noise", "gain"), [(3, 1.0, 2.5), (4, 0.5, 1.0)])
def test_validated_kernel_of_many_channels(acceleration, noise, gain):
    """Four source lines where they are better, fewer where they are not: by `gain` dB over the cautious choice."""
    case = synthetic(lines(128, acceleration, 20), 128, 128, coils=16, acs=20, noise=noise)
    validated, cautious = (Grappa(gfactor=False, grappa_validation=one)(case.data) for one in (True, False))
    assert _decibels(validated, case) < _decibels(cautious, case) - gain
    assert "validated on 20 calibration lines" in validated.facts["kernel_reason"]


def test_validation_keeps_the_small_kernel_of_a_heart(shared):
    case = real(shared, "cardiac34ch", 3, 20, 12)
    validated, cautious = (Grappa(gfactor=False, grappa_validation=one)(case.data) for one in (True, False))
    assert validated.facts["kernel_size"] == "2 lines x 5 samples"
    assert _decibels(validated, case) < _decibels(cautious, case)


def test_fully_sampled_slices_only_need_combining():
    case = synthetic(np.ones((2, 64), bool), acs=None, noise=0)
    result = Grappa()(case.data)
    assert result.facts["kernel"] == "none"
    assert nrmse(result.images, case.truth) < 1e-5
    np.testing.assert_allclose(result.gfactor, 1, rtol=1e-5)


@pytest.mark.parametrize("algorithm", ["inati", "walsh"])
def test_own_coil_maps(algorithm):
    case = synthetic(lines(64, 2, 24), noise=0.2)
    result = Grappa(coil_map_algorithm=algorithm)(replace(case.data, maps=None))
    assert result.facts["coil_maps"] == algorithm
    inside = object_of(case.truth)
    assert nrmse(np.abs(result.images[inside]), np.abs(case.truth[inside])) < 0.05


@pytest.mark.parametrize(
    ("kernel", "mask"),
    [
        ("uniform", lines(48, 3)),
        ("uniform", lines(48, 3, 16)),
        ("uniform", lines(48, 3, last=34)),
        ("arc", lines(48, 3, 16)),
        ("arc", lines(48, 1) & (np.arange(48) % 5 != 1)),
    ],
    ids=["lattice", "with acs", "partial fourier", "arc", "arc irregular"],
)
def test_gfactor_equals_replicas(kernel, mask):
    """200 replicas of the noise as 200 frames, which share one calibration."""
    case = synthetic(mask, ny=48, nx=40, coils=4)
    result = Grappa(kernel=kernel)(case.data)
    noise = complex_normal(np.random.default_rng(2), (200, *case.full.shape[1:]), np.complex64)
    images = Grappa(kernel=kernel, gfactor=False)(replace(case.data, kspace=noise * case.data.mask[:, None])).images
    sampling = case.data.sampling
    covered = 1.0 if sampling.acquired[1] > 44 else (sampling.acquired[1] + 1) / 48
    replicas = np.sqrt((np.var(images.real, axis=0) + np.var(images.imag, axis=0)) / 2 / covered / sampling.reduction)
    ratio = replicas / result.gfactor[0]
    assert np.mean(ratio) == pytest.approx(1, abs=0.01)
    assert np.std(ratio) < 0.045
    assert np.corrcoef(replicas.ravel(), result.gfactor[0].ravel())[0, 1] > (0.98 if kernel == "uniform" else 0.9)


def test_gfactor_equals_the_replica_estimator():
    case = synthetic(lines(48, 3), ny=48, nx=40, coils=4)
    method = Grappa()
    gfactor = method(case.data).gfactor
    method = method.for_replicas()  # with the kernel that was chosen without the replicas' noise
    replicas = pseudo_replica(
        lambda kspace: method(replace(case.data, kspace=kspace)).images,
        case.data.kspace,
        case.data.mask,
        case.data.sampling.acceleration,
        replicas=200,
    )
    assert np.mean(replicas / gfactor) == pytest.approx(1, abs=0.01)
    assert np.corrcoef(replicas.ravel(), gfactor.ravel())[0, 1] > 0.98


def test_noise_is_one_fully_sampled_and_g_sqrt_r_accelerated():
    frames = 400
    for acceleration in (1, 2):
        case = synthetic(np.stack([lines(32, acceleration)] * frames), ny=32, nx=24, noise=0)
        noise = complex_normal(np.random.default_rng(8), case.full.shape, np.complex64) * case.data.mask[:, None]
        calibration = synthetic(lines(32, acceleration), ny=32, nx=24).data.acs
        result = Grappa()(replace(case.data, kspace=noise, acs=calibration))
        expected = result.gfactor[0] * np.sqrt(acceleration)
        assert np.mean(np.std(result.images.real, axis=0) / expected) == pytest.approx(1, abs=0.02)
        assert np.mean(np.std(result.images.imag, axis=0) / expected) == pytest.approx(1, abs=0.02)


def test_library_of_the_input_is_kept(backend):  # noqa: F811
    data = synthetic(lines(64, 2, 24)).data
    given = replace(data, **{name: backend(getattr(data, name)) for name in ("kspace", "mask", "acs", "maps")})
    images = Grappa()(given).images
    assert type(images) is type(given.kspace)
    assert nrmse(as_numpy(images), Grappa()(data).images) < 1e-6


def test_zero_kspace_gives_a_zero_image():
    data = synthetic(lines(64, 2, 24)).data
    assert not Grappa()(replace(data, kspace=0 * data.kspace)).images.any()


def test_calibration_lines_that_cannot_be_used_are_named():
    data = synthetic(lines(64, 2, 24)).data
    one = synthetic(lines(64, 2, 24), coils=1).data
    with pytest.raises(MethodError, match="at least 2 channels"):
        Grappa()(one)
    with pytest.raises(MethodError, match=r"needs calibration lines \(ACS\), and this scan has none"):
        Grappa()(replace(data, acs=None))
    empty, broken = data.acs.copy(), data.acs.copy()
    empty[:, 3:5] = 0
    broken[0, 0, 0] = np.inf
    with pytest.raises(MethodError, match=r"2 of 24 calibration lines hold only zeros \(first: line 23"):
        Grappa()(replace(data, acs=empty))
    with pytest.raises(MethodError, match="the calibration lines hold 1 samples"):
        Grappa()(replace(data, acs=broken))
    with pytest.raises(MethodError, match="arc kernel needs at least 2 calibration lines"):
        Grappa(kernel="arc")(replace(data, acs=data.acs[:, :1]))


@pytest.mark.parametrize("pattern", ["moving", "the same"])
def test_a_frame_without_lines_has_no_gfactor_and_takes_none_from_others(pattern):
    mask = np.stack([lines(64, 4, acs=24, offset=frame % 4 if pattern == "moving" else 0) for frame in range(4)])
    mask[2] = False
    made = Grappa()(synthetic(mask).data)
    assert len(made.gfactor) == 4
    assert not made.gfactor[2].any()
    assert not made.images[2].any()
    assert all(np.median(made.gfactor[frame]) > 0.9 for frame in (0, 1, 3))
