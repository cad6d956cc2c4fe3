"""The convolution to planes is the plain one, in squares where they fit."""

import pytest
import torch

from onebreath.networks.shared.conv2plus1d import ConvToPlanes


@pytest.mark.parametrize("size", [(8, 12), (6, 10), (7, 12), (5, 5)], ids=["squares of 4", "of 2", "none", "odd"])
@pytest.mark.parametrize("kernel", [3, 5])
def test_equals_the_plain_convolution(size, kernel):
    torch.manual_seed(0)
    layer = ConvToPlanes(6, 2, kernel)
    series = torch.randn(3, 6, *size).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        found = layer(series)
    plain = torch.nn.Conv2d.forward(layer, series)
    torch.testing.assert_close(found, plain.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer(series), plain, rtol=0, atol=0)  # with gradients


def test_squares_are_used_where_they_fit():
    layer = ConvToPlanes(6, 2, 5)
    with torch.inference_mode():
        sides = [layer._side(torch.empty(1, 6, *size)) for size in ((8, 12), (8, 10), (8, 7))]
    assert sides == [4, 2, 1]
