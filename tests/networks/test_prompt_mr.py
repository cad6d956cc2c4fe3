"""PromptMR against the released network, and as a network of a whole series."""

import numpy as np
import pytest
import torch

from onebreath.errors import MethodError, ModelError
from onebreath.mri.fourier import fft2c
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.prompt_mr.official import prompt_mr
from onebreath.networks.prompt_mr.prompt_mr import PromptMR
from onebreath.networks.prompt_mr.sensitivity import centre_lines

GOLDEN = {
    "cascades": 2,
    "channels": (8, 12, 16, 20),
    "prompt_channels": (4, 8, 12),
    "sensitivity_channels": (4, 8, 8, 12),
    "sensitivity_prompt_channels": (4, 4, 8),
    "prompt_sizes": (16, 8, 4),
}
TINY = {
    **GOLDEN,
    "channels": (4, 4, 4, 8),
    "prompt_channels": (2, 2, 2),
    "sensitivity_channels": (4, 4, 4, 4),
    "sensitivity_prompt_channels": (2, 2, 2),
    "encoder_blocks": (1, 1, 1),
    "decoder_blocks": (1, 1, 1),
    "bottleneck_blocks": 1,
}


def released(golden):
    return {key[8:]: torch.from_numpy(golden[key]) for key in golden if key.startswith("weights/")}


def load(shared, run, complex_):
    """Network and inputs: the window of five frames is a series, and its third window is that of the golden file."""
    golden = np.load(shared / "golden" / "promptmr_tiny.npz")
    network = PromptMR(**GOLDEN, acs_lines=6 if run else None)
    network.load_state_dict(prompt_mr(released(golden)), strict=True)
    kspace = torch.from_numpy(golden["in/kspace"]).unflatten(1, (5, 3)).to(complex_)
    return golden, network, (kspace, torch.from_numpy(golden["in/mask"])[..., 0][:, :, None], torch.ones_like(kspace))


@pytest.fixture
def acs_scan(scan):
    """Like `scan`, with calibration lines."""

    def make(y=10, **arguments):
        kspace, mask, maps = scan(y=y, **arguments)
        mask = mask.clone()
        mask[..., y // 2 - 2 : y // 2 + 2, :] = True
        generator = torch.Generator().manual_seed(5)
        return torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator) * mask, mask, maps

    return make


def windows_kspace(windows, maps, kspace, mask):
    """K-space of all coils of the window around the third of five frames."""
    everywhere, sampled = (part[0].diagonal(dim1=0, dim2=1).permute(2, 0, 1)[:, None] for part in windows)
    return kspace[0] - fft2c(maps[0] * everywhere) + mask[0] * fft2c(maps[0] * sampled)


@pytest.mark.parametrize("run", ["", "_nlf6"])
class TestReleasedNetwork:
    def test_every_cascade_in_single_precision(self, shared, deviation, run):
        golden, network, (kspace, mask, maps) = load(shared, run, torch.complex64)
        with torch.inference_mode():
            estimated = network.estimate_maps(kspace, mask, maps)
            states = list(network.states(SampledSeries(kspace, mask, estimated), estimated))
            image = network(kspace, mask, maps)
        assert deviation(estimated.flatten(1, 2), golden[f"out/sens_maps{run}"]) <= 1e-4
        for index, windows in enumerate(states):
            found = windows_kspace(windows, estimated, kspace, mask).flatten(0, 1)
            assert deviation(found, golden[f"out/cascade{index}_kspace{run}"][0]) <= 2e-5
        assert deviation(image[:, 2].real, golden[f"out/image{run}"]) <= 1e-5
        assert image.imag.abs().max() == 0

    def test_image_in_double_precision(self, shared, deviation, run):
        golden, network, inputs = load(shared, run, torch.complex128)
        with torch.inference_mode():
            image = network.double()(*inputs)
        assert deviation(image[:, 2].real, golden[f"out/image_f64{run}"]) <= 1e-9


def test_parameter_counts_are_the_published_ones():
    network = PromptMR()
    assert sum(parameter.numel() for parameter in network.parameters()) == 30_496_134
    assert sum(value.numel() for value in network.state_dict().values()) == 35_058_054


def test_windows_together_equal_windows_alone(shared, deviation):
    """Seven frames; every window of five as a series of its own."""
    _, network, _ = load(shared, "", torch.complex64)
    generator = torch.Generator().manual_seed(1)
    kspace = torch.randn(1, 7, 3, 16, 20, dtype=torch.complex64, generator=generator)
    mask = torch.arange(16).reshape(1, 1, 1, 16, 1) % 3 == 1
    mask[..., 5:11, :] = True
    kspace, maps = kspace * mask, torch.ones_like(kspace)
    with torch.inference_mode():
        together = network(kspace, mask, maps)
        for frame in (0, 3, 6):
            window = [(frame + offset) % 7 for offset in range(-2, 3)]
            alone = network(kspace[:, window], mask, maps[:, window])[:, 2]
            assert deviation(together[:, frame], alone) < 1e-5


