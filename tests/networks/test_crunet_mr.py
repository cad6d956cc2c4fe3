"""CRUNet-MR against the released networks, and the properties it must have."""

import numpy as np
import pytest
import torch
from onebreath.networks import official_names
from onebreath.networks.crunet_mr import CRUNetMR

RELEASED = {
    "crunet_base": {},
    "crunet_bank_conv_official": {"fusion": "conv", "side_kernel": 3, "circular_time": False, "pad_multiple": 2},
    "crunet_bank_conv_circular_1x1": {"fusion": "conv", "pad_multiple": 2},
}
FEATURES = {"x4": 0, "x3": 1, "x2": 2}


def deviation(found, wanted):
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("mask", ["", "_acs_only"])
@pytest.mark.parametrize(
    ("real", "complex_", "suffix", "tolerance"),
    [(torch.float32, torch.complex64, "", 2e-5), (torch.float64, torch.complex128, "_f64", 1e-9)],
)
@pytest.mark.parametrize("name", RELEASED)
def test_every_cascade_equals_the_released_network(shared, name, real, complex_, suffix, tolerance, mask):
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
            compared.append(deviation(image.numpy(), golden[f"out/cascade{index}{suffix}{mask}"]))
            for official, level in FEATURES.items():
                key = f"out/cascade{index}_feat_{official}"
                if key in golden and not mask:
                    assert deviation(features[level][0].numpy(), golden[key]) <= 2e-5
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
