"""3D UNet-MR."""

import pytest
import torch
import torch.nn.functional as F

from onebreath.networks.crunet_mr.unet3d_mr import Conv3dUnit, UNet3DMR


def test_parameter_counts():
    assert sum(parameter.numel() for parameter in UNet3DMR().parameters()) == 4_000_010
    assert sum(parameter.numel() for parameter in UNet3DMR(paper_size=False).parameters()) == 4_534_730


@pytest.mark.parametrize("circular", [True, False])
def test_unit_is_a_padded_conv3d(circular):
    unit = Conv3dUnit(3, 2, circular, side_branch=True).double()
    series = torch.randn(2, 4, 3, 6, 5, dtype=torch.float64)
    padded = F.pad(series.transpose(1, 2), (0, 0, 0, 0, 1, 1), mode="circular" if circular else "constant")
    wanted = F.conv3d(F.pad(padded, (2, 2, 2, 2)), unit.conv.weight, unit.conv.bias, dilation=(1, 2, 2)).relu()
    side = torch.stack([unit.side(frame) for frame in series])
    torch.testing.assert_close(unit(series), wanted.transpose(1, 2) + side)


def test_cycle_has_no_first_frame(scan):
    """With circular padding and no recurrence, a shift of the cycle shifts the images."""
    network = UNet3DMR(channels=4, cascades=2).double()
    kspace, mask, maps = scan(frames=5, dtype=torch.complex128)
    with torch.inference_mode():
        shifted = network(kspace.roll(2, dims=1), mask.roll(2, dims=1), maps)
        torch.testing.assert_close(shifted, network(kspace, mask, maps).roll(2, dims=1))
