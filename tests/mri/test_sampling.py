import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mri.sampling import describe, find_acs


def lines(size, where, acs=None, frames=1):
    mask = np.zeros((frames, size), bool)
    mask[:, where] = True
    if acs:
        mask[:, acs[0] : acs[1] + 1] = True
    return mask


def shifted(size, acceleration, frames, acs=None):
    return np.concatenate([lines(size, np.arange(f % acceleration, size, acceleration), acs) for f in range(frames)])


def test_siemens_scan_with_embedded_calibration():
    # Lines 0, 3, .. 105 and 30..77 of the scan, centre line 54, in a matrix of 144. Line 78 belongs to the lattice and
    # touches the block.
    scan = describe(lines(144, 18 + np.arange(0, 106, 3), (48, 95)))
    assert scan.acquired == (18, 123) and scan.centre == 72
    assert scan.acceleration == 3 and scan.offset == 0 and scan.uniform
    assert scan.acs == (48, 96) and scan.acs_mode == "embedded" and scan.family == "uniform_acs"
    assert scan.partial_fourier == 1, "54 lines below the centre and 51 above are symmetric at R=3"
    assert scan.effective_acceleration == pytest.approx(144 / 68)
    assert not scan.per_frame and scan.shape == (1, 144, 1)


@pytest.mark.parametrize("acceleration", [2, 3, 4, 8, 10, 24])
@pytest.mark.parametrize("offset", [0, 1])
def test_uniform_with_24_calibration_lines(backend, acceleration, offset):
    mask = lines(192, np.arange(offset, 192, acceleration), (84, 107), frames=12)
    scan = describe(backend(np.repeat(mask[..., None], 10, axis=2)))
    assert (scan.family, scan.acceleration, scan.offset) == ("uniform_acs", acceleration, offset)
    assert scan.acs[0] <= 84 and scan.acs[1] >= 107 and scan.acs[1] - scan.acs[0] < 26
    assert scan.readout == (0, 9) and scan.partial_fourier == 1 and not scan.per_frame


def test_uniform_without_calibration():
    scan = describe(lines(96, np.arange(2, 96, 4)), acs_mode="separate")
    assert (scan.family, scan.acceleration, scan.offset) == ("uniform", 4, 2)
    assert scan.acs is None and scan.acs_mode == "separate"
    assert describe(lines(96, np.arange(2, 96, 4))).acs_mode == "none"


def test_fully_sampled():
    scan = describe(np.ones((3, 40, 30), bool))
    assert (scan.family, scan.acceleration, scan.acs, scan.acs_mode) == ("full", 1, (0, 39), "full")
    assert scan.effective_acceleration == 1 and not scan.asymmetric_echo
    assert describe(np.ones((1, 3, 3), bool)).family == "full"


def test_shifted_frames():
    scan = describe(shifted(64, 4, 8))
    assert (scan.family, scan.acceleration, scan.per_frame) == ("kt_uniform", 4, True)
    assert scan.acs == (0, 63) and scan.acs_mode == "interleaved"
    with_block = describe(shifted(64, 4, 8, acs=(26, 37)))
    assert (with_block.family, with_block.acceleration, with_block.acs_mode) == ("kt_uniform", 4, "embedded")
    assert with_block.acs == (26, 37)


def test_random_lines():
    rng = np.random.default_rng(3)
    mask = rng.random((5, 64)) > 0.7
    mask[:, 32] = False
    assert (describe(mask).family, describe(mask).uniform) == ("irregular", False)
    mask[:, 28:36] = True
    with_block = describe(mask)
    assert with_block.family == "irregular_acs" and with_block.acs[0] <= 28 and with_block.acs[1] >= 35
    assert with_block.acceleration == pytest.approx(with_block.effective_acceleration, abs=1)


def test_scattered_samples_are_irregular():
    mask = np.random.default_rng(3).random((1, 32, 32)) > 0.5
    assert describe(mask).family.startswith("irregular")


def test_one_line():
    scan = describe(lines(144, [72]))
    assert (scan.family, scan.acquired, scan.acs, scan.uniform) == ("irregular", (72, 72), None, False)
    assert scan.effective_acceleration == 144


def test_empty_frames_are_set_aside_and_no_line_is_an_error():
    mask = lines(64, np.arange(0, 64, 4), (26, 37), frames=3)
    mask[1] = False
    scan = describe(mask)
    assert scan.empty_frames == (1,) and scan.family == "uniform_acs" and not scan.per_frame
    assert find_acs(mask) == (26, 37)
    with pytest.raises(ScanError, match="No line of k-space"):
        describe(np.zeros((2, 64), bool))


@pytest.mark.parametrize(
    ("acquired", "expected"), [((36, 143), 108 / 143), ((0, 107), 108 / 145), ((54, 143), 90 / 143), ((0, 143), 1)]
)
def test_partial_fourier(acquired, expected):
    scan = describe(lines(144, np.arange(acquired[0], acquired[1] + 1)))
    assert scan.acquired == acquired and scan.family == "full"
    assert scan.partial_fourier == pytest.approx(expected)


def test_asymmetric_echo():
    mask = np.ones((2, 32, 192), bool)
    mask[..., :40] = False
    scan = describe(mask)
    assert scan.asymmetric_echo and scan.readout == (40, 191) and scan.readout_centre == 96
    assert scan.family == "full" and scan.partial_fourier == 1
    assert not describe(mask, readout_centre=116).asymmetric_echo


def test_header_decides_where_lines_leave_a_choice():
    # R=24 in 48 lines: all but one lattice line hide in the block, and 12 explains the lines as well.
    mask = lines(48, [0, 24], (12, 35))
    assert describe(mask).acceleration == 12
    assert describe(mask, acceleration=24).acceleration == 24
    wrong = lines(96, np.arange(0, 96, 4))
    assert describe(wrong, acceleration=3).acceleration == 4


@pytest.mark.parametrize(
    ("block", "expected"), [((30, 33), (30, 33)), ((31, 33), None), ((40, 60), None), ((0, 63), (0, 63))]
)
def test_find_acs_wants_lines_around_the_centre(block, expected):
    assert find_acs(lines(64, [], block)) == expected


def test_centre_outside_the_matrix_is_a_scan_error():
    with pytest.raises(ScanError, match="centre 64 lies outside the matrix of 64"):
        describe(np.ones((1, 64), bool), centre_line=64)


def test_masks_of_other_rank_are_refused():
    with pytest.raises(ValueError, match=r"got shape \(8,\)"):
        describe(np.ones(8, bool))
