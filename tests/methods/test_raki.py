from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from onebreath.errors import ConfigError, MethodError
from onebreath.methods.base import method_class
from onebreath.methods.grappa.grappa import Grappa
from onebreath.methods.raki.raki import Raki
from onebreath.methods.zero_filled import ZeroFilled
from onebreath.mri.fourier import fft2c
from tests.helpers import nrmse
from tests.methods.slices import lines, real, slice_of, smooth_maps, synthetic

SMALL = {
    "channels_1": 32,
    "channels_2": 16,
    "iterations": 60,
    "device": "cpu",
    "gfactor": "none",
}
NOISE = {**SMALL, "iterations": 10}


def test_is_found_by_name():
    assert method_class("raki") is Raki


@pytest.mark.parametrize("targets", ["missing", "all"])
@pytest.mark.parametrize(("acceleration", "size"), [(2, (64, 48)), (3, (63, 47))])
def test_unfolds(targets, acceleration, size):
    case = synthetic(lines(size[0], acceleration), *size, acs=28, noise=0.2)
    result = Raki(**SMALL, targets=targets)(case.data)
    assert result.images.dtype == np.complex64
    assert result.facts["reconstructed_by"] == "raki"
    assert nrmse(result.images, case.truth) < 0.08 < nrmse(ZeroFilled()(case.data).images, case.truth)


def test_beats_grappa_with_the_same_kernel_on_real_data(shared):
    case = real(shared, "brain7ch", 4, 40)
    raki = Raki(iterations=30, gfactor="none", device="cpu")(case.data)
    grappa = Grappa(kernel="uniform", grappa_kSize_E1=2, grappa_validation=False, gfactor=False)(case.data)
    assert nrmse(raki.images, case.truth) < 0.9 * nrmse(grappa.images, case.truth)


@pytest.mark.parametrize("targets", ["missing", "all"])
def test_gfactor_agrees_with_noise_replicas(targets):
    case = synthetic(lines(48, 3), 48, 32, acs=24, noise=0.02)
    exact = Raki(**{**NOISE, "gfactor": "exact"}, targets=targets, gfactor_samples=0)(case.data)
    replicas = Raki(**{**NOISE, "gfactor": "mc"}, targets=targets, gfactor_replicas=200)(case.data)
    assert exact.facts["gfactor"] == "exact, standard error 0.0%"
    assert replicas.facts["gfactor"] == "mc, standard error 3.5%"
    inside = np.abs(case.truth[0]) > 50
    # The replicas' noise is not small against the outer k-space, where the network is then less linear.
    assert np.mean(exact.gfactor[0][inside]) == pytest.approx(np.mean(replicas.gfactor[0][inside]), rel=0.1)


def test_cine_shares_weights_and_lattices_may_move():
    masks = np.stack([lines(64, 3, offset=frame % 3) for frame in range(4)])
    case = synthetic(masks, noise=0.2)
    result = Raki(**SMALL)(case.data)
    assert nrmse(result.images, case.truth) < 0.12
    alone = replace(case.data, kspace=case.data.kspace[:1], mask=case.data.mask[:1])
    single = Raki(**SMALL)(alone)
    assert nrmse(result.images[0], single.images[0]) < 1e-5


def after_a_breath():
    """Two frames with calibration lines of their own, seen through other coil maps than the scan's calibration."""
    case = synthetic(np.stack([lines(64, 3, acs=24)] * 2), noise=0.2)
    maps = np.roll(smooth_maps(8, 64, 48), 12, axis=2)
    full = fft2c(maps * case.truth[:, None]) + case.full - fft2c(smooth_maps(8, 64, 48) * case.truth[:, None])
    return replace(slice_of(full, case.data.mask, 24, maps[None]), acs=case.data.acs)


def miss(network, kspace):
    """Relative error of what a network predicts of neighbouring lines (coil, y, x)."""
    sources, wanted = network.examples(torch.tensor(kspace))
    predicted = network(sources, network.acceleration)[:, :, :, : wanted.shape[3]]
    return nrmse(predicted, wanted)


def test_refinement_learns_from_each_frames_own_lines():
    data = after_a_breath()
    shared_by_all = Raki(**SMALL).learner.learn(data, data.acs)
    refined = Raki(**SMALL, refine_iterations=40).learner.learn(data, data.acs)
    assert "refined_frames" not in shared_by_all.facts
    assert refined.facts["refined_frames"] == "2 of 2"
    own = data.kspace[:, :, 20:44]
    for frame in range(2):
        assert miss(refined.networks[frame], own[frame]) < 0.6 * miss(shared_by_all.networks[frame], own[frame])
    assert miss(shared_by_all.networks[0], own[1]) == miss(shared_by_all.networks[1], own[1])


