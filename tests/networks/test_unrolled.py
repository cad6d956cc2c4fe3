"""What every multi-coil network must do, whatever is inside."""

import pytest
import torch

from onebreath.errors import MethodError
from onebreath.networks.cinenet.cinenet import CineNet
from onebreath.networks.crnn_mri.crnn_mri import CRNNMRI
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from onebreath.networks.crunet_mr.unet3d_mr import UNet3DMR

NETWORKS = {
    "crunet": lambda **more: CRUNetMR(channels=4, cascades=2, **more),
    "bank-conv": lambda **more: CRUNetMR(channels=4, cascades=3, fusion="conv", **more),
    "bank-cab": lambda **more: CRUNetMR(channels=4, cascades=3, fusion="ca", ca_reduction=2, **more),
    "bank-se": lambda **more: CRUNetMR(channels=4, cascades=3, fusion="ca", ca_style="se", ca_reduction=2, **more),
    "crnn": lambda **more: CRNNMRI(channels=4, cascades=2, **more),
    "crnn-shared": lambda **more: CRNNMRI(channels=4, cascades=2, shared=True, **more),
    "cinenet": lambda **more: CineNet(channels=4, cascades=2, stages=2, **more),
    "cinenet-separate": lambda **more: CineNet(channels=4, cascades=2, stages=2, shared=True, separate=True, **more),
    "unet3d": lambda **more: UNet3DMR(channels=4, cascades=2, **more),
    "unet3d-sides": lambda **more: UNet3DMR(channels=4, cascades=2, paper_size=False, **more),
}

SMALLEST = {name: 2 for name in NETWORKS if name.startswith("cinenet")}
"""Frames of the shortest series that a network takes, where it is not 1."""


def centred_fft(image):
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image, dim=(-2, -1)), norm="ortho"), dim=(-2, -1))


@pytest.fixture(params=NETWORKS)
def build(request):
    torch.manual_seed(3)
    return NETWORKS[request.param]


@pytest.fixture(params=[name for name in NETWORKS if not name.startswith("cinenet")])
def build_hard(request):
    """Networks whose images hold the measured samples."""
    torch.manual_seed(3)
    return NETWORKS[request.param]


@pytest.mark.parametrize(("frames", "y", "x"), [(1, 8, 8), (2, 9, 7), (5, 13, 16)])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_number_of_frames_and_odd_sizes(name, scan, frames, y, x):
    frames = max(frames, SMALLEST.get(name, 1))
    with torch.inference_mode():
        image = NETWORKS[name]()(*scan(batch=1, frames=frames, coils=3, y=y, x=x))
    assert image.shape == (1, frames, y, x)
    assert image.dtype == torch.complex64
    assert image.isfinite().all()


def test_two_series_in_a_batch_do_not_mix(build, scan):
    network = build().double()
    inputs = scan(batch=2, dtype=torch.complex128)
    with torch.inference_mode():
        together = network(*inputs)
        apart = torch.cat([network(*(array[n : n + 1] for array in inputs)) for n in range(2)])
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.startswith("crnn")])
def test_scaling_the_data_scales_the_image(name, scan):
    """CRNN-MRI does not normalise; the others are blind to scale."""
    network = NETWORKS[name]().double()
    kspace, mask, maps = scan(dtype=torch.complex128)
    with torch.inference_mode():
        torch.testing.assert_close(network(1e-4 * kspace, mask, maps), 1e-4 * network(kspace, mask, maps))


def test_checkpointing_changes_memory_only(build, scan):
    inputs = scan(dtype=torch.complex128)
    plain, saving = build().double(), build(checkpointing=True).double()
    saving.load_state_dict(plain.state_dict())
    for network in (plain, saving):
        network(*inputs).abs().square().sum().backward()
    for (name, one), two in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-9, atol=1e-9)


def test_inference_equals_the_pass_with_gradients(build, scan):
    network = build().double()
    inputs = scan(dtype=torch.complex128)
    with torch.inference_mode():
        inferred = network(*inputs)
    torch.testing.assert_close(inferred, network(*inputs).detach(), rtol=1e-12, atol=1e-12)


def test_gradients_are_right(build, scan, gradients_are_right):
    assert gradients_are_right(build().double(), *scan(frames=2, y=4, x=4, dtype=torch.complex128))


def test_data_consistency_keeps_double_precision_with_single_weights(build_hard, scan):
    network = build_hard()
    kspace, mask, _ = scan(coils=1, dtype=torch.complex128)
    with torch.inference_mode():
        image = network(kspace, mask, torch.ones(1, 1, 1, *kspace.shape[-2:], dtype=torch.complex128))
    assert image.dtype == torch.complex128
    assert ((centred_fft(image) - kspace[:, :, 0]) * mask[:, :, 0]).abs().max() < 1e-12


def test_cascades_end_with_the_image(build, scan):
    network = build()
    with torch.inference_mode():
        images = list(network.cascades(*scan()))
        final = network(*scan())
    assert len(images) == len(network.consistency)
    torch.testing.assert_close(images[-1], final)


@pytest.mark.parametrize("kind", ["soft", "cg"])
def test_learned_weights_follow_the_noise(scan, kind):
    network = CRUNetMR(channels=4, cascades=2, data_consistency=kind)
    kspace, mask, maps = scan()
    with torch.inference_mode():
        trusting = network(kspace, mask, maps, noise_std=torch.tensor([1e-4]))
        doubting = network(kspace, mask, maps, noise_std=torch.tensor([1e4]))
    hard = CRUNetMR(channels=4, cascades=2)
    hard.load_state_dict({key: value for key, value in network.state_dict().items() if "consistency" not in key})
    with torch.inference_mode():
        wanted = hard(kspace, mask, maps)
    measured = centred_fft(trusting[:, :, None] * maps)
    if kind == "soft":
        torch.testing.assert_close(trusting, wanted, rtol=1e-3, atol=1e-4)
    else:
        assert ((measured - kspace) * mask).abs().max() < 0.05 * kspace.abs().max()
    assert (doubting - wanted).abs().max() > 0.05 * wanted.abs().max()
    with pytest.raises(MethodError, match="noise_std is None, expected shape"):
        network(kspace, mask, maps)


def test_bfloat16_convolutions_leave_the_data_exact(build_hard, scan, monkeypatch):
    monkeypatch.setattr("onebreath.networks.shared.precision.bfloat16_is_native", lambda device: True)
    network = build_hard()
    kspace, mask, _ = scan(coils=1)
    maps = torch.ones(1, 1, 1, *kspace.shape[-2:], dtype=torch.complex64)
    with torch.inference_mode():
        single = network(kspace, mask, maps)
        assert network.use_precision("auto") == torch.bfloat16
        half = network(kspace, mask, maps)
    error = (half - single).abs().max() / single.abs().max()
    assert 0 < error < 0.05
    assert half.dtype == torch.complex64
    assert ((centred_fft(half) - kspace[:, :, 0]) * mask[:, :, 0]).abs().max() < 1e-5
