"""Networks in pieces: the same image, or a stated difference."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onebreath.errors import ModelError
from onebreath.networks.crnn_mri.crnn_mri import CRNNMRI
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from onebreath.networks.crunet_mr.unet3d_mr import UNet3DMR
from onebreath.networks.shared.tiling import TiledNetwork, cut_tiles

NETWORKS = {
    "crunet_mr": lambda: CRUNetMR(channels=4, cascades=2),
    "bank": lambda: CRUNetMR(channels=4, cascades=3, fusion="ca", ca_reduction=2),
    "bank of two": lambda: CRUNetMR(channels=4, cascades=4, fusion="conv", bank_window=2),
    "crnn_mri": lambda: CRNNMRI(channels=4, cascades=2),
    "unet3d_mr": lambda: UNet3DMR(channels=4, cascades=2),
}


def both(network, scan, tiles, halo):
    pieces = TiledNetwork(network, tiles, halo)
    with torch.inference_mode():
        return pieces(*scan), network(*scan), pieces.seam_deviation


@given(st.integers(1, 60), st.data(), st.integers(0, 40), st.sampled_from([1, 2, 8]))
def test_tiles_give_every_column_once_and_see_their_halo(steps, data, halo, step):
    width, tiles = steps * step, data.draw(st.integers(1, steps))
    found = cut_tiles(width, tiles, halo, step)
    assert len(found) == tiles
    assert [column for tile in found for column in range(width)[tile.inner]] == list(range(width))
    for inner, outer in found:
        assert inner.start < inner.stop
        assert outer.start <= max(0, inner.start - halo)
        assert outer.stop >= min(width, inner.stop + halo)
        assert all(edge % step == 0 for edge in (inner.start, inner.stop, outer.start, outer.stop))


@pytest.mark.parametrize("tiles", [0, 4])
def test_more_tiles_than_columns_are_refused(tiles):
    with pytest.raises(ModelError, match=f"tiles is {tiles}, expected 1 to 3: the image has 24 columns"):
        cut_tiles(24, tiles, 8, 8)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("tiles", [1, 3])
def test_tiles_that_see_everything_change_nothing(scan, deviation, name, tiles):
    torch.manual_seed(0)
    found, wanted, seam = both(NETWORKS[name](), scan(frames=4, y=11, x=37), tiles, halo=64)
    assert deviation(found, wanted) <= 1e-5
    assert seam <= 1e-5


def test_a_halo_as_wide_as_the_convolutions_see_changes_nothing(scan, deviation):
    torch.manual_seed(0)
    found, wanted, seam = both(UNet3DMR(channels=4, cascades=2), scan(frames=4, y=16, x=160), 2, halo=48)
    assert deviation(found, wanted) <= 1e-5
    assert seam <= 1e-5


@pytest.mark.parametrize(("name", "halo"), [("crunet_mr", 8), ("unet3d_mr", 8), ("crnn_mri", 4)])
def test_the_stated_deviation_is_about_the_true_one(scan, deviation, name, halo):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)  # larger weights carry what lies beyond a border further
    found, wanted, seam = both(network, scan(frames=4, y=16, x=160), 2, halo)
    true = deviation(found, wanted)
    assert true > 1e-4
    assert true / 5 < seam < true * 20


def test_the_whole_image_is_normalised_as_one(scan, deviation):
    """One tile is a thousand times brighter; statistics of its own would change the other one."""
    torch.manual_seed(0)
    kspace, mask, maps = scan(frames=2, y=16, x=96)
    image = torch.ones(96)
    image[48:] = 1000
    kspace = torch.fft.fftshift(torch.fft.ifft(torch.fft.ifftshift(kspace, dim=-1)), dim=-1) * image
    kspace = torch.fft.fftshift(torch.fft.fft(torch.fft.ifftshift(kspace, dim=-1)), dim=-1)
    found, wanted, _ = both(UNet3DMR(channels=4, cascades=1), (kspace, mask, maps), 2, halo=48)
    assert deviation(found, wanted) <= 1e-5
    assert deviation(found[..., :40], wanted[..., :40]) <= 1e-3


def test_weights_and_precision_are_those_of_the_network():
    network = NETWORKS["crunet_mr"]()
    pieces = TiledNetwork(network, 2, 8)
    assert {id(p) for p in pieces.parameters()} == {id(p) for p in network.parameters()}
