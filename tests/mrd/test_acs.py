import ismrmrd
import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mrd.acs import acs_of, calibration_mode, merge_acs, with_reference
from onebreath.mrd.buffers import kspace_of, lines_of, mask_of
from onebreath.mrd.header import ScanHeader
from tests.scans import coil_scan, header, recon_data

BOTH = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING


def every(step: int, frames: int = 3, rows: int = 36) -> np.ndarray:
    lines = np.zeros((frames, rows), bool)
    lines[:, ::step] = True
    return lines


def block(first: int, last: int, frames: int = 3, rows: int = 36) -> np.ndarray:
    lines = np.zeros((frames, rows), bool)
    lines[:, first : last + 1] = True
    return lines


def test_calibration_lines_are_averaged_over_the_frames_that_have_them():
    _, _, kspace = coil_scan()
    only_two = block(12, 23)
    only_two[1] = False
    acs = acs_of(recon_data(kspace, every(3), only_two))
    assert acs.first == 12
    assert np.allclose(acs.lines, kspace[[0, 2], :, 12:24].mean(axis=0), atol=1e-5)


def test_lines_beyond_a_gap_are_left_out_by_name():
    _, _, kspace = coil_scan()
    acs = acs_of(recon_data(kspace, every(3), block(12, 23) | block(4, 4)))
    assert acs.first == 12
    assert np.allclose(acs.lines, kspace[:, :, 12:24].mean(axis=0), atol=1e-5)
    assert "rows 4, 12-23 of 36 were acquired" in acs.left_out
    assert "rows 4 were left out" in acs.left_out


@pytest.mark.parametrize("lines", [every(2), block(4, 15) | block(21, 30), block(18, 19) | block(1, 6)])
def test_gaps_that_leave_no_block_around_the_centre_are_refused(lines):
    _, _, kspace = coil_scan()
    with pytest.raises(ScanError, match="The calibration lines have gaps"):
        acs_of(recon_data(kspace, every(3), lines))


def test_another_readout_is_refused():
    _, _, kspace = coil_scan()
    data = recon_data(kspace, every(3), block(12, 23))
    data.bits[0].ref.data = data.bits[0].ref.data[:16]
    with pytest.raises(ScanError, match="16 samples and 6 channels, the imaging lines 32 and 6"):
        acs_of(data)


@pytest.mark.parametrize(
    ("lines", "acs", "flag", "claim", "mode"),
    [
        (every(3), block(12, 23), BOTH, None, "embedded"),
        (every(3), block(12, 23), None, "embedded", "embedded"),
        (every(3), block(12, 23), None, None, "separate"),
        (every(3) | block(12, 23), None, None, None, "centre"),
        (every(1), None, None, None, "full"),
        (every(3), None, None, "embedded", "none"),
    ],
)
def test_the_mode_is_found_in_the_lines(lines, acs, flag, claim, mode):
    _, _, kspace = coil_scan()
    scan = ScanHeader(header(36, 32, factor=3, mode=claim))
    assert calibration_mode(recon_data(kspace, lines, acs, flag=flag), scan) == mode


def test_interleaved_frames_calibrate_together():
    _, _, kspace = coil_scan()
    lines = np.zeros((3, 36), bool)
    for n in range(3):
        lines[n, n::3] = True
    data = recon_data(kspace, lines)
    assert calibration_mode(data, ScanHeader(header(36, 32))) == "interleaved"
    acs = acs_of(with_reference(data))
    assert (acs.first, acs.lines.shape[1]) == (0, 36)
    assert np.allclose(acs.lines[:, 4], kspace[1, :, 4])


def test_the_centre_of_the_imaging_lines_becomes_the_reference():
    _, _, kspace = coil_scan()
    acs = acs_of(with_reference(recon_data(kspace, every(4) | block(12, 23))))
    assert (acs.first, acs.lines.shape[1]) == (12, 13)  # row 24 is a line of the lattice beside the block
    assert np.allclose(acs.lines, kspace[:, :, 12:25].mean(axis=0), atol=1e-5)


def test_without_a_block_there_is_no_reference():
    _, _, kspace = coil_scan()
    assert acs_of(with_reference(recon_data(kspace, every(3)))) is None


def test_embedded_lines_count_as_data_only_where_imaging_lines_lack():
    _, _, kspace = coil_scan()
    data = recon_data(kspace, every(3), block(12, 23))
    buffer = data.bits[0].data
    merged, mask = merge_acs(kspace_of(buffer), mask_of(buffer), data)
    assert np.array_equal(mask[:, :, 0], every(3) | block(12, 23))
    assert np.array_equal(merged, np.where(mask[:, None], kspace, 0))
    assert np.array_equal(lines_of(buffer), every(3)), "the message itself stays as it was"


@pytest.mark.parametrize("place", [(1, 0), (0, 1)])
def test_a_reference_without_the_datas_set_or_slice_is_not_merged(place):
    _, _, kspace = coil_scan()
    data = recon_data(kspace, every(3), block(12, 23))
    buffer = data.bits[0].data
    _, mask = merge_acs(kspace_of(buffer), mask_of(buffer), data, *place)
    assert np.array_equal(mask[:, :, 0], every(3))


def test_a_reference_of_other_frames_is_not_merged():
    _, _, kspace = coil_scan()
    data = recon_data(kspace, every(3))
    data.bits[0].ref = recon_data(kspace[:1], block(12, 23, frames=1)).bits[0].data
    buffer = data.bits[0].data
    _, mask = merge_acs(kspace_of(buffer), mask_of(buffer), data)
    assert np.array_equal(mask[:, :, 0], every(3))