def test_refinement_needs_lines_of_every_frame():
    case = synthetic(np.stack([lines(64, 3)] * 2))
    with pytest.raises(MethodError, match="refine_iterations needs calibration lines in every frame"):
        Raki(**SMALL, refine_iterations=5)(case.data)


def test_refinement_ends_with_the_time_budget(clock):
    data = after_a_breath()
    result = Raki(**SMALL, refine_iterations=10_000, time_budget_s=1)(data)
    assert result.facts["reconstructed_by"] == "raki"
    assert result.facts["refined_frames"] == "0 of 2, then the time budget was spent"


def test_calibration_lines_of_another_contrast_serve():
    """What the network learns belongs to the coils, not to the scale or contrast of its examples."""
    case = synthetic(lines(64, 2), noise=0.2)
    y, x = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 48), indexing="ij")
    other = 3000 * (np.abs(y) < 0.85) * (np.abs(x) < 0.8) * (1 + 0.5 * np.cos(6 * y)) * np.exp(1j * x)
    acs = fft2c(smooth_maps(8, 64, 48) * other)[:, 20:44].astype(np.complex64)
    result = Raki(**SMALL)(replace(case.data, acs=acs))
    assert nrmse(result.images, case.truth) < 0.1
    with pytest.raises(MethodError, match="samples along the readout, the k-space has 48"):
        Raki(**SMALL)(replace(case.data, acs=acs[:, :, ::2]))


def test_slope_one_is_linear_as_grappa_is():
    """Noise is then passed on as the frozen derivative says; with another slope the true one differs."""
    case = synthetic(lines(48, 3), 48, 32, acs=24, noise=0.2)
    cheap = {**SMALL, "iterations": 10, "gfactor_samples": 0}
    for slope, equal in ((1.0, True), (0.2, False)):
        one, two = (Raki(**{**cheap, "gfactor": kind}, slope=slope)(case.data) for kind in ("exact", "frozen"))
        assert (nrmse(one.gfactor, two.gfactor) < 1e-4) == equal


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by 10 ms whenever it is read, instead of the machine's."""
    ticks = count()
    monkeypatch.setattr("time.monotonic", lambda: 0.01 * next(ticks))


def kspace_of_coils(case, **parameters):
    """K-space (2, y, x) of the first coils that the method fills, each through maps that let only this coil pass."""
    eye = np.eye(8, dtype=np.complex64)[:2, :, None, None] * np.ones((64, 48), np.float32)
    method = Raki(**{**SMALL, "iterations": 5}, **parameters)
    return fft2c(np.stack([method(replace(case.data, maps=one[None])).images[0] for one in eye]))


def test_measured_lines_stay_and_missing_sides_stay_empty():
    mask = lines(64, 3, offset=18)
    case = synthetic(mask)
    kspace, measured = kspace_of_coils(case), case.data.kspace[0, :2][:, mask]
    assert nrmse(kspace[:, mask], measured) < 1e-5
    assert np.abs(kspace[:, :18]).max() < 1e-5 * np.abs(measured).max()
    assert np.all(np.abs(kspace[:, 19]).max(axis=1) > 0.1)
    predicted = kspace_of_coils(case, targets="all")
    assert 0.01 < nrmse(predicted[:, mask], measured) < 0.3


def test_iraki_enlarges_its_calibration_lines():
    case = synthetic(lines(64, 2), acs=20, noise=0.2)
    result = Raki(**SMALL, variant="iraki", rounds=3, enlarged_lines=40)(case.data)
    assert result.facts["rounds"] == "3 of 3"
    assert result.facts["iterations"] == 60 + 30 + 30
    assert result.facts["network"].startswith("4 lines x 11 samples")
    assert nrmse(result.images, case.truth) < 0.08


def test_iraki_needs_fewer_lines_than_its_kernel_spans():
    """Its first images are those of a small GRAPPA kernel; the network learns from the enlarged lines."""
    case = synthetic(lines(64, 4), acs=12, noise=0.2)
    with pytest.raises(MethodError, match="a kernel of 4 lines at R = 4 needs at least"):
        Raki(**SMALL, kernel_lines=4)(case.data)
    assert Raki(**SMALL, variant="iraki", rounds=2)(case.data).facts["rounds"] == "2 of 2"
    with pytest.raises(
        MethodError, match="a kernel of 2 lines at R = 4 needs at least 8 calibration lines, there are 6"
    ):
        Raki(**SMALL, variant="iraki")(synthetic(lines(64, 4), acs=6).data)


def test_iraki_learns_from_what_was_acquired():
    mask = lines(64, 2, offset=20)
    masks = np.stack([mask, mask & False, mask])
    result = Raki(**SMALL, variant="iraki", rounds=2)(synthetic(masks, acs=20, noise=0.2).data)
    alone = Raki(**SMALL, variant="iraki", rounds=2)(synthetic(mask, acs=20, noise=0.2).data)
    assert result.facts["loss"] == pytest.approx(alone.facts["loss"], rel=0.2)
    assert not result.images[1].any()


