"""A-LIKNet against the released code, and the properties it must have."""

import numpy as np
import pytest
import torch

from onebreath.errors import MethodError, ModelError
from onebreath.mri.fourier import fft2c, fftc, ifftc
from onebreath.networks.a_liknet import ALIKNet
from onebreath.networks.a_liknet.attention import recorded_weights
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.training.data.masks import make_mask
from tests.networks.a_liknet_golden import Golden

FILES = ("aliknet_full_io", "aliknet_full_weights_iter0", "aliknet_full_weights_iter1")


@pytest.fixture(scope="module")
def released(shared):
    golden = Golden(shared / "golden", *FILES)
    network = ALIKNet(iterations=2)
    for index, iteration in enumerate(network.iterations):
        iteration.load_state_dict(golden.iteration(index), strict=True)
    with torch.no_grad():
        network.kspace_weight.copy_(golden.number("weights/ksp_dc_weight"))
    return golden, network.requires_grad_(False)


def inputs(golden):
    return [golden.series(f"in/{name}") for name in ("kspace", "mask", "sens_maps")]


def test_image_and_kspace_equal_the_released_network(released, deviation):
    golden, network = released
    image, kspace = network.reconstruct(*inputs(golden))
    assert deviation(image, golden.series("out/image")) <= 1e-4
    assert deviation(kspace, golden.series("out/kspace")) <= 1e-4


STEPS = {
    "den": lambda iteration: iteration.image.denoiser,
    "img_lr": lambda iteration: iteration.image,
    "ksp_net": lambda iteration: iteration.kspace,
}


def test_every_step_equals_the_released_network(released, deviation):
    golden, network = released
    found = {}
    handles = [
        part(iteration).register_forward_hook(
            lambda _, arguments, out, key=f"iter{index}_{name}": found.__setitem__(key, out)
        )
        for index, iteration in enumerate(network.iterations)
        for name, part in STEPS.items()
    ]
    network(*inputs(golden))
    for handle in handles:
        handle.remove()
    compared = [deviation(found[key], golden.series(f"out/{key}")) for key in found if f"out/{key}" in golden.arrays]
    assert len(compared) == 5
    assert max(compared) <= 1e-5


def test_masked_sharing_is_that_of_the_released_network(released, deviation):
    golden, network = released
    masked = ALIKNet(iterations=2, masked_sharing=True).requires_grad_(False)
    masked.load_state_dict(network.state_dict())
    image = masked(*inputs(golden))
    assert deviation(image, golden.series("out/image_masked_isl")) <= 1e-4
    assert deviation(image, golden.series("out/image")) > 1e-3


def tiny(**changes):
    return ALIKNet(**{"frames": 3, "coils": 2, "iterations": 2, "channels": 2, "kspace_channels": (3, 2), **changes})


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_count():
    assert parameters(ALIKNet()) == 2_477_961
    assert parameters(ALIKNet()) - parameters(ALIKNet(time_attention=False, coil_attention=False)) == 8 * (764 + 548)
    assert parameters(ALIKNet()) - parameters(ALIKNet(kspace_branch=False)) == 8 * (169_778 + 2) + 1
    assert parameters(ALIKNet()) - parameters(ALIKNet(image_branch=False)) == 8 * (139_882 + 2)
    assert parameters(ALIKNet()) - parameters(ALIKNet(low_rank_branch=False)) == 8 * (80 + 1)
    assert parameters(ALIKNet()) - parameters(ALIKNet(sharing=False)) == 7 * 2


ABLATIONS = [
    {"kspace_branch": False},
    {"image_branch": False},
    {"low_rank_branch": False},
    {"image_branch": False, "low_rank_branch": False},
    {"kspace_branch": False, "image_branch": False},
    {"time_attention": False},
    {"coil_attention": False},
    {"sharing": False},
    {"image_consistency": "cg", "noise_level": 2.0},
    {"upsample_kernel": 2, "kspace_residual": True},
]


@pytest.mark.parametrize("changes", ABLATIONS, ids=str)
def test_what_is_left_out_changes_the_image_and_all_that_stays_is_trained(scan, changes):
    torch.manual_seed(0)
    network, arrays = tiny(**changes), scan()
    image = network(*arrays)
    image.abs().square().sum().backward()
    used = {name for name, weight in network.named_parameters() if weight.grad is not None}
    left = {name for name, _ in network.named_parameters()} - used
    # The k-space after the last iteration is no part of the image.
    assert left <= {"iterations.1.sharing.kspace_weight"}
    torch.manual_seed(0)
    assert not torch.allclose(tiny()(*arrays), image, rtol=1e-4, atol=1e-6)


