"""MR-IPT against the released network, and what it must hold by itself."""

import numpy as np
import pytest
import torch

from onebreath.errors import MethodError, ModelError
from onebreath.networks.mr_ipt.mr_ipt import MRIPT, by_group
from onebreath.networks.mr_ipt.official import arguments_of, mr_ipt
from onebreath.zoo.architectures import build

TINY = {
    "image_size": 32, "channels": 8, "width": 32, "depth": 4, "heads": 4, "window": 3, "global_blocks": (1, 3),
    "embedding": 32, "decoder_heads": 4, "decoder_hidden": 64,
}  # fmt: skip
DEAD = 2_164_800 + 4 * (256 * 256 + 256) + 2 * 256
"""Parameters of the released network that take no part in its result."""
VARIANTS = ("type", "level", "split")


def tiny(variant="type", seed=0):
    """A tiny network whose parameters are all random: tables of positions start at zero."""
    torch.manual_seed(seed)
    network = build("mr_ipt", {"variant": variant, **TINY}).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def released(shared, variant, dtype=torch.float32):
    golden = np.load(shared / "golden" / f"mript_tiny_{variant}.npz")
    state = {key[8:]: torch.from_numpy(golden[key]) for key in golden if key.startswith("weights/")}
    network = build("mr_ipt", {"variant": variant, **TINY})
    network.load_state_dict(mr_ipt(state))
    inputs = (torch.from_numpy(golden["in/image"]).to(dtype), golden["in/levels"].tolist(), golden["in/types"].tolist())
    return golden, network.to(dtype).eval(), inputs


@pytest.mark.parametrize("variant", VARIANTS)
class TestReleasedNetwork:
    def test_image_in_both_precisions(self, shared, deviation, variant):
        for dtype, key, most in ((torch.float32, "out/image", 1e-5), (torch.float64, "out/image_f64", 1e-8)):
            golden, network, inputs = released(shared, variant, dtype)
            with torch.inference_mode():
                assert deviation(network(*inputs), golden[key]) <= most

    def test_every_stage(self, shared, deviation, variant):
        golden, network, (images, levels, types) = released(shared, variant)
        seen = {}
        stages = [("patch_embed", network.encoder.patches), ("image_embeddings", network.encoder)]
        stages += [(f"encoder_block{n}", block) for n, block in enumerate(network.encoder.blocks)]
        stages += [("prompt_tokens", network.prompts), ("decoder_output", network.decoder)]
        for name, module in stages:
            module.register_forward_hook(lambda *call, name=name: seen.update({name: call[2]}))
        with torch.inference_mode():
            network(images, levels, types)
            seen["image_pe"] = network.prompts.positions(8, 8).transpose(1, 2).reshape(1, 32, 8, 8)
            seen["image_tokens"] = network.decoder.attend(
                seen["image_embeddings"], seen["prompt_tokens"], network.prompts.positions(8, 8)
            )
        seen["patch_embed"] = seen["patch_embed"].movedim(1, -1)
        for name, found in seen.items():
            assert deviation(found, golden[f"out/{name}"]) <= 1e-5, name

    def test_sizes_are_read_from_the_weights(self, shared, variant):
        _, network, _ = released(shared, variant)
        known = {**TINY, "variant": variant, "global_blocks": [1, 3]}
        del known["decoder_heads"]
        assert arguments_of(network.state_dict()) == known


