"""Warped images: nothing changes without a warp, frames move alike, and measured noise is left alone."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.training.data.examples import Examples
from onebreath.training.data.warp import WarpSettings, displaced, warped
from tests.training.recipes import tiny_slice
from tests.training.test_examples import MASKS, SETTINGS

STILL = WarpSettings(share=1, rotation=0, scaling=0, bending=0, contrast=0)


def series(rng: np.random.Generator) -> np.ndarray:
    return (rng.standard_normal((3, 60, 50)) + 1j * rng.standard_normal((3, 60, 50))).astype(np.complex64)


@pytest.mark.parametrize("first", [(0, 0), (20, 9), (28, 18)])
def test_no_warp_is_the_window(first: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = series(rng)
    made = warped(image, first, (32, 32), STILL, rng)
    assert made.dtype == np.complex64
    np.testing.assert_allclose(made, image[:, first[0] : first[0] + 32, first[1] : first[1] + 32], atol=1e-5)


def test_a_turn_keeps_distances() -> None:
    turned = displaced(STILL.model_copy(update={"rotation": 90.0}), (31, 21), np.random.default_rng(1))
    flat = displaced(STILL, (31, 21), np.random.default_rng(1))
    np.testing.assert_allclose(np.hypot(*turned), np.hypot(*flat), atol=1e-9)
    assert np.abs(turned - flat).max() > 0.1


def test_a_scaling_is_within_its_limit() -> None:
    scaled = displaced(STILL.model_copy(update={"scaling": 0.2}), (31, 21), np.random.default_rng(2))
    flat = displaced(STILL, (31, 21), np.random.default_rng(2))
    ratio = np.ptp(scaled, axis=(1, 2)) / np.ptp(flat, axis=(1, 2))
    assert np.all(np.abs(ratio - 1) <= 0.2)
    assert np.all(ratio != 1)


def test_all_frames_move_alike() -> None:
    rng = np.random.default_rng(3)
    still = np.repeat(series(rng)[:1], 3, axis=0)
    made = warped(still, (10, 10), (32, 32), WarpSettings(share=1), rng)
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])


def test_contrast_changes_magnitudes_but_not_phases() -> None:
    rng = np.random.default_rng(4)
    image = series(rng)
    made = warped(image, (10, 10), (32, 32), STILL.model_copy(update={"contrast": 0.5}), rng)
    before = image[:, 10:42, 10:42]
    np.testing.assert_allclose(np.angle(made * before.conj()), 0, atol=1e-3)
    assert np.abs(np.abs(made) - np.abs(before)).max() > 0.1


def test_examples_are_warped_unless_they_hold_noise() -> None:
    plain = SETTINGS.model_copy(update={"noise_factor": (1.0, 1.0)})
    warping = plain.model_copy(update={"warp": WarpSettings(share=1)})
    clean = tiny_slice(0)
    noisy = replace(clean, noisy=True)
    for one, changes in ((clean, True), (noisy, False)):
        pair = [Examples([one], MASKS, settings, 5)[0]["target"] for settings in (plain, warping)]
        assert bool((pair[0] != pair[1]).any()) is changes