def test_iraki_within_a_time_budget_has_fewer_rounds(clock):
    case = synthetic(lines(64, 2), acs=20, noise=0.2)
    result = Raki(**SMALL, variant="iraki", rounds=100, time_budget_s=1)(case.data)
    done, planned = result.facts["rounds"].split(" of ")
    assert 1 <= int(done) < int(planned) == 100


def test_a_time_budget_that_is_too_short_gives_grappa_and_says_so(clock):
    case = synthetic(lines(64, 3))
    result = Raki(time_budget_s=1, iterations=10_000, device="cpu")(case.data)
    assert result.facts["reconstructed_by"] == "grappa"
    assert result.facts["fallback_reason"] == "the time budget of 1 s is too short for 10000 iterations"
    assert np.array_equal(result.images, Grappa()(case.data).images)
    assert result.gfactor is not None


def test_a_warm_start_takes_the_previous_weights():
    case, after = (synthetic(lines(64, 3), noise=noise) for noise in (1, 2))
    method = Raki(**SMALL, schedule="published", warm_start=True)
    first, second = method(case.data), method(after.data)
    assert (first.facts["weights_from"], second.facts["weights_from"]) == ("seed 0", "the previous slice's")
    assert second.facts["loss"] < first.facts["loss"]


def test_calibration_lines_seen_before_need_no_learning(monkeypatch):
    """Those of another set, or of a noise replica."""
    case, other = synthetic(lines(64, 3)), synthetic(lines(64, 3), noise=2)
    method, trained = Raki(**SMALL, seed=1), []
    train = method.learner._train
    monkeypatch.setattr(method.learner, "_train", lambda *scan: trained.append(1) or train(*scan))
    for data in (case.data, replace(case.data, kspace=2 * case.data.kspace), other.data, case.data):
        method(data)
    assert len(trained) == 2
    assert np.array_equal(method(case.data).images, Raki(**SMALL, seed=1)(case.data).images)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("variant", ["raki", "iraki"])
def test_the_gpu_gives_the_image_of_the_cpu(variant):
    slices = [synthetic(lines(64, 3), noise=noise).data for noise in (0.2, 0.5)]
    parameters = {**SMALL, "variant": variant, "rounds": 2, "gfactor": "exact"}
    wanted = [Raki(**parameters)(data) for data in slices]
    method = Raki(**{**parameters, "device": "cuda"})
    method.foresee(slices)
    for data, expected in zip(slices, wanted, strict=True):
        found = method(data)
        assert found.facts["device"] == "cuda:0"
        assert nrmse(found.images, expected.images) < 0.01
        assert nrmse(found.gfactor, expected.gfactor) < 0.02


class TestWhatCannotBeDone:
    @pytest.mark.parametrize(
        ("mask", "ny", "acs", "words"),
        [
            (lines(192, 24), 192, 24, "2 lines at R = 24 needs at least 28 calibration lines, there are 24"),
            (lines(64, 4), 64, 5, "needs at least 8 calibration lines, there are 5"),
            (np.random.default_rng(4).random(64) < 0.45, 64, 24, "not a lattice of lines .*irregular"),
            (np.ones(64, bool), 64, 24, "nothing to predict"),
        ],
    )
    def test_is_an_error_or_grappa(self, mask, ny, acs, words):
        case = synthetic(mask, ny, acs=acs)
        with pytest.raises(MethodError, match=words):
            Raki(**SMALL)(case.data)
        result = Raki(**SMALL, unsuitable="grappa")(case.data)
        assert result.facts["reconstructed_by"] == "grappa"
        assert nrmse(result.images, Grappa()(case.data).images) == 0

    def test_without_calibration(self):
        case = synthetic(lines(64, 3), acs=None)
        with pytest.raises(MethodError, match="raki needs calibration lines"):
            Raki(unsuitable="grappa")(case.data)
        case = synthetic(lines(64, 3))
        with pytest.raises(MethodError, match="raki: 24 of 24 calibration lines hold only zeros"):
            Raki()(replace(case.data, acs=np.zeros_like(case.data.acs)))
        with pytest.raises(MethodError, match="at least 2 channels"):
            Raki()(synthetic(lines(64, 3), coils=1).data)

    def test_wrong_parameters(self):
        with pytest.raises(ConfigError, match=r"kernel_samples: .*must be odd"):
            Raki(kernel_samples=4)
        with pytest.raises(ConfigError, match="slope"):
            Raki(slope=1.5)

    def test_iraki_with_moving_lattices(self):
        masks = np.stack([lines(64, 3, offset=frame % 3) for frame in range(3)])
        with pytest.raises(MethodError, match="frames that share their lines"):
            Raki(**SMALL, variant="iraki")(synthetic(masks).data)