@pytest.mark.parametrize(("variant", "count"), [("type", 315_473_412), ("level", 315_884_485), ("split", 322_050_580)])
def test_the_published_size_has_the_published_parameters(variant, count):
    with torch.device("meta"):
        network = MRIPT(variant)
    assert sum(parameter.numel() for parameter in network.parameters()) == count - DEAD


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_learns_when_all_groups_are_in_the_batch(variant):
    network = tiny(variant)
    levels, types = zip(*[(level, kind) for level in range(5) for kind in range(4)], strict=True)
    network(torch.rand(20, 1, 32, 32), levels, types).square().sum().backward()
    dead = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert dead == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_gives_what_its_images_give_alone(variant):
    network = tiny(variant).double()
    images, levels, types = torch.rand(6, 1, 32, 32, dtype=torch.float64), [4, 0, 2, 0, 4, 1], [1, 3, 0, 3, 1, 2]
    with torch.inference_mode():
        together = network(images, levels, types)
        alone = [network(images[n : n + 1], levels[n : n + 1], types[n : n + 1]) for n in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_level_and_type_change_the_image(variant):
    network, image = tiny(variant), torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        first, level, kind = (network(image, [a], [b]) for a, b in ((0, 0), (3, 0), (0, 2)))
    assert not torch.allclose(first, level)
    assert not torch.allclose(first, kind)


def test_a_prompt_between_two_levels_mixes_their_tokens():
    prompts = tiny().prompts
    low, high, between, beyond = prompts([1.0, 2.0, 1.25, 9.0], [0, 0, 0, 0])[:, 0]
    torch.testing.assert_close(between, 0.75 * low + 0.25 * high)
    torch.testing.assert_close(beyond, prompts.level_tokens[4])


@pytest.mark.parametrize("shape", [(32, 32), (33, 30), (45, 70), (4, 5)])
def test_any_image_size(shape):
    with torch.inference_mode():
        image = tiny()(torch.rand(1, 1, *shape), [1], [2])
    assert image.shape[-2:] == shape
    assert image.isfinite().all()


def test_learned_positions_are_interpolated_on_a_larger_grid():
    encoder = tiny().encoder
    ramp = torch.linspace(-1, 1, 8)[None, :, None, None].expand(1, 8, 8, 32)
    with torch.no_grad():
        encoder.positions.copy_(ramp)
        wide = encoder._positions(16, 12)
    assert wide.shape == (1, 16, 12, 32)
    inner = wide[0, 4:12, :, 0]
    torch.testing.assert_close(inner[:, 0], inner[:, 7])
    # Half the distance of the tokens, half the step of the ramp.
    torch.testing.assert_close(inner.diff(dim=0), torch.full((7, 12), 1 / 7), rtol=0.05, atol=0)


def test_groups_run_once_each():
    calls = []

    def run(group, part):
        calls.append((group, len(part)))
        return part + group

    assert by_group(run, [2, 0, 2, 1], torch.zeros(4)).tolist() == [2, 0, 2, 1]
    assert sorted(calls) == [(0, 1), (1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("images", "levels", "types", "message"),
    [
        (torch.rand(1, 1, 8, 8, dtype=torch.complex64), [0], [0], "images are torch.complex64, expected magnitudes"),
        (torch.rand(1, 2, 8, 8), [0], [0], r"shape \(1, 2, 8, 8\), expected \(batch, 1, y, x\)"),
        (torch.rand(1, 1, 3, 8), [0], [0], "3 x 8 pixels are smaller than 4 x 4"),
        (torch.rand(1, 1, 8, 8), [5], [0], r"levels holds the index 5, known are 0 to 4: \(2.0, 4.0, 6.0, 8.0, 10.0\)"),
        (torch.rand(1, 1, 8, 8), [0], [-1], "types holds the index -1, known are 0 to 3: .*'gaussian_2d'"),
        (torch.rand(2, 1, 8, 8), [0, 1], [0], "types has 1 entries for 2 images"),
    ],
)
def test_wrong_inputs_are_named(images, levels, types, message):
    with pytest.raises(MethodError, match=message):
        tiny()(images, levels, types)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 30}, "patch 4 must divide image_size 30"),
        ({"heads": 5}, "heads 5 width 32"),
        ({"global_blocks": (7,)}, r"global_blocks is \(7,\), expected numbers from 0 to 3"),
        ({"embedding": 36}, "embedding is 36, expected a multiple of 2 \\* decoder_heads = 8"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ModelError, match=message):
        build("mr_ipt", {**TINY, **changes})


def test_another_networks_weights_are_named():
    with pytest.raises(ModelError, match=r"not those of MR-IPT: parameter 'encoder.positions' is missing"):
        arguments_of(mr_ipt({"cascades.0.head.weight": torch.zeros(2)}))


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        network = tiny()
        network.encoder.checkpointing = checkpointing
        image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
        network(image, [0], [1]).sum().backward()
        gradients.append(network.encoder.patches.weight.grad)
    torch.testing.assert_close(*gradients)