@pytest.mark.parametrize("coil_maps", ["network", "given"])
@pytest.mark.parametrize("combination", ["rss", "maps"])
class TestVariants:
    def make(self, coil_maps, combination, **more):
        torch.manual_seed(0)
        return PromptMR(**{**TINY, "coil_maps": coil_maps, "combination": combination, **more})

    def test_odd_sizes_and_scale(self, acs_scan, coil_maps, combination):
        network = self.make(coil_maps, combination).double()
        kspace, mask, maps = acs_scan(frames=5, coils=2, y=13, x=9, dtype=torch.complex128)
        with torch.inference_mode():
            image = network(kspace, mask, maps)
            torch.testing.assert_close(network(1e-4 * kspace, mask, maps), 1e-4 * image)
        assert image.shape == (1, 5, 13, 9)
        assert image.dtype == torch.complex128
        assert bool((image.imag != 0).any()) == (combination == "maps")

    def test_a_shift_of_the_cycle_shifts_the_images(self, acs_scan, coil_maps, combination):
        network = self.make(coil_maps, combination, window=3).double()
        kspace, mask, maps = acs_scan(frames=5, dtype=torch.complex128)
        with torch.inference_mode():
            shifted = network(kspace.roll(2, dims=1), mask.roll(2, dims=1), maps)
            torch.testing.assert_close(shifted, network(kspace, mask, maps).roll(2, dims=1))

    def test_batches_groups_and_checkpoints_change_nothing(self, acs_scan, coil_maps, combination):
        plain = self.make(coil_maps, combination, at_once=100, window=3).double()
        saving = self.make(coil_maps, combination, at_once=1, checkpointing=True, window=3).double()
        inputs = acs_scan(batch=2, frames=3, y=8, dtype=torch.complex128)
        image, saved = plain(*inputs), saving(*inputs)
        torch.testing.assert_close(image, saved, rtol=1e-10, atol=1e-10)
        alone = torch.cat([plain(*(array[n : n + 1] for array in inputs)) for n in range(2)])
        torch.testing.assert_close(image, alone, rtol=1e-10, atol=1e-10)
        for result in (image, saved):
            result.abs().square().sum().backward()
        for (name, one), two in zip(plain.named_parameters(), saving.parameters(), strict=True):
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-8, atol=1e-8, msg=name)

    def test_gradients_are_right(self, acs_scan, gradients_are_right, coil_maps, combination):
        network = self.make(coil_maps, combination, window=3).double()
        assert gradients_are_right(network, *acs_scan(frames=3, y=6, x=5, dtype=torch.complex128))

    def test_bfloat16_convolutions(self, acs_scan, coil_maps, combination, monkeypatch):
        monkeypatch.setattr("onebreath.networks.shared.precision.bfloat16_is_native", lambda device: True)
        network = self.make(coil_maps, combination)
        inputs = acs_scan(frames=5)
        with torch.inference_mode():
            single = network(*inputs)
            assert network.use_precision("auto") == torch.bfloat16
            half = network(*inputs)
        assert 0 < (half - single).abs().max() / single.abs().max() < 0.1


def test_prompts_are_kept_but_not_learned():
    network = PromptMR(**TINY)
    assert [name for name, _ in network.named_parameters() if "prompts" in name] == []
    assert network.state_dict()["blocks.0.decoder.0.prompt.prompts"].shape == (5, 2, 4, 4)


@pytest.mark.parametrize("axis", [-2, -1])
@pytest.mark.parametrize("size", [12, 13])
def test_centre_lines(axis, size):
    lines = torch.zeros(size, dtype=torch.bool)
    lines[[0, 2]] = True
    lines[size // 2 - 2 : size // 2 + 3] = True
    shape = [1, 1, 1, 1, 1]
    shape[axis] = size
    matrix = (size, 8) if axis == -2 else (8, size)
    for wanted, count in ((None, 4), (5, 5), (2, 2)):
        found = centre_lines(lines.reshape(shape), matrix, wanted).flatten().nonzero().flatten().tolist()
        assert found == list(range(size // 2 - count // 2, size // 2 - count // 2 + count))
    assert centre_lines(torch.ones(shape, dtype=torch.bool), (size, size)).sum() == size - size % 2


def test_what_cannot_be_reconstructed_is_refused(acs_scan, scan):
    network = PromptMR(**TINY)
    assert network.limits()["frames"][0] == 5
    with pytest.raises(MethodError, match="has 4 frames, this PromptMR sees 5 adjacent frames"):
        network(*acs_scan(frames=4))
    kspace, _, maps = acs_scan(frames=5, y=16)
    uniform = torch.arange(16).reshape(1, 1, 1, 16, 1) % 4 == 0
    with pytest.raises(MethodError, match=r"samples 0 lines without a gap .*network needs 4"):
        network(kspace * uniform, uniform, maps)
    assert PromptMR(**TINY, coil_maps="given")(kspace * uniform, uniform, maps).isfinite().all()
    with pytest.raises(MethodError, match=r"samples 4 lines .*network needs 6"):
        _, mask, _ = acs_scan(frames=5, y=16)
        PromptMR(**TINY, acs_lines=6)(kspace, mask[:, :1] & (torch.arange(16)[:, None] > 5), maps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 4}, "window is 4, expected an odd number"),
        ({"cascades": 0}, "cascades is 0"),
        ({"channels": (3, 4, 4, 4)}, "expected at least 4 on every level"),
        ({"encoder_blocks": (0, 1, 1)}, "at least 1 block"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ModelError, match=message):
        PromptMR(**{**TINY, **change})


class TestReleasedNames:
    def test_slopes_that_differ_are_refused(self, shared):
        state = released(np.load(shared / "golden" / "promptmr_tiny.npz"))
        state["cascades.1.model.unet.bottleneck.1.body.1.weight"] += 1
        with pytest.raises(ModelError, match=r"slope 'cascades\.1\.model\.unet\.bottleneck\.1\.body\.1\.weight' is"):
            prompt_mr(state)

    @pytest.mark.parametrize("name", ["cascades.0.model.unet.other.weight", "other", "cascades.0.other"])
    def test_unknown_names_are_refused(self, name):
        with pytest.raises(ModelError, match=f"unknown '{name}'"):
            prompt_mr({name: torch.zeros(1)})
