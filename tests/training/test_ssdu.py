import pytest
import torch

from onebreath.mri.fourier import fft2c
from onebreath.training.data.ssdu import SplitSettings, divide, hidden_loss


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
