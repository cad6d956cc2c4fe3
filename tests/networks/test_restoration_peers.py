"""UNet128 and ViT-L, the peers of MR-IPT."""

import pytest
import torch

from onebreath.errors import MethodError, ModelError
from onebreath.networks.mr_ipt.encoder import EncoderSizes
from onebreath.networks.restoration.unet import UNet
from onebreath.networks.restoration.vit import ViT

SMALL = EncoderSizes(image_size=32, width=16, depth=2, heads=2, window=3, global_blocks=(1,), embedding=16)


def network(name):
    torch.manual_seed(0)
    return (UNet(4, pools=2) if name == "unet" else ViT(4, sizes=SMALL)).eval()


def test_the_published_sizes():
    with torch.device("meta"):
        unet, vit = UNet(), ViT()
    assert sum(parameter.numel() for parameter in unet.parameters()) == 124_093_697
    # The published comparison counts the encoder alone.
    assert sum(parameter.numel() for parameter in vit.encoder.parameters()) == 306_516_992


@pytest.mark.parametrize("name", ["unet", "vit"])
@pytest.mark.parametrize("shape", [(32, 32), (29, 50)])
def test_any_image_size(name, shape):
    with torch.inference_mode():
        assert network(name)(torch.rand(2, 1, *shape), [0, 1], [0, 3]).shape == (2, 1, *shape)


@pytest.mark.parametrize("name", ["unet", "vit"])
def test_every_parameter_learns(name):
    made = network(name)
    made(torch.rand(2, 1, 32, 32), [0, 1], [0, 3]).square().sum().backward()
    assert [key for key, value in made.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize(("name", "least"), [("unet", 5), ("vit", 4)])
def test_the_smallest_image(name, least):
    with torch.inference_mode():
        assert network(name)(torch.rand(1, 1, least, least), [0], [0]).isfinite().all()
    with pytest.raises(MethodError, match=f"smaller than {least} x {least}"):
        network(name)(torch.rand(1, 1, least - 1, 32), [0], [0])


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ModelError, match="channels is 0 and pools 4"):
        UNet(0)
    with pytest.raises(ModelError, match="patch 4 must divide image_size 30"):
        EncoderSizes(image_size=30)
