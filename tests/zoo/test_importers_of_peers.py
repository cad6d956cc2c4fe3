"""Released CineNet and U-Net of fastMRI become models that compute what the released networks computed."""

import pytest
import torch

from onebreath import zoo
from onebreath.errors import ModelError
from onebreath.zoo.importers import import_checkpoint
from tests.helpers import relative_error
from tests.zoo.test_importers import golden, weights


@pytest.mark.parametrize("nets", ["shared", "separate"])
def test_released_cinenet(shared, root, nets):
    stored = golden(shared, f"cinenet_{nets}_xtyt")
    state = {**weights(stored), "EncObj.dcomp": torch.ones(3)}
    torch.save(state, root / "released.pth")
    card = zoo.read_card(
        import_checkpoint("cinenet", root / "released.pth", "cinenet.released", root, {"cascades": 2, "iterations": 4})
    )
    assert card.arguments == {
        "channels": 4, "stages": 3, "convs": 2, "separate": nets == "separate", "shared": True, "cascades": 2,
        "pad_multiple": 1, "iterations": 4,
    }  # fmt: skip
    kspace, mask, maps = (torch.from_numpy(stored[f"in/{key}"]) for key in ("kspace", "mask", "sens_maps"))
    with torch.inference_mode():
        image = zoo.load(card.name).network(kspace[None], mask.reshape(1, 1, 1, 1, -1), maps[None, None])
    assert relative_error(image[0], stored["out/image"]) <= 5e-5


def test_released_cinenet_with_unknown_or_missing_names(shared, root):
    state = weights(golden(shared, "cinenet_shared_xtyt"))
    torch.save({**state, "cnn.other": torch.ones(1)}, root / "a.pth")
    with pytest.raises(ModelError, match=r"not the parameters of CineNet: unknown 'cnn\.other'"):
        import_checkpoint("cinenet", root / "a.pth", "cinenet.a", root)
    del state["cnn.cnn.conv_xt_yt.decoder.upconvs.1.weight"]
    torch.save(state, root / "a.pth")
    with pytest.raises(ModelError, match=r"blocks\.0\.nets\.0\.up\.1\.weight"):
        import_checkpoint("cinenet", root / "a.pth", "cinenet.a", root)


class FastMRIUNet(torch.nn.Module):
    """The U-Net under the names that fastMRI gives it, of published layers; the test's own reference."""

    def __init__(self, channels, pools):
        super().__init__()
        widths = [channels * 2**level for level in range(pools + 1)]
        self.down_sample_layers = torch.nn.ModuleList(
            self.block(a, b) for a, b in zip([1, *widths[:-2]], widths[:-1], strict=True)
        )
        self.conv = self.block(widths[-2], widths[-1])
        self.up_transpose_conv = torch.nn.ModuleList(self.up(2 * w, w) for w in reversed(widths[:-1]))
        blocks = [self.block(2 * w, w) for w in reversed(widths[:-1])]
        last = torch.nn.Sequential(blocks.pop(), torch.nn.Conv2d(channels, 1, 1))
        self.up_conv = torch.nn.ModuleList([*blocks, last])

    def named(self, *layers):
        module = torch.nn.Module()
        module.layers = torch.nn.Sequential(*layers)
        module.forward = module.layers.forward
        return module

    def block(self, a, b):
        layers = []
        for width in (a, b):
            conv = torch.nn.Conv2d(width, b, 3, padding=1, bias=False)
            layers += [conv, torch.nn.InstanceNorm2d(b), torch.nn.LeakyReLU(0.2), torch.nn.Dropout2d(0.0)]
        return self.named(*layers)

    def up(self, a, b):
        conv = torch.nn.ConvTranspose2d(a, b, 2, 2, bias=False)
        return self.named(conv, torch.nn.InstanceNorm2d(b), torch.nn.LeakyReLU(0.2))

    def forward(self, image):
        kept = []
        for block in self.down_sample_layers:
            image = block(image)
            kept.append(image)
            image = torch.nn.functional.avg_pool2d(image, 2)
        image = self.conv(image)
        for up, merge in zip(self.up_transpose_conv, self.up_conv, strict=True):
            image = merge(torch.cat([up(image), kept.pop()], dim=1))
        return image


@pytest.mark.parametrize("trainer", ["", "unet."])
def test_unet_of_fastmri(root, trainer):
    torch.manual_seed(0)
    reference = FastMRIUNet(4, 3)
    state = {f"{trainer}{key}": value for key, value in reference.state_dict().items()}
    torch.save({"state_dict": state}, root / "unet.ckpt")
    card = zoo.read_card(import_checkpoint("unet", root / "unet.ckpt", "unet.released", root))
    assert card.arguments == {"channels": 4, "pools": 3}
    assert card.conventions.normalisation == "max_image"
    image = torch.rand(2, 1, 32, 40)
    with torch.inference_mode():
        found = zoo.load(card.name).network(image, [0, 0], [0, 0])
        torch.testing.assert_close(found, reference(image))


def test_unets_that_do_not_fit_are_refused(root):
    torch.save({"down_sample_layers.0.layers.0.weight": torch.zeros(4, 2, 3, 3)}, root / "a.pth")
    with pytest.raises(ModelError, match="takes 2 images at once"):
        import_checkpoint("unet", root / "a.pth", "unet.a", root)
    torch.save({"conv.layers.1.weight": torch.zeros(4)}, root / "a.pth")
    with pytest.raises(ModelError, match=r"not the parameters of fastMRI's U-Net: unknown 'conv\.layers\.1\.weight'"):
        import_checkpoint("unet", root / "a.pth", "unet.a", root)
