"""Virtual conjugate coils of RAKI and iRAKI."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import ConfigError, MethodError
from onebreath.methods.raki.raki import Raki
from onebreath.methods.raki.virtual_coils import doubled_kspace, problem_of, with_virtual
from onebreath.mri.fourier import fft2c, ifft2c
from tests.helpers import complex_normal, nrmse
from tests.methods.slices import lines, slice_of, smooth_maps, synthetic

SMALL = {"channels_1": 32, "channels_2": 16, "iterations": 60, "device": "cpu", "gfactor": "none"}


@pytest.mark.parametrize("size", [(12, 10), (13, 9)])
def test_the_image_of_a_virtual_coil_is_the_conjugate(size):
    images = complex_normal(np.random.default_rng(0), (3, *size), np.complex64)
    doubled = doubled_kspace(fft2c(images), size[0] // 2)
    np.testing.assert_allclose(ifft2c(doubled), np.concatenate([images, images.conj()]), atol=1e-5)


def test_calibration_lines_are_those_whose_mirror_image_was_measured_too():
    case = synthetic(lines(64, 2), 64, 48, acs=24)
    data, acs = with_virtual(case.data, case.data.acs)
    full = doubled_kspace(case.full[0], 32)
    assert (data.acs_first, acs.shape) == (21, (16, 23, 48))
    np.testing.assert_allclose(acs, full[:, 21:44], atol=1e-4)
    assert data.kspace.shape == (1, 16, 64, 48)


def few_coils(seed=0):
    """Three channels, R = 3: too few for what they see alone; the object's phase is nearly flat."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(-1, 1, 72), np.linspace(-1, 1, 64), indexing="ij")
    texture = ifft2c(fft2c(rng.random((72, 64))) * (np.hypot(y, x) < 0.4)).real
    truth = (100 * (np.hypot(y / 0.85, x / 0.8) < 1) * (0.6 + texture) * np.exp(0.3j * x)).astype(np.complex64)[None]
    maps = smooth_maps(3, 72, 64)
    mask = lines(72, 3)[None, :, None]
    noise = 0.1 * complex_normal(rng, (1, 3, 72, 64), np.complex64)
    return slice_of(fft2c(maps * truth[:, None]) + noise, mask, 32, maps[None]), truth


@pytest.mark.parametrize("variant", [{}, {"variant": "iraki", "rounds": 2, "enlarged_lines": 40, "kernel_lines": 2}])
def test_few_coils_unfold_better_with_them(variant):
    data, truth = few_coils()
    alone = Raki(**SMALL, **variant)(data)
    together = Raki(**SMALL, **variant, virtual_coils=True)(data)
    assert together.facts["virtual_coils"] == 3
    assert "virtual_coils" not in alone.facts
    assert nrmse(together.images, truth) < 0.9 * nrmse(alone.images, truth)


def test_noise_replicas_give_the_gfactor_of_the_magnitude():
    """The noise of a mirrored channel is the conjugate of its channel's, so that the phase holds less of the noise."""
    data, truth = few_coils()
    method = Raki(**{**SMALL, "iterations": 5, "gfactor": "mc"}, gfactor_replicas=24, virtual_coils=True)
    found = method(data)
    assert found.gfactor.shape == (1, 72, 64)
    assert found.facts["gfactor"] == "mc, standard error 14.4%"
    rng = np.random.default_rng(6)
    noise = complex_normal(rng, (24, *data.kspace.shape), np.complex64) * data.mask[:, None]
    repeated = np.stack([method(replace(data, kspace=data.kspace + one)).images for one in noise])
    inside = np.abs(truth) > 0.5 * np.abs(truth).max()
    along, across = (
        np.linalg.norm(part(repeated * np.exp(-1j * np.angle(found.images))).std(axis=0, ddof=1)[inside])
        for part in (np.real, np.imag)
    )
    assert across < 0.8 * along
    assert np.linalg.norm(found.gfactor[inside]) * np.sqrt(3) == pytest.approx(along, rel=0.05)


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (synthetic(lines(64, 3), 64, 48), r"lie symmetrically about the centre line 32; .*R = 3"),
        (synthetic(lines(64, 2, last=44), 64, 48), "both halves of k-space"),
    ],
)
def test_what_has_no_virtual_coils_is_refused(case, text):
    with pytest.raises(MethodError, match=text):
        Raki(**SMALL, virtual_coils=True)(case.data)
    result = Raki(**SMALL, virtual_coils=True, unsuitable="grappa")(case.data)
    assert result.facts["reconstructed_by"] == "grappa"


def test_an_asymmetric_echo_has_no_virtual_coils():
    case = synthetic(lines(64, 2), 64, 48)
    mask = np.broadcast_to(case.data.mask, (1, 64, 48)).copy()
    mask[..., :8] = False
    data = replace(case.data, mask=mask, kspace=case.data.kspace * mask[:, None])
    assert "whole readouts" in problem_of(data, case.data.acs)


@pytest.mark.parametrize("parameters", [{"gfactor": "exact"}, {"gfactor": "none", "refine_iterations": 3}])
def test_parameters_that_exclude_each_other_are_refused(parameters):
    with pytest.raises(ConfigError, match=r"virtual_coils"):
        Raki(virtual_coils=True, **parameters)
