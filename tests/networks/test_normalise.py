"""Planes, z-score and padding."""

import pytest
import torch

from onebreath.networks.shared.normalise import pad_to_multiple, to_complex, to_planes, zscore


def test_planes_are_real_and_imaginary_part():
    image = torch.randn(2, 3, 4, 5, dtype=torch.complex64)
    planes = to_planes(image)
    assert torch.equal(planes[:, :, 0], image.real)
    assert torch.equal(planes[:, :, 1], image.imag)
    assert torch.equal(to_complex(planes), image)


def test_each_series_has_one_mean_and_one_unbiased_spread():
    planes = torch.randn(2, 3, 2, 4, 5, dtype=torch.float64) * torch.tensor([2.0, 1e-5])[:, None, None, None, None] + 7
    normalised = zscore(planes)
    for one, original in zip(normalised.planes, planes, strict=True):
        torch.testing.assert_close(one, (original - original.mean()) / original.std(correction=1))
    torch.testing.assert_close(normalised.undo(normalised.planes), planes)


@pytest.mark.parametrize(("size", "padded", "before"), [(8, 8, 0), (9, 16, 3), (30, 32, 1), (1, 8, 3)])
def test_padding_is_symmetric_with_the_larger_half_behind(size, padded, before):
    planes = torch.ones(1, 1, 2, size, 8)
    found, (rows, columns) = pad_to_multiple(planes, 8)
    assert found.shape[-2:] == (padded, 8)
    assert rows == slice(before, before + size)
    assert columns == slice(0, 8)
    assert torch.equal(found[..., rows, columns], planes)
    assert found.sum() == planes.sum()
