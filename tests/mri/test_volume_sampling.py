"""What a mask of both phase encodings says."""

import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mri.volume_sampling import Lattice, block_around, describe_volume

SHAPE = (16, 24)
CENTRE = (8, 12)


def described(mask: np.ndarray):
    return describe_volume(mask[None], CENTRE, (0, 31), 32)


@pytest.mark.parametrize("dz", [1, 2, 3])
@pytest.mark.parametrize("dy", [1, 2, 4])
@pytest.mark.parametrize("shift", [0, 1, 3])
@pytest.mark.parametrize("block", [False, True])
def test_a_lattice_is_found_with_and_without_a_block(dz: int, dy: int, shift: int, block: bool) -> None:
    lattice = Lattice(dz, dy, shift % dy, (8 % dz, (12 - shift * (8 // dz)) % dy))
    mask = lattice.points(SHAPE)
    assert mask[CENTRE]
    if block:
        mask[5:12, 8:17] = True
    found = described(mask)
    if dz * dy == 1:
        assert (found.family, found.acceleration) == ("full", 1)
        return
    assert found.lattice == lattice
    assert found.acceleration == dz * dy
    assert found.family == ("lattice_acs" if block or ((dz == 1 or dy == 1) and found.acs) else "lattice")
    assert found.partial_fourier == (1, 1)
    assert found.region.all()
    if block:
        assert found.acs is not None
        (z0, z1), (y0, y1) = found.acs
        assert z0 <= 5 <= 11 <= z1
        assert y0 <= 8 <= 16 <= y1


def test_partial_fourier_of_both_axes() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[4:, 8:] = True
    found = described(mask)
    assert found.acquired == ((4, 15), (8, 23))
    assert found.partial_fourier == (pytest.approx(12 / 15), pytest.approx(16 / 23))
    assert not found.region[:4].any()
    assert not found.complete


def test_corners_that_were_left_out_are_no_part_of_the_region() -> None:
    z, y = np.mgrid[:16, :24]
    inside = ((z - 8) / 8) ** 2 + ((y - 12) / 12) ** 2 <= 1
    found = described(inside & (z % 2 == 0) & (y % 2 == 0))
    assert found.lattice == Lattice(2, 2, 0, (0, 0))
    assert not found.region[0, 0]
    assert (found.region | ~inside).mean() > 0.95


def test_a_random_pattern_is_no_lattice() -> None:
    mask = np.random.default_rng(0).random(SHAPE) < 0.4
    mask[6:11, 9:15] = True
    found = described(mask)
    assert (found.lattice, found.family) == (None, "irregular_acs")
    assert 1.5 < found.acceleration < 4


def test_a_block_needs_the_centre() -> None:
    mask = np.ones(SHAPE, bool)
    assert block_around(mask, CENTRE) == ((0, 15), (0, 23))
    mask[CENTRE] = False
    assert block_around(mask, CENTRE) is None


def test_no_line_is_an_error() -> None:
    with pytest.raises(ScanError, match="No line of k-space"):
        described(np.zeros(SHAPE, bool))