def test_fully_sampled_data_are_a_fixed_point_of_the_data_term(scan):
    """Without noise and without learned corrections nothing moves."""
    _, mask, maps = scan(dtype=torch.complex128)
    network = tiny(image_branch=False, low_rank_branch=False, kspace_residual=True).double()
    truth = torch.randn(1, 3, 10, 8, dtype=torch.complex128)
    full = fft2c(truth[:, :, None] * maps)
    image, found = network.reconstruct(full, torch.ones_like(mask), maps)
    torch.testing.assert_close(image, truth)
    torch.testing.assert_close(found, full)


@pytest.mark.parametrize("kind", ["hard", "cg"])
def test_data_consistency_may_come_last(scan, kind):
    torch.manual_seed(0)
    plain, last = tiny(), tiny(last_consistency=kind, noise_level=5.0 if kind == "cg" else None)
    last.load_state_dict(plain.state_dict())
    kspace, mask, maps = scan()
    series = SampledSeries(kspace, mask, maps)
    torch.testing.assert_close(last(kspace, mask, maps), last.last(plain(kspace, mask, maps), series))


@pytest.mark.parametrize("acceleration", [8, 16, 24])
def test_masks_that_change_from_frame_to_frame(acceleration):
    lines = make_mask("vista", 4, 48, acceleration, 0, np.random.default_rng(1))
    assert len({row.tobytes() for row in lines}) > 1
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(1, 1, 2, 48, 8, dtype=torch.complex64, generator=generator)
    maps = maps / maps.abs().square().sum(2, keepdim=True).sqrt()
    kspace = torch.randn(1, 4, 2, 48, 8, dtype=torch.complex64, generator=generator)
    mask = torch.from_numpy(lines)[None, :, None, :, None]
    torch.manual_seed(0)
    network = tiny(frames=4)
    image = network(kspace, mask, maps)
    assert image.shape == (1, 4, 48, 8)
    assert bool(image.isfinite().all())
    # What was not sampled is not looked at; what was sampled in one frame alone is.
    torch.testing.assert_close(network(kspace * mask, mask, maps), image)
    other = mask.roll(1, dims=1)
    assert not torch.allclose(network(kspace, other, maps), image, rtol=1e-3, atol=1e-5)


def test_longer_series_are_cut_into_windows(scan):
    torch.manual_seed(0)
    network, (kspace, mask, maps) = tiny(), scan(frames=7)
    image, found = network.reconstruct(kspace, mask, maps)
    assert image.shape == (1, 7, 10, 8)
    assert found.shape == kspace.shape
    parts = [network(kspace[:, first : first + 3], mask[:, first : first + 3], maps) for first in (0, 2, 4)]
    torch.testing.assert_close(image[:, :2], parts[0][:, :2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(image[:, 2], (parts[0][:, 2] + parts[1][:, 0]) / 2, rtol=1e-4, atol=1e-5)
    assert network.facts(7) == {"frame_windows": 3, "window_frames": 3, "window_columns": "all"}


def test_wide_images_are_seen_a_few_columns_at_a_time(scan):
    """Windows are scans of their own: fully sampled along x, the data of each are exact."""
    torch.manual_seed(0)
    network, kspace, mask, maps = tiny(columns=12, image_consistency="cg", last_consistency="cg"), *scan(frames=4, x=26)
    noise = torch.tensor([0.1])
    image, found = network.reconstruct(kspace, mask, maps, noise)
    assert image.shape == (1, 4, 10, 26)
    assert found.shape == kspace.shape
    narrow = ifftc(kspace, -1)[:, :3, ..., :12]
    first = network(fftc(narrow, -1), mask[:, :3], maps[..., :12], noise)
    torch.testing.assert_close(image[:, 0, :, :7], first[:, 0, :, :7], rtol=1e-4, atol=1e-5)
    assert network.facts(4)["window_columns"] == 12
    with pytest.raises(MethodError, match="mask changes along x, but the network sees 12 of 26 columns"):
        network(kspace, mask & (torch.arange(26) > 5), maps, noise)


def test_windows_join_to_the_whole_where_nothing_is_learned(scan):
    network = tiny(columns=8, image_branch=False, low_rank_branch=False, kspace_residual=True).double()
    _, mask, maps = scan(dtype=torch.complex128, x=19, frames=5)
    truth = torch.randn(1, 5, 10, 19, dtype=torch.complex128)
    full = fft2c(truth[:, :, None] * maps)
    image, found = network.reconstruct(full, torch.ones_like(mask), maps)
    torch.testing.assert_close(image, truth)
    torch.testing.assert_close(found, full)


def test_bfloat16_convolutions_give_nearly_the_same_image(scan, deviation):
    torch.manual_seed(0)
    network, arrays = tiny(), scan()
    with torch.inference_mode():
        wanted = network(*arrays)
        network._compute_dtype = torch.bfloat16  # emulated where the processor has none
        found = network(*arrays)
    assert found.dtype == torch.complex64
    assert 0 < deviation(found, wanted) < 0.05


@pytest.mark.parametrize(("size", "named"), [({"frames": 2}, "kspace has 2 frames.*built for 3"),
                                             ({"coils": 4}, "kspace has 4 coils.*built for 2; compress"),
                                             ({"y": 7}, "kspace has size 7 along y"),
                                             ({"x": 6}, "kspace has size 6 along x")])  # fmt: skip
def test_data_that_the_weights_do_not_fit_are_refused(scan, size, named):
    with pytest.raises(MethodError, match=named):
        tiny()(*scan(**size))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"frames": 0}, "frames is 0"),
        ({"columns": 7}, "columns is 7"),
        ({"kspace_channels": (4, 0)}, "kspace_channels is 0"),
        ({"upsample_kernel": 3}, "upsample_kernel is 3"),
        ({"kspace_branch": False, "image_branch": False, "low_rank_branch": False}, "are all False"),
        ({"last_consistency": "soft", "noise_level": -1.0}, "noise_level is -1.0"),
    ],
)
def test_wrong_arguments_are_named(changes, named):
    with pytest.raises(ModelError, match=named):
        tiny(**changes)


