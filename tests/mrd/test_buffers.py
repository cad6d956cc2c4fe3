import numpy as np
import pytest
from gadgetron.types.recon_data import SamplingLimit

from onebreath.errors import ScanError
from onebreath.mrd.buffers import kspace_of, lines_of, maps_of, mask_of, places, scan_bits, with_maps
from tests.scans import buffer, coil_scan, recon_data


def test_axes_become_frame_coil_y_x_without_a_copy():
    _, _, kspace = coil_scan()
    lines = np.ones((3, 36), bool)
    made = buffer(kspace, lines)
    assert made.data.shape == (32, 36, 1, 6, 3, 1, 1)
    assert np.array_equal(kspace_of(made), kspace)
    assert np.shares_memory(kspace_of(made), made.data)


def test_lines_and_mask_follow_the_headers():
    _, _, kspace = coil_scan()
    lines = np.zeros((3, 36), bool)
    lines[0, ::2] = lines[1, 1::2] = True
    made = buffer(kspace, lines)
    assert np.array_equal(lines_of(made), lines)
    assert mask_of(made).shape == (3, 36, 1)


def test_an_asymmetric_echo_shows_in_the_mask():
    _, _, kspace = coil_scan()
    made = buffer(kspace, np.ones((3, 36), bool))
    made.sampling.sampling_limits[0] = SamplingLimit(7, 16, 31)
    mask = mask_of(made)
    assert mask.shape == (3, 36, 32)
    assert not mask[:, :, :7].any()
    assert mask[:, :, 7:].all()


def test_a_reference_cropped_by_gadgetron_is_understood():
    _, _, kspace = coil_scan()
    lines = np.zeros((3, 36), bool)
    lines[:, 12:24] = True
    made = buffer(kspace, lines)
    made.data = made.data[:, 12:24]
    made.sampling.sampling_limits[1] = SamplingLimit(0, 6, 11)
    assert lines_of(made).shape == (3, 12)
    assert lines_of(made).all()


def test_maps_travel_in_a_bit_of_their_own():
    _, maps, kspace = coil_scan()
    data = recon_data(kspace, np.ones((3, 36), bool))
    both_sets = np.stack([maps, 1j * maps]).astype(np.complex64)[None]
    carried = with_maps(data, both_sets)
    assert maps_of(data) is None
    assert np.array_equal(maps_of(carried), both_sets[0])
    assert scan_bits(carried) == data.bits
    assert list(places(carried)) == [(0, 0)]


def test_partitions_are_refused():
    _, _, kspace = coil_scan()
    made = buffer(kspace, np.ones((3, 36), bool))
    made.data = np.repeat(made.data, 2, axis=2)
    with pytest.raises(ScanError, match="2 partitions"):
        kspace_of(made)
