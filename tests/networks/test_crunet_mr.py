"""CRUNet-MR against the released networks, and the properties it must have."""

import numpy as np
import pytest
import torch

from onebreath.errors import ModelError
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.crunet_mr import official_names
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR

RELEASED = {
    "crunet_base": {},
    "crunet_bank_conv_official": {"fusion": "conv", "side_kernel": 3, "circular_time": False, "pad_multiple": 2},
    "crunet_bank_conv_circular_1x1": {"fusion": "conv", "pad_multiple": 2},
}
LEVELS = {"x4": 0, "x3": 1, "x2": 2}


@pytest.mark.parametrize("mask", ["", "_acs_only"])
@pytest.mark.parametrize(
    ("real", "complex_", "suffix", "tolerance"),
    [(torch.float32, torch.complex64, "", 2e-5), (torch.float64, torch.complex128, "_f64", 1e-9)],
)
@pytest.mark.parametrize("name", RELEASED)
def test_every_cascade_equals_the_released_network(shared, deviation, name, real, complex_, suffix, tolerance, mask):
    golden = np.load(shared / "golden" / f"{name}.npz")
    weights = {key[8:]: torch.from_numpy(golden[key]) for key in golden if key.startswith("weights/")}
    network = CRUNetMR(channels=8, cascades=3, **RELEASED[name])
    network.load_state_dict(official_names.crunet_mr(weights), strict=True)
    network.to(real)
    kspace, sampled, maps = (
        torch.from_numpy(golden[f"in/{key}"]) for key in (f"kspace{mask}", f"mask{mask}", "sens_maps")
    )
    compared = []
    with torch.inference_mode():
        for index, (image, features) in enumerate(network.states(kspace.to(complex_), sampled, maps.to(complex_))):
            compared.append(deviation(image, golden[f"out/cascade{index}{suffix}{mask}"]))
            for official, level in LEVELS.items():
                key = f"out/cascade{index}_feat_{official}"
                if key in golden and not mask:
                    assert deviation(features[level][0], golden[key]) <= 2e-5
    assert len(compared) == 3
    assert max(compared) <= tolerance


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_are_the_published_ones():
    assert parameters(CRUNetMR()) == 4_537_930
    assert parameters(CRUNetMR(fusion="conv")) == 5_644_618
    slopes = 3 * 4  # one PReLU slope per channel-attention fuser, not in the published arithmetic
    assert parameters(CRUNetMR(fusion="ca", ca_reduction=16)) == 11_343_178 + slopes
    assert parameters(CRUNetMR(fusion="ca", ca_reduction=4)) == 11_481_418 + slopes
    assert parameters(CRUNetMR(fusion="ca", ca_style="se", ca_reduction=16)) == 4_707_658
    assert parameters(CRUNetMR(fusion="ca", ca_style="se", ca_reduction=4)) == 4_845_898


def test_ablations_remove_what_they_name():
    full = parameters(CRUNetMR())
    assert full - parameters(CRUNetMR(side_branches=False)) == 5 * 5 * (64 * 64 + 64)
    assert full - parameters(CRUNetMR(cross_cascade=False)) == 5 * 5 * (64 * 64 * 9 + 64)
    assert parameters(CRUNetMR(circular_time=False)) == full
    assert parameters(CRUNetMR(dilations=(1, 3, 5))) == full


def test_without_flow_every_cascade_sees_only_the_image(scan):
    network = CRUNetMR(channels=4, cascades=2, cross_cascade=False)
    with torch.no_grad():
        first, second = network.cascades(*scan())
        alone, _ = network.refine(1, first, None)
    consistent = network.consistency[1](alone, SampledSeries(*scan()))
    torch.testing.assert_close(second, consistent)


def test_flow_between_cascades_changes_the_image(scan):
    torch.manual_seed(1)
    network = CRUNetMR(channels=4, cascades=2)
    with torch.no_grad():
        first, second = network.cascades(*scan())
        alone, _ = network.refine(1, first, None)
    assert not torch.allclose(second, network.consistency[1](alone, SampledSeries(*scan())), rtol=1e-4, atol=1e-5)


def test_zero_input_gives_a_finite_image_and_finite_gradients():
    network = CRUNetMR(channels=4, cascades=2)
    kspace = torch.zeros(1, 3, 2, 8, 8, dtype=torch.complex64, requires_grad=True)
    image = network(kspace, torch.ones(1, 1, 1, 8, 1), torch.full((1, 1, 2, 8, 8), 0.5**0.5, dtype=torch.complex64))
    image.abs().square().sum().backward()
    assert image.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"cascades": 0}, "cascades is 0"),
        ({"dilations": (1, 2)}, r"dilations is \(1, 2\)"),
        ({"fusion": "mean"}, "fusion is 'mean'"),
        ({"fusion": "conv", "cross_cascade": False}, "cross_cascade is False"),
        ({"fusion": "ca", "ca_style": "big"}, "ca_style is 'big'"),
        ({"fusion": "ca", "ca_reduction": 128}, "ca_reduction is 128"),
        ({"fusion": "conv", "bank_window": 0}, "bank_window is 0"),
        ({"data_consistency": "firm"}, "data_consistency is 'firm'"),
        ({"data_consistency": "soft", "noise_level": 0.0}, "noise_level is 0.0"),
        ({"pad_multiple": 3}, "pad_multiple is 3"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(ModelError, match=named):
        CRUNetMR(**arguments)