def test_gradients_are_exact(scan):
    torch.manual_seed(3)
    kspace, mask, maps = scan(dtype=torch.complex128, y=8, x=8)
    network = tiny(iterations=1, channels=1, kspace_channels=(1, 1)).double()
    for name, weight in network.named_parameters():
        if name.endswith("activation.bias"):
            torch.nn.init.constant_(weight, 0.01)
    chosen = [
        network.iterations[0].step,
        network.iterations[0].image.tau,
        network.iterations[0].image.denoiser.out.weight,
        network.iterations[0].image.denoiser.attentions[1].weights.excite.bias,
        network.iterations[0].image.low_rank.coefficients,
        network.iterations[0].kspace.layers[-1].weight,
        network.iterations[0].sharing.image_weight,
        network.kspace_weight,
    ]

    def run(data, *_):
        return network(data, mask, maps)

    assert torch.autograd.gradcheck(run, (kspace.requires_grad_(), *chosen), fast_mode=True, atol=1e-6)


def test_zero_kspace_gives_a_finite_image_and_finite_gradients(scan):
    kspace, mask, maps = scan()
    network = tiny(image_consistency="cg", noise_level=1.0)
    network((kspace * 0).requires_grad_(), mask, maps).abs().square().sum().backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in network.parameters() if weight.grad is not None)


def test_checkpointing_changes_no_gradient(scan):
    torch.manual_seed(0)
    kept, recomputed = tiny(), tiny(checkpointing=True)
    recomputed.load_state_dict(kept.state_dict())
    for network in (kept, recomputed):
        network(*scan()).abs().square().sum().backward()
    for ours, theirs in zip(kept.parameters(), recomputed.parameters(), strict=True):
        if ours.grad is not None:
            torch.testing.assert_close(theirs.grad, ours.grad)


def test_attention_weights_can_be_looked_at(scan):
    network = tiny()
    with recorded_weights(network) as weights:
        network(*scan(batch=2))
    assert weights["iterations.0.image.denoiser.attentions.0"].shape == (2, 2, 4)  # 3 frames are padded to 4
    assert weights["iterations.1.image.denoiser.attentions.1"].shape == (2, 2, 2)
    assert weights["iterations.1.kspace.layers.5"].shape == (2, 2, 2)
    assert len(weights) == 8
    assert all(bool(((found > 0) & (found < 1)).all()) for found in weights.values())
    kept = {name: found.clone() for name, found in weights.items()}
    network(*scan(seed=1))
    assert all(torch.equal(weights[name], kept[name]) for name in kept)
