"""Compiled convolutions beside PyTorch's in double precision; they are skipped where nothing was compiled."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onebreath.networks.convolution import compiled, filters, loading
from onebreath.networks.convolution.compiled import Compiled, CompiledPixels, in_time, to_few
from onebreath.networks.convolution.filters import Conv, Direct, filter_with
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from onebreath.networks.shared.conv2plus1d import SpaceTimeConv
from onebreath.networks.shared.derivative import directional_derivative
from onebreath.networks.shared.recurrent import RecurrentUnit
from tests.networks.convolving import LIMIT, LIMITS, difference, images, in_double, random, tiles, using

needs_library = pytest.mark.skipif(loading.library() is None, reason="the convolutions were not compiled")


@pytest.mark.usefixtures("each_library")
class TestCompiled:
    @settings(max_examples=40, deadline=None)
    @given(
        count=st.integers(1, 3),
        size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
        channels=st.sampled_from([8, 16, 24, 40, 64]),
        out=st.sampled_from([8, 16, 24, 32, 48, 72]),
        dilation=st.integers(1, 5),
        threads=st.integers(1, 3),
        edge=st.sampled_from(list(LIMITS)),
    )
    def test_every_size_number_of_channels_and_dilation(self, count, size, channels, out, dilation, threads, edge):
        frames, weight, bias = images(count, channels, *size), random(out, channels, 3, 3), random(out)
        with using(threads), tiles(edge), torch.inference_mode():
            found = Compiled(weight, dilation)([frames], bias)
        assert difference(found, in_double(frames, weight, bias, dilation)) < LIMITS[edge]

    def test_one_filter_serves_images_of_all_sizes(self):
        weight = random(8, 8, 3, 3)
        with torch.inference_mode():
            convolve = Compiled(weight)
            for size in (24, 16, 24):  # tiles of 6 pixels, then of 4
                frames = images(1, 8, size, size)
                assert difference(convolve([frames]), in_double(frames, weight)) < LIMIT
        assert sorted(convolve._kernels) == [4, 6]

    def test_tiles_multiply_least(self):
        chosen = {size: compiled._edge(size, size) for size in (8, 16, 32, 64, 80, 96, 128, 160, 192)}
        assert chosen == {8: 4, 16: 4, 32: 4, 64: 6, 80: 6, 96: 6, 128: 6, 160: 6, 192: 6}
        assert {frames: compiled._edge(frames) for frames in (1, 4, 8, 12, 25)} == {1: 4, 4: 4, 8: 4, 12: 6, 25: 6}

    def test_parts_are_joined_along_the_channels(self):
        parts = [images(2, channels, 19, 13, seed=channels) for channels in (8, 24, 16)]
        weight = random(16, 48, 3, 3)
        with torch.inference_mode():
            assert difference(Compiled(weight)(parts), in_double(torch.cat(parts, 1), weight)) < LIMITS[4]

    def test_another_order_in_memory_and_parts_of_a_series(self):
        series, weight = random(2, 3, 8, 9, 11), random(8, 8, 3, 3)
        with torch.inference_mode():
            for frames in (series[:, 1], images(4, 16, 9, 11)[1:, 8:]):
                assert difference(Compiled(weight)([frames]), in_double(frames, weight)) < LIMIT

    def test_what_is_added_may_be_replaced(self):
        frames, weight, added = images(1, 8, 14, 10), random(8, 8, 3, 3), images(1, 8, 14, 10, seed=1)
        expected = (in_double(frames, weight) + added).relu()
        with torch.inference_mode():
            for convolve in (Compiled(weight), Direct(weight)):
                place = added.clone(memory_format=torch.channels_last)
                found = convolve([frames], added=place, relu=True, out=place)
                assert found.data_ptr() == place.data_ptr()
                assert difference(place, expected) < LIMIT
                assert difference(convolve([frames], added=added, relu=True), expected) < LIMIT

    @settings(max_examples=20, deadline=None)
    @given(
        size=st.integers(1, 40),
        channels=st.tuples(st.sampled_from([8, 24]), st.sampled_from([8, 16])),
        out=st.sampled_from([16, 24, 64]),
        edge=st.sampled_from(list(LIMITS)),
    )
    def test_channels_that_are_left_out_are_zero(self, size, channels, out, edge):
        frames, weight = images(1, channels[0], size, size), random(out, sum(channels), 3, 3)
        with tiles(edge), torch.inference_mode():
            whole = Compiled(weight)
            first = whole.of_first(channels[0])
            assert difference(first([frames]), in_double(frames, weight[:, : channels[0]])) < LIMITS[edge]
            zeros = torch.zeros(1, channels[1], size, size)
            assert torch.equal(first([frames]), whole([frames, zeros]))
            with pytest.raises(ValueError, match="their channels"):
                whole([frames])

    def test_a_pixel_without_a_number_is_not_hidden(self):
        frames = images(1, 8, 9, 9)
        frames[0, 0, 4, 4] = torch.nan
        with torch.inference_mode():
            assert Compiled(random(8, 8, 3, 3))([frames], relu=True)[0, :, 3:6, 3:6].isnan().all()
            assert CompiledPixels(random(8, 8, 1, 1))([frames], relu=True).isnan().sum() == 8

    def test_threads_do_not_change_a_bit(self):
        frames, weight = images(2, 24, 50, 37), random(24, 24, 3, 3)
        results = []
        for threads in (1, 2, 3):
            with using(threads), torch.inference_mode():
                results.append(Compiled(weight, 2)([frames]))
        assert all(torch.equal(results[0], one) for one in results[1:])

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"frames": [images(1, 16, 8, 8)]}, "their channels is 16, expected 8"),
            ({"frames": [images(1, 8, 8, 8)], "bias": random(9)}, "the bias is 9, expected 8"),
            ({"frames": [images(1, 8, 8, 8)], "added": random(1, 8, 8, 7)}, "what is added"),
            ({"frames": [images(1, 8, 8, 8)], "out": random(1, 8, 8, 8)}, "innermost"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, arguments, words):
        with torch.inference_mode(), pytest.raises(ValueError, match=words):
            Compiled(random(8, 8, 3, 3))(**arguments)

    @pytest.mark.parametrize("wrong", ["frames", "bias", "added", "out"])
    def test_other_formats_never_reach_the_compiled_code(self, wrong):
        shapes = {"frames": (1, 8, 8, 8), "bias": (8,), "added": (1, 8, 8, 8), "out": (1, 8, 8, 8)}
        given = {name: torch.zeros(shape) if name == "bias" else images(*shape) for name, shape in shapes.items()}
        given[wrong] = given[wrong].bfloat16()
        with torch.inference_mode(), pytest.raises(TypeError, match="bfloat16"):
            Compiled(random(8, 8, 3, 3))([given.pop("frames")], **given)
        with torch.inference_mode(), pytest.raises(TypeError, match="bfloat16"):
            Compiled(random(8, 8, 3, 3).bfloat16())
        with torch.inference_mode(), pytest.raises(TypeError, match="float64"):
            in_time(random(1, 4, 8, 8).double(), random(8, 8, 3), None, circular=True)
        with torch.inference_mode(), pytest.raises(TypeError, match="float64"):
            to_few(images(1, 8, 4, 4), random(2, 8, 3, 3), torch.zeros(2, dtype=torch.float64))

    def test_parts_of_different_sizes_are_refused(self):
        with torch.inference_mode(), pytest.raises(ValueError, match="the images"):
            Compiled(random(8, 16, 3, 3))([images(1, 8, 8, 8), images(1, 8, 8, 9)])


@pytest.mark.parametrize("layer", [lambda: Conv(8, 8), lambda: RecurrentUnit(8, 8), lambda: SpaceTimeConv(8, 8)])
def test_derivatives_in_forward_mode_pass_through(layer):
    torch.manual_seed(0)
    network = layer()
    shape = (2, 8, 12, 9) if isinstance(network, Conv) else (1, 4, 8, 12, 9)
    at, direction = random(*shape), random(*shape, seed=1)
    step = 1e-7  # so small that no rectifier turns
    ahead, back = (network.double()(at.double() + sign * step * direction).detach() for sign in (1, -1))
    found = directional_derivative(network.float(), at)(direction)
    assert difference(found, (ahead - back) / (2 * step)) < 1e-4


class TestChoice:
    @needs_library
    def test_compiled_code_is_used_where_it_applies_and_nowhere_else(self):
        frames, weight = images(1, 8, 8, 8), random(8, 8, 3, 3)
        assert isinstance(filter_with(weight, 1, [frames]), Direct)  # gradients
        with torch.inference_mode():
            assert isinstance(filter_with(weight, 1, [frames]), Compiled)
            assert isinstance(filter_with(random(8, 8, 1, 1), 1, [frames]), CompiledPixels)
            for other, given_frames in (
                (weight.double(), frames.double()),
                (weight.bfloat16(), frames.bfloat16()),
                (weight.to("meta"), frames.to("meta")),
                (random(8, 8, 5, 5), frames),
                (random(8, 6, 3, 3), images(1, 6, 8, 8)),
            ):
                assert isinstance(filter_with(other, 1, [given_frames]), Direct)
            with torch.autocast("cpu", torch.bfloat16):
                assert isinstance(filter_with(weight, 1, [frames]), Direct)
                assert RecurrentUnit(8, 8)(frames[None]).dtype == torch.bfloat16
                assert RecurrentUnit(8, 8)(frames[None].bfloat16()).dtype == torch.bfloat16
                assert SpaceTimeConv(8, 8)(frames[None].bfloat16()).dtype == torch.bfloat16

    def test_what_convolves_is_told(self, monkeypatch):
        known = "torch" if loading.library() is None else "compiled"
        assert loading.code_for("cpu", torch.float32) == known
        assert loading.code_for("cpu", torch.bfloat16) == loading.code_for("cuda:0", torch.float32) == "torch"
        monkeypatch.setattr(loading, "library", lambda: None)
        assert loading.code_for("cpu", torch.float32) == "torch"

    def test_without_compiled_code_networks_make_the_same_images(self, monkeypatch):
        torch.manual_seed(1)
        network = CRUNetMR(channels=8, cascades=2).eval()
        kspace = torch.randn(1, 5, 3, 24, 16, dtype=torch.complex64)
        mask = torch.rand(1, 5, 1, 24, 1) < 0.5
        maps = torch.randn(1, 1, 3, 24, 16, dtype=torch.complex64)
        with torch.inference_mode():
            present = network(kspace, mask, maps)
            monkeypatch.setattr(loading, "library", lambda: None)
            assert not loading.runs(kspace.real)
            assert difference(torch.view_as_real(present), torch.view_as_real(network(kspace, mask, maps))) < 1e-5

    @needs_library
    def test_no_memory_is_an_error(self, monkeypatch):
        class Full:
            onebreath_prepare = staticmethod(lambda *_: None)
            onebreath_convolve = staticmethod(lambda *_: 1)

        monkeypatch.setattr(loading, "library", Full)
        with torch.inference_mode(), pytest.raises(MemoryError, match="tiles"):
            Compiled(random(8, 8, 3, 3))([images(1, 8, 8, 8)])


def test_a_layer_has_the_parameters_of_its_kind():
    layer = Conv(8, 16, 3, dilation=2, bias=False)
    assert set(layer.state_dict()) == {"weight"}
    frames = images(1, 8, 10, 12)
    assert difference(layer(frames).detach(), in_double(frames, layer.weight.detach(), dilation=2)) < LIMIT
    with torch.inference_mode():
        assert difference(layer(frames), in_double(frames, layer.weight, dilation=2)) < LIMIT


def test_filters_have_one_interface():
    assert filters.Filter.__call__.__annotations__.keys() == Direct.__call__.__annotations__.keys()
    for kind in (Compiled, CompiledPixels):
        assert Direct.__call__.__annotations__ == kind.__call__.__annotations__
