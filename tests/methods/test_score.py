"""The out-of-domain score: held-back lines tell how wrong the images are, whatever the method and the harm."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.domain_score import area, best_threshold, moved, noise
from onebreath.errors import MethodError
from onebreath.methods.base import Reconstruction
from onebreath.methods.cg_sense import CgSense
from onebreath.methods.score import domain_score, held_out, middle_columns
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.mri.sampling import describe
from tests.helpers import nrmse, relative_error
from tests.methods.slices import lines, moving_disc, slice_of, smooth_maps, synthetic

CG = CgSense(device="cpu")
FRAMES, NY, NX, COILS = 4, 64, 48, 8


def scans(seed):
    """Slices with one thing wrong at a time, and their true images; a truth of SNR 100 * 2**-seed."""
    rng = np.random.default_rng(seed)
    maps, truth = smooth_maps(COILS, NY, NX), moving_disc(FRAMES, NY, NX) * np.float32(0.5**seed)
    full = fft2c(maps * truth[:, None]) + noise((FRAMES, COILS, NY, NX), 1, rng)
    usual = np.broadcast_to(lines(NY, 3, 16), (FRAMES, NY))[:, :, None]

    def scan(mask=usual, kspace=full, seen=maps):
        return slice_of(kspace.astype(np.complex64), mask, 16, np.ascontiguousarray(seen)[None]), truth

    for acceleration in (2, 3, 4):
        yield scan(np.broadcast_to(lines(NY, acceleration, 16), (FRAMES, NY))[:, :, None])
    yield scan(np.broadcast_to(lines(NY, 16, 4), (FRAMES, NY))[:, :, None])
    for pixels in (0.3, 2, 5):
        yield scan(kspace=moved(full, pixels, rng))
    for wrong in (np.roll(maps, 2, -1), np.roll(maps, 16, -2), maps[rng.permutation(COILS)]):
        yield scan(seen=wrong)
    for strength in (1, 20, 60):
        yield scan(kspace=full + noise(full.shape, strength, rng))


def test_the_score_tells_bad_images_from_good_ones():
    found = [(nrmse(np.abs(CG(data).images), np.abs(truth)), domain_score(CG, data).value)
             for seed in range(3) for data, truth in scans(seed)]  # fmt: skip
    error, score = np.array(found).T
    bad = error > 0.2
    assert 8 < bad.sum() < len(bad) - 8
    assert area(score[~bad], score[bad]) >= 0.9


def test_noise_alone_is_all_that_a_good_scan_scores():
    case = synthetic(np.broadcast_to(lines(NY, 2, 16), (FRAMES, NY)), noise=1.0)
    score = domain_score(CG, case.data)
    assert score.value == pytest.approx(np.hypot(score.missing, score.acquired))
    assert score.value < 0.1
    assert score.lines == FRAMES * round(0.08 * lines(NY, 2, 16).sum())


@pytest.mark.parametrize("strength", [0, 4, 16])
def test_noise_that_a_method_removes_is_not_its_error(strength):
    rng = np.random.default_rng(3)
    case = synthetic(np.broadcast_to(lines(NY, 3, 16), (FRAMES, NY)), noise=1.0)
    louder = noise(case.data.kspace.shape, strength, rng) * case.data.mask[:, None]
    data = replace(case.data, kspace=case.data.kspace + louder.astype(np.complex64), whitened=True)
    perfect = domain_score(lambda _: Reconstruction(case.truth), data).value
    linear = domain_score(CG, data).value
    error = nrmse(np.abs(CG(data).images), np.abs(case.truth))
    assert perfect < 0.4 * error
    assert 0.7 * error < linear < 1.8 * error


def test_the_same_scan_has_the_same_score():
    data = synthetic(np.broadcast_to(lines(NY, 4, 16), (FRAMES, NY))).data
    assert domain_score(CG, data) == domain_score(CG, data)


def test_held_back_lines_are_spread_differ_between_frames_and_spare_the_centre():
    acquired = np.broadcast_to(lines(128, 3, 20), (6, 128))
    held = held_out(acquired, 64)
    assert not (held & ~acquired).any()
    assert not held[:, 63:66].any()
    assert len({frame.tobytes() for frame in held}) > 3
    assert held[:, :40].any()
    assert held[:, 90:].any()


def test_too_few_lines_are_an_error():
    with pytest.raises(MethodError, match="6 lines or more"):
        held_out(lines(64, 16)[None], 32)


def test_the_middle_columns_are_a_scan_of_their_own():
    case = synthetic(np.broadcast_to(lines(NY, 2, 16), (FRAMES, NY)), nx=96, noise=0.0)
    part = middle_columns(case.data, 32)
    assert part.kspace.shape == (FRAMES, 8, NY, 32)
    assert relative_error(ifft2c(part.kspace), ifft2c(case.data.kspace)[..., 32:64]) <= 1e-5


def test_a_mask_that_depends_on_the_readout_leaves_the_slice_whole():
    mask = np.ones((FRAMES, NY, 96), bool)
    mask[..., :20] = False
    case = synthetic(mask, nx=96)
    assert middle_columns(case.data, 32) is case.data


def test_without_coil_maps_there_is_no_score():
    data = replace(synthetic(lines(NY, 2, 16)).data, maps=None)
    with pytest.raises(MethodError, match="needs coil maps"):
        domain_score(CG, data)


@pytest.mark.parametrize("half", [5, 8])
def test_k_space_that_nobody_acquired_counts_as_lost(half):
    centre = np.abs(np.arange(NY) - NY // 2) < half
    assert describe(centre[None]).family == "full", "no rule about families catches this"
    case = synthetic(np.broadcast_to(centre, (FRAMES, NY)), noise=0.0)
    error = nrmse(np.abs(CG(case.data).images), np.abs(case.truth))
    assert error < domain_score(CG, case.data).missing < 5 * error


def test_area_and_threshold():
    good, bad = np.array([0.1, 0.2, 0.3]), np.array([0.25, 0.4, 0.5])
    assert area(good, bad) == pytest.approx(8 / 9)
    assert 0.2 < best_threshold(good, bad) < 0.25 or 0.3 < best_threshold(good, bad) < 0.4
