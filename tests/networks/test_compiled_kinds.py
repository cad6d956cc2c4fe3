"""Compiled convolutions of single pixels, along time and to few channels, beside PyTorch's in double precision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onebreath.networks.convolution.compiled import CompiledPixels, in_time, to_few
from tests.networks.convolving import LIMITS, difference, images, in_double, random, tiles, using


@pytest.mark.usefixtures("each_library")
class TestSinglePixels:
    @settings(max_examples=40, deadline=None)
    @given(
        count=st.integers(1, 3),
        size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
        channels=st.sampled_from([8, 16, 24, 64]),
        out=st.sampled_from([8, 24, 32, 72]),
        relu=st.booleans(),
        threads=st.integers(1, 3),
    )
    def test_every_size_and_number_of_channels(self, count, size, channels, out, relu, threads):
        frames, weight, bias = images(count, channels, *size), random(out, channels, 1, 1), random(out)
        added = images(count, out, *size, seed=1)
        expected = in_double(frames, weight, bias) + added
        with using(threads), torch.inference_mode():
            convolve = CompiledPixels(weight)
            assert difference(convolve([frames]), in_double(frames, weight)) < 2e-6
            found = convolve([frames], bias, added, relu, out=added)
        assert found.data_ptr() == added.data_ptr()
        assert difference(found, expected.relu() if relu else expected) < 2e-6

    def test_joined_parts_in_another_order(self):
        parts, weight = [random(2, channels, 9, 7, seed=channels) for channels in (8, 16)], random(16, 24, 1, 1)
        with torch.inference_mode():
            assert difference(CompiledPixels(weight)(parts), in_double(torch.cat(parts, 1), weight)) < 2e-6
            with pytest.raises(ValueError, match="their channels is 8, expected 24"):
                CompiledPixels(weight)(parts[:1])


@pytest.mark.usefixtures("each_library")
@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 2),
    frames=st.integers(1, 14),
    pixels=st.integers(1, 200),
    channels=st.sampled_from([8, 24, 64]),
    circular=st.booleans(),
    edge=st.sampled_from(list(LIMITS)),
)
def test_in_time(batch, frames, pixels, channels, circular, edge):
    series, weight, bias = random(batch, frames, pixels, channels), random(16, channels, 3), random(16)
    taps = [-1, 0, 1]
    shifted = [series.roll(-tap, dims=1).double() for tap in taps]
    if not circular:
        shifted[0][:, 0], shifted[2][:, -1] = 0, 0
    expected = sum(one @ weight[..., i].double().T for i, one in enumerate(shifted)) + bias
    with tiles(edge), torch.inference_mode():
        assert difference(in_time(series, weight, bias, circular), expected) < LIMITS[edge]


@pytest.mark.usefixtures("each_library")
@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 5),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    out=st.integers(1, 7),
    side=st.sampled_from([1, 3, 5, 7]),
    threads=st.integers(1, 3),
)
def test_to_few(count, size, out, side, threads):
    frames, weight, bias = images(count, 16, *size), random(out, 16, side, side), random(out)
    with using(threads), torch.inference_mode():
        found = to_few(frames, weight, bias)
    assert difference(found, in_double(frames, weight, bias)) < LIMITS[4]
