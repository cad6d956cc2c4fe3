from dataclasses import replace

import numpy as np
import pytest
import torch

from onebreath.errors import ConfigError, ScanError
from onebreath.mri.coils import combine
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.training.data.ssdu import SplitSettings, divide, hidden_loss
from onebreath.training.tasks import SeriesTask
from tests.training.recipes import tiny_recipe
from tests.training.test_examples import undersampled


def acquired() -> torch.Tensor:
    mask = torch.zeros(2, 3, 1, 48, 1, dtype=torch.bool)
    mask[..., ::3, :] = True
    mask[..., 20:28, :] = True
    return mask


def test_lines_are_divided_without_overlap_and_the_centre_is_shown():
    mask = acquired()
    shown, hidden = divide(mask, SplitSettings(hidden=0.4, keep_centre=4), torch.Generator().manual_seed(1))
    assert not (shown & hidden).any()
    assert torch.equal(shown | hidden, mask)
    assert shown[..., 23:26, :].all()
    share = hidden.sum() / mask.sum()
    assert float(share) == pytest.approx(0.4, abs=0.05)
    assert not torch.equal(hidden[0, 0], hidden[0, 1])


def test_the_division_is_repeatable():
    parts = [divide(acquired(), SplitSettings(), torch.Generator().manual_seed(7))[1] for _ in range(2)]
    assert torch.equal(*parts)


def test_the_true_image_has_no_loss_and_an_error_costs_its_share():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, 48, 10, dtype=torch.complex64, generator=generator)
    maps = torch.full((1, 1, 2, 48, 10), 0.5**0.5, dtype=torch.complex64)
    kspace = fft2c(image[:, :, None] * maps)
    _, hidden = divide(acquired()[:1], SplitSettings(), generator)
    assert float(hidden_loss(image, kspace, maps, hidden)) == pytest.approx(0, abs=1e-5)
    assert float(hidden_loss(1.1 * image, kspace, maps, hidden)) == pytest.approx(0.2, rel=1e-4)


def test_nothing_to_hold_back_is_an_error():
    with pytest.raises(ScanError, match=r"a frame has 21 acquired lines.*lower self_supervised\.keep_centre"):
        divide(acquired(), SplitSettings(keep_centre=50), torch.Generator())


def as_measured():
    """A still slice whose missing lines are zeros, as a reader returns it, and its true images."""
    whole = undersampled()
    whole = replace(whole, image=np.repeat(whole.image[:1], 6, axis=0))
    images = ifft2c(fft2c(whole.image * whole.coils) * whole.lines[:, None, :, None]).astype(np.complex64)
    return replace(whole, image=images, coils=np.ones((1, 28, 20), np.complex64)), whole.image[:, 0]


def of_validation(recipe):
    measured, truth = as_measured()
    task = SeriesTask(recipe)
    return task, task.examples([measured], 5, torch.device("cpu"), validating=True), torch.from_numpy(truth)


SPLIT = {"hidden": 0.3, "keep_centre": 2}


def test_on_slices_that_lack_lines_the_zero_filled_image_is_not_the_best():
    whole = {"rows": None, "columns": None}
    task, examples, truth = of_validation(tiny_recipe(self_supervised=SPLIT, examples=whole))
    example = {name: value[None] for name, value in examples[3].items()}

    def zero_filled(kspace, mask, maps, noise_std):
        return combine(ifft2c(kspace), maps)

    def perfect(kspace, mask, maps, noise_std):
        return truth[None, : kspace.shape[1]] * noise_std

    assert float(task.validation_loss(zero_filled, example)) > 1
    assert float(task.validation_loss(perfect, example)) == pytest.approx(0, abs=1e-3)
    assert task.shown(perfect, example).target is None


def test_the_lines_held_back_are_the_same_in_every_validation():
    _, first, _ = of_validation(tiny_recipe(self_supervised=SPLIT))
    _, again, _ = of_validation(tiny_recipe(self_supervised=SPLIT))
    assert torch.equal(first[1]["hidden"], again[1]["hidden"])
    assert not torch.equal(first[1]["hidden"], first[2]["hidden"])


def test_validation_without_truth_and_without_self_supervision_is_refused():
    with pytest.raises(ConfigError, match=r"validate on lack lines.*set self_supervised"):
        of_validation(tiny_recipe())
