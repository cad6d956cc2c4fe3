"""Convolutions over space and time."""

import pytest
import torch
import torch.nn.functional as F

from onebreath.networks.shared.conv2plus1d import Downsample, SpaceTimeConv, TemporalConv, Upsample

LAYERS = {
    "2+1": lambda circular: SpaceTimeConv(4, 4, dilation=2, circular=circular),
    "halve": lambda circular: Downsample(4, circular),
    "double": lambda circular: Upsample(4, circular),
}


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("circular", [True, False])
def test_temporal_convolution_is_a_padded_conv1d_at_every_pixel(frames, circular):
    layer = TemporalConv(4, circular).double()
    series = torch.randn(2, frames, 4, 3, 5, dtype=torch.float64)
    lines = series.permute(0, 3, 4, 2, 1).reshape(-1, 4, frames)
    padded = F.pad(lines, (1, 1), mode="circular" if circular else "constant")
    wanted = F.conv1d(padded, layer.weight, layer.bias).reshape(2, 3, 5, 4, frames).permute(0, 4, 3, 1, 2)
    torch.testing.assert_close(layer(series), wanted)


@pytest.mark.parametrize("name", LAYERS)
def test_circular_layers_commute_with_a_shift_of_the_cycle(name):
    layer = LAYERS[name](True).double()
    series = torch.randn(2, 6, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(series.roll(2, dims=1)), layer(series).roll(2, dims=1))


@pytest.mark.parametrize("name", LAYERS)
def test_other_layers_do_not_wrap(name):
    layer = LAYERS[name](False).double()
    series = torch.randn(1, 6, 4, 8, 8, dtype=torch.float64)
    assert not torch.allclose(layer(series.roll(2, dims=1)), layer(series).roll(2, dims=1))


def test_channels_stay_innermost_in_memory():
    series = torch.randn(1, 3, 8, 8, 4).permute(0, 1, 4, 2, 3)
    for layer in (SpaceTimeConv(4, 4), Downsample(4), Upsample(4)):
        assert layer(series).permute(0, 1, 3, 4, 2).is_contiguous()
