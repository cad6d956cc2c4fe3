import dataclasses
import logging

import numpy as np
import pytest
import torch

from onebreath.errors import ConfigError, ScanError
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.training.data.examples import Examples, ExampleSettings, Noise, as_example
from onebreath.training.data.masks import MaskFamily
from tests.training.recipes import tiny_slice

MASKS = (MaskFamily(family="cmrxrecon", accelerations=(4,), acs_lines=6),)
SETTINGS = ExampleSettings(frames=4, rows=(20, 24), columns=16)


def examples(slices=None, settings=SETTINGS, seed=0, batch=1, masks=MASKS):
    return Examples(slices or [tiny_slice(0), tiny_slice(1)], masks, settings, seed, batch)


def test_an_example_is_the_same_every_time_and_others_differ():
    first, again, other = examples()[5], examples()[5], examples()[6]
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
    assert not torch.equal(first["kspace"][..., :10, :], other["kspace"][..., :10, :])


def test_units_of_the_network():
    example = examples()[0]
    rows = example["kspace"].shape[-2]
    assert example["kspace"].shape == (4, 3, rows, 16)
    assert example["mask"].shape == (4, 1, rows, 1)
    assert example["maps"].shape == (1, 3, rows, 16)
    assert example["target"].shape == (4, rows, 16)
    assert 20 <= rows <= 24
    assert float(ifft2c(example["kspace"]).abs().max()) == pytest.approx(1, rel=1e-5)
    assert not example["kspace"][~example["mask"].expand_as(example["kspace"])].any()


def test_noise_has_the_level_that_the_network_is_told():
    images = np.zeros((40, 2, 16, 16), np.complex64)
    images[..., 8, 8] = 100
    mask = np.ones((1, 1, 16, 1), bool)
    example = as_example(
        images, np.full((2, 16, 16), np.sqrt(0.5), np.complex64), mask, Noise(0.0, 2.0), np.random.default_rng(0)
    )
    clean = as_example(
        images, np.full((2, 16, 16), np.sqrt(0.5), np.complex64), mask, Noise(3.0, 0.0), np.random.default_rng(0)
    )
    scale = float(100 / ifft2c(clean["kspace"]).abs().max())
    noise = example["kspace"] - fft2c(torch.from_numpy(images)) * (example["noise_std"] / 2)
    assert float(noise.real.std()) == pytest.approx(float(example["noise_std"]), rel=0.03)
    assert float(noise.imag.std()) == pytest.approx(float(example["noise_std"]), rel=0.03)
    assert float(clean["noise_std"]) == pytest.approx(3 / scale, rel=1e-4)


def test_examples_of_one_step_have_one_shape():
    drawn = examples(batch=4)
    for step in range(6):
        shapes = {tuple(drawn[4 * step + i]["kspace"].shape) for i in range(4)}
        assert len(shapes) == 1


def test_without_augmentation_the_middle_is_taken():
    still = SETTINGS.model_copy(update={"augment": False, "noise_factor": (0.0, 0.0), "rows": (24, 24)})
    slices = [tiny_slice(0)]
    target = examples(slices, still)[0]["target"]
    expected = torch.from_numpy(slices[0].image[:4, 0, 2:26, 2:18])
    ratio = target / expected
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-4, atol=1e-6)


def test_scale_from_full_is_that_of_the_complete_data():
    quiet = {"noise_factor": (0.0, 0.0), "scale_from": "full"}
    example = examples(settings=SETTINGS.model_copy(update=quiet))[0]
    coil_images = example["target"][:, None] * example["maps"]
    assert float(coil_images.abs().max()) == pytest.approx(1, rel=1e-4)


def undersampled(seed=0):
    lines = np.zeros((6, 28), bool)
    for frame in range(6):
        lines[frame, frame % 2 :: 2] = True
    return tiny_slice(seed, lines=lines)


def test_slices_with_missing_lines_keep_their_own_mask():
    drawn = examples([undersampled()])
    example = drawn[0]
    assert example["kspace"].shape[-2] == 28
    assert example["mask"].float().mean() == pytest.approx(0.5)


def test_complete_and_incomplete_slices_do_not_mix():
    with pytest.raises(ScanError, match="not both"):
        examples([tiny_slice(1), undersampled()])


def test_empty_sets_and_wide_windows_are_refused():
    with pytest.raises(ScanError, match="no slice to train on"):
        Examples([], MASKS, SETTINGS, 0)
    with pytest.raises(ScanError, match="only 20"):
        examples(settings=SETTINGS.model_copy(update={"columns": 21}))


def test_slices_that_are_never_used_are_named(caplog):
    small = dataclasses.replace(tiny_slice(2, "berta"), **{
        name: getattr(tiny_slice(2), name)[..., :16, :] for name in ("image", "coils", "maps")
    })  # fmt: skip
    with caplog.at_level(logging.WARNING, "onebreath.training"):
        examples([tiny_slice(0), small])
    assert "1 of 2 slices have fewer lines than examples.rows (20) and are never used: berta slice2" in caplog.text


def test_measured_frames_are_not_copied():
    one = dataclasses.replace(tiny_slice(0), noisy=True, image=tiny_slice(0).image[:1])
    with pytest.raises(ScanError, match=r"has 1 measured frames, .* set examples.frames to 1"):
        examples([one])
    assert examples([one], SETTINGS.model_copy(update={"frames": 1}))[0]["kspace"].shape[0] == 1


def test_whole_slices():
    whole = SETTINGS.model_copy(update={"rows": None, "columns": None})
    assert examples(settings=whole)[0]["kspace"].shape == (4, 3, 28, 20)
    with pytest.raises(ConfigError, match="set batch to 1"):
        examples(settings=whole, batch=2)
