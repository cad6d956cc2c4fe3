"""PromptMR+ against the steps of the released code, written out in k-space under the released names."""

import pytest
import torch
import torch.nn.functional as F

from onebreath.errors import MethodError, ModelError
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.networks.prompt_mr.official import arguments_of_plus, prompt_mr, prompt_mr_plus
from onebreath.networks.prompt_mr.plus import PromptMRPlus

WINDOW, BUFFERS, HISTORY, COILS = 3, 4, 2, 2
CHANNELS, SENSITIVITY = (4, 8, 8, 12), (4, 4, 8, 8)
PROMPTS, SIZES = (2, 4, 2), (8, 4, 2)
ACS = 6


def released_state(cascades=3, seed=0):
    """Random weights under the names of the released code."""
    generator = torch.Generator().manual_seed(seed)
    state = {}

    def put(name, *shape, scale=None):
        fan = max(1, torch.tensor(shape[1:]).prod().item()) if len(shape) > 1 else 4
        state[name] = torch.randn(shape, generator=generator, dtype=torch.float64) * (scale or fan**-0.5)

    def block(name, width, slope=0.2):
        for layer in (0, 2):
            put(f"{name}.body.{layer}.weight", width, width, 3, 3)
        state[f"{name}.body.1.weight"] = torch.tensor([slope], dtype=torch.float64)
        put(f"{name}.CA.conv_du.0.weight", width // 4, width, 1, 1)
        put(f"{name}.CA.conv_du.2.weight", width, width // 4, 1, 1)

    def unet(name, images, widths, history, own):
        put(f"{name}.feat_extract.weight", widths[0], 2 * images, 3, 3)
        for level in (1, 2, 3):
            a, b, prompted = widths[level - 1], widths[level], widths[level] + PROMPTS[level - 1]
            block(f"{name}.enc_level{level}.encoder.0", a, own if level == 1 else 0.2)
            put(f"{name}.enc_level{level}.down.weight", b, a, 3, 3)
            put(f"{name}.enc_level{level}.down.bias", b)
            block(f"{name}.skip_attn{level}.skip_attn.0", a)
            prompt = f"{name}.prompt_level{level}"
            put(f"{prompt}.prompt_param", 1, 3, PROMPTS[level - 1], SIZES[level - 1], SIZES[level - 1], scale=1.0)
            put(f"{prompt}.linear_layer.weight", 3, b)
            put(f"{prompt}.linear_layer.bias", 3)
            put(f"{prompt}.dec_conv3x3.weight", PROMPTS[level - 1], PROMPTS[level - 1], 3, 3)
            if history:
                put(f"{name}.dec_level{level}.momentum.0.weight", b, b * (history + 1), 1, 1)
                block(f"{name}.dec_level{level}.momentum.1", b)
            block(f"{name}.dec_level{level}.fuse.0", prompted)
            put(f"{name}.dec_level{level}.reduce.weight", b, prompted, 1, 1)
            put(f"{name}.dec_level{level}.up.1.weight", a, b, 1, 1)
            block(f"{name}.dec_level{level}.ca", a)
        block(f"{name}.bottleneck.0", widths[3])
        put(f"{name}.conv_last.weight", 2 * images, widths[0], 5, 5)

    unet("sens_net.norm_unet.unet", WINDOW, SENSITIVITY, 0, 0.3)
    for cascade in range(cascades):
        unet(f"cascades.{cascade}.model.unet", WINDOW * (1 + BUFFERS), CHANNELS, HISTORY, 0.1 * cascade)
        state[f"cascades.{cascade}.dc_weight"] = torch.tensor([0.7 + 0.1 * cascade], dtype=torch.float64)
    return state


class Reference:
    """The released steps on one window, k-space (frame, coil, y, x) complex."""

    def __init__(self, state):
        self.state = state

    def block(self, name, x):
        s = self.state
        y = F.conv2d(x, s[f"{name}.body.0.weight"], padding=1)
        y = F.conv2d(torch.where(y > 0, y, y * s[f"{name}.body.1.weight"]), s[f"{name}.body.2.weight"], padding=1)
        weight = F.conv2d(y.mean((2, 3), keepdim=True), s[f"{name}.CA.conv_du.0.weight"]).relu()
        return x + y * F.conv2d(weight, s[f"{name}.CA.conv_du.2.weight"]).sigmoid()

    def unet(self, name, x, history):
        s, skips, features = self.state, [], []
        x = F.conv2d(x, s[f"{name}.feat_extract.weight"], padding=1)
        for level in (1, 2, 3):
            skips.append(self.block(f"{name}.enc_level{level}.encoder.0", x))
            down = f"{name}.enc_level{level}.down"
            x = F.conv2d(skips[-1], s[f"{down}.weight"], s[f"{down}.bias"], stride=2, padding=1)
        x = self.block(f"{name}.bottleneck.0", x)
        for level in (3, 2, 1):
            decoder, prompt = f"{name}.dec_level{level}", f"{name}.prompt_level{level}"
            features.append(x)
            weights = F.linear(x.mean((2, 3)), s[f"{prompt}.linear_layer.weight"], s[f"{prompt}.linear_layer.bias"])
            mixed = torch.einsum("np,pcyx->ncyx", weights.softmax(1), s[f"{prompt}.prompt_param"][0])
            mixed = F.interpolate(mixed, x.shape[-2:], mode="bilinear")
            mixed = F.conv2d(mixed, s[f"{prompt}.dec_conv3x3.weight"], padding=1)
            if f"{decoder}.momentum.0.weight" in s:
                before = [x] * HISTORY if history is None else history[3 - level]
                x = F.conv2d(torch.cat([x, *before], 1), s[f"{decoder}.momentum.0.weight"])
                x = self.block(f"{decoder}.momentum.1", x)
            x = self.block(f"{decoder}.fuse.0", torch.cat([x, mixed], 1))
            x = F.conv2d(x, s[f"{decoder}.reduce.weight"])
            x = F.conv2d(F.interpolate(x, scale_factor=2, mode="bilinear"), s[f"{decoder}.up.1.weight"])
            x = self.block(f"{decoder}.ca", x + self.block(f"{name}.skip_attn{level}.skip_attn.0", skips[level - 1]))
        if history is None:
            history = [[one] * HISTORY for one in features]
        else:
            history = [[one, *old[:-1]] for one, old in zip(features, history, strict=True)]
        return F.conv2d(x, s[f"{name}.conv_last.weight"], padding=2), history

    def normalised(self, name, images, history=None):
        """Images (batch, image, y, x), whose sides are multiples of 8."""
        channels = torch.cat([images.real, images.imag], 1)
        mean, std = channels.mean((1, 2, 3), keepdim=True), channels.flatten(1).std(1).reshape(-1, 1, 1, 1)
        made, history = self.unet(name, (channels - mean) / std, history)
        real, imaginary = (made * std + mean).chunk(2, dim=1)
        return torch.complex(real, imaginary), history

    def __call__(self, y, mask):
        middle = y.shape[-2] // 2
        centre = torch.zeros_like(y)
        lines = slice(middle - ACS // 2, middle + ACS // 2)
        centre[..., lines, :] = y[..., lines, :]
        maps, _ = self.normalised("sens_net.norm_unet.unet", ifft2c(centre).transpose(0, 1))
        maps = maps.transpose(0, 1)
        maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()

        def combine(kspace):
            return (ifft2c(kspace) * maps.conj()).sum(1)

        kspace, start = y, combine(y)
        buffers, history = [start] * BUFFERS, None
        cascades = len({name.split(".")[1] for name in self.state if name.startswith("cascades.")})
        for cascade in range(cascades):
            seen = torch.cat([combine(kspace), *buffers])[None]
            made, history = self.normalised(f"cascades.{cascade}.model.unet", seen, history)
            groups = made[0].split(WINDOW)
            step = self.state[f"cascades.{cascade}.dc_weight"]
            kspace = kspace - step * mask * (kspace - y) - fft2c(groups[0][:, None] * maps)
            measured = combine(mask * kspace)
            buffers = [measured, groups[2], start, measured - start]
        return ifft2c(kspace[WINDOW // 2]).abs().square().sum(0).sqrt()


@pytest.fixture(scope="module")
def scan():
    generator = torch.Generator().manual_seed(3)
    kspace = torch.randn(1, 4, COILS, 24, 16, dtype=torch.complex128, generator=generator)
    lines = torch.arange(24) % 4 == 1
    lines[12 - ACS // 2 : 12 + ACS // 2] = True
    mask = lines.reshape(1, 1, 1, 24, 1)
    return kspace * mask, mask, torch.ones(1, 1, COILS, 24, 16, dtype=torch.complex128) / COILS**0.5


@pytest.fixture(scope="module")
def network():
    state = prompt_mr_plus(released_state())
    made = PromptMRPlus(**arguments_of_plus(state)).double().eval()
    made.load_state_dict(state, strict=True)
    return made


def test_the_released_steps_give_the_same_images(scan, network):
    kspace, mask, maps = scan
    with torch.inference_mode():
        images = network(kspace, mask, maps)
        reference = Reference(released_state())
        for frame in range(4):
            window = kspace[0, [(frame - 1) % 4, frame, (frame + 1) % 4]]
            expected = reference(window, mask[0].double())
            torch.testing.assert_close(images[0, frame].real, expected, rtol=1e-9, atol=1e-9)
    assert not images.imag.any()


def test_sizes_come_from_the_weights(network):
    found = arguments_of_plus(prompt_mr_plus(released_state()))
    assert {name: found[name] for name in ("window", "buffers", "history", "adjacent_maps", "cascades")} == {
        "window": WINDOW, "buffers": BUFFERS, "history": HISTORY, "adjacent_maps": True, "cascades": 3,
    }  # fmt: skip
    assert found["channels"] == list(CHANNELS)
    assert found["prompts"] == 3


def test_earlier_cascades_matter(scan, network):
    kspace, mask, maps = scan
    image = network(kspace, mask, maps)
    state = network.state_dict()
    for part in ("mix.weight", "head.weight"):
        changed = {name: value.clone() for name, value in state.items()}
        name = f"blocks.2.{part}" if part.startswith("head") else f"blocks.2.decoder.1.{part}"
        width = changed[name].shape[1]
        changed[name][:, width // 2 :] = 0  # history, or buffers
        other = PromptMRPlus(**arguments_of_plus(state)).double().eval()
        other.load_state_dict(changed)
        assert not torch.allclose(other(kspace, mask, maps), image, rtol=1e-3)


def test_with_checkpointing_gradients_are_the_same(scan, network):
    found = []
    for checkpointing in (False, True):
        network.checkpointing = checkpointing
        network.zero_grad()
        network(*scan).abs().sum().backward()
        found.append(network.blocks[0].head.weight.grad.clone())
    network.checkpointing = False
    torch.testing.assert_close(*found)
    assert found[0].abs().max() > 0


def test_weights_and_series_that_do_not_fit_are_refused(scan, network):
    kspace, mask, maps = scan
    with pytest.raises(MethodError, match=r"has 2 frames, this PromptMR\+ sees 3 adjacent frames"):
        network(kspace[:, :2], mask, maps)
    with pytest.raises(ModelError, match="import them as prompt_mr_plus"):
        prompt_mr(released_state())
    with pytest.raises(ModelError, match="buffers is 2, expected 0 or at least 3"):
        PromptMRPlus(buffers=2)
    state = prompt_mr_plus(released_state())
    del state["blocks.0.head.weight"]
    with pytest.raises(ModelError, match=r"not those of PromptMR"):
        arguments_of_plus(state)
