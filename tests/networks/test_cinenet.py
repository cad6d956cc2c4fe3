"""CineNet against the released network."""

import re

import numpy as np
import pytest
import torch

from onebreath.errors import MethodError, ModelError
from onebreath.networks.cinenet.cinenet import CineNet
from onebreath.networks.consistency.sampled_series import SampledSeries


def our_name(released):
    """Name of a released parameter in the first block."""
    net, layer = re.fullmatch(r"cnn\.cnn\.conv_(xt_yt|xt|yt)\.(.*)", released).groups()
    for pattern, ours in (
        (r"encoder\.enc_blocks\.(\d)\.conv_block\.0", r"down.\1.0"),
        (r"encoder\.enc_blocks\.(\d)\.conv_block\.2", r"down.\1.1"),
        (r"decoder\.upconvs\.(\d)", r"up.\1"),
        (r"decoder\.dec_blocks\.(\d)\.conv_block\.0", r"merge.\1.0"),
        (r"decoder\.dec_blocks\.(\d)\.conv_block\.2", r"merge.\1.1"),
        ("c1x1", "tail"),
    ):
        layer = re.sub(pattern, ours, layer)
    return f"blocks.0.nets.{1 if net == 'yt' else 0}.{layer}"


def load(shared, nets, complex_):
    golden = np.load(shared / "golden" / f"cinenet_{nets}_xtyt.npz")
    network = CineNet(channels=4, cascades=2, shared=True, separate=nets == "separate", pad_multiple=1)
    released = {key[8:]: torch.from_numpy(golden[key]) for key in golden if key.startswith("weights/")}
    penalty = released.pop("lambda_reg")[0]
    state = {our_name(name): value for name, value in released.items()}
    network.load_state_dict({**state, "consistency.0.penalty": penalty, "consistency.1.penalty": penalty}, strict=True)
    kspace, mask, maps = (torch.from_numpy(golden[f"in/{name}"]) for name in ("kspace", "mask", "sens_maps"))
    inputs = (kspace[None].to(complex_), mask.reshape(1, 1, 1, 1, -1), maps[None, None].to(complex_))
    return golden, network, inputs


@pytest.mark.parametrize("nets", ["shared", "separate"])
class TestReleasedNetwork:
    def test_image_in_single_precision(self, shared, deviation, nets):
        golden, network, inputs = load(shared, nets, torch.complex64)
        with torch.inference_mode():
            images = list(network.cascades(*inputs))
        assert deviation(images[0][0], golden["out/step0_cg"]) <= 5e-5
        assert deviation(images[1][0], golden["out/image"]) <= 5e-5

    def test_every_step_in_double_precision(self, shared, deviation, nets):
        """The reference takes a zero-filled image that was rounded to single precision, also as right-hand side."""
        golden, network, inputs = load(shared, nets, torch.complex128)
        network.double()
        series = SampledSeries(*inputs)
        image = torch.from_numpy(golden["in/image"])[None].to(torch.complex128)
        assert deviation(series.zero_filled(), image) <= 1e-6
        series._adjoint = torch.fft.ifftshift(image, dim=series.axes)
        with torch.inference_mode():
            for step, consistency in enumerate(network.consistency):
                image, _ = network.refine(step, image, None)
                assert deviation(image[0], golden[f"out/step{step}_cnn_f64"]) <= 1e-8
                image = consistency(image, series)
                assert deviation(image[0], golden[f"out/step{step}_cg_f64"]) <= 1e-8


def test_parameter_counts():
    """646,720 and 129,344 in the U-Nets, and a penalty per alternation."""
    for arguments, wanted in (({}, 646_720), ({"shared": True}, 129_344), ({"separate": True}, 1_293_440)):
        assert sum(parameter.numel() for parameter in CineNet(**arguments).parameters()) == wanted + 5


def test_without_u_nets_the_data_pull_the_temporal_mean(scan):
    """With U-Nets that give zeros the result is the penalised solution around the temporal mean."""
    network = CineNet(channels=2, cascades=1, stages=1, iterations=30).double()
    torch.nn.init.zeros_(network.blocks[0].nets[0].tail.weight)
    kspace, mask, maps = scan(frames=4, dtype=torch.complex128)
    series = SampledSeries(kspace, mask, maps)
    with torch.inference_mode():
        image = network(kspace, mask, maps)
        mean = series.zero_filled().mean(1, keepdim=True).expand_as(image)
        penalty = torch.nn.functional.softplus(network.consistency[0].penalty)
        assert float(penalty) == pytest.approx(1.0, abs=1e-6)
        wanted = series.regularised(mean.contiguous(), (1 / penalty).reshape(1, 1, 1, 1, 1), 30)
    torch.testing.assert_close(image, wanted, rtol=1e-9, atol=1e-9)


def test_a_series_shorter_than_the_stages_is_refused(scan):
    network = CineNet(channels=2, cascades=1)
    assert network.limits()["frames"][0] == 4
    with pytest.raises(MethodError, match="has 3 frames of 12 x 8 pixels; this CineNet needs at least 4"):
        network(*scan(frames=3))
    assert network(*scan(frames=4)).shape == (1, 4, 10, 8)


def test_conjugate_gradients_that_do_not_converge_are_told(scan):
    """Values whose squares no number can hold; what would come out is no image."""
    kspace, mask, maps = scan(frames=4)
    with torch.inference_mode(), pytest.raises(MethodError, match="conjugate gradients do not converge: after 4 steps"):
        CineNet(channels=2, cascades=1)(kspace, mask, maps * 1e19)


@pytest.mark.parametrize("name", ["channels", "stages", "convs", "iterations", "pad_multiple", "cascades"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(ModelError, match=f"{name} is 0"):
        CineNet(**{name: 0})


def test_unets_alone_are_one_pass_and_have_the_same_parameters(scan):
    torch.manual_seed(0)
    whole = CineNet(channels=4, stages=2, cascades=2, shared=True)
    alone = CineNet(channels=4, stages=2, cascades=2, shared=True, unets_alone=True)
    alone.load_state_dict(whole.state_dict(), strict=True)
    inputs = scan(frames=4, y=8, x=8)
    with torch.inference_mode():
        first, _ = whole.refine(0, SampledSeries(*inputs).zero_filled(), None)
        torch.testing.assert_close(alone(*inputs), first)
    with pytest.raises(ModelError, match="needs shared: true"):
        CineNet(unets_alone=True)
