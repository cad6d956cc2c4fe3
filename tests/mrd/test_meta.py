import ismrmrd
import numpy as np

from onebreath.mrd.header import ScanHeader
from onebreath.mrd.meta import central_line, image_index, write_facts, write_scaling
from tests.scans import header, line_header


def test_image_numbers_count_slices_fastest():
    scan = ScanHeader(header(8, 8, phases=3, slices=2))
    numbers = [image_index(line_header(0, 8, 1, phase=p, slice=s).idx, scan) for p in range(3) for s in range(2)]
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_image_numbers_wrap_like_the_headers_field():
    scan = ScanHeader(header(8, 8, phases=40000, slices=2))
    assert image_index(line_header(0, 8, 1, phase=39999, slice=1).idx, scan) == 80000 % 65536


def test_the_central_line_is_the_nearest_that_was_acquired():
    headers = np.array([ismrmrd.AcquisitionHeader() for _ in range(8)], dtype=object)
    for row in (0, 3, 6):
        headers[row] = line_header(row, 8, 1)
    assert central_line(headers, 4).idx.kspace_encode_step_1 == 3


def test_scaling_is_written_with_its_inverse():
    meta = ismrmrd.Meta()
    write_scaling(meta, 10.0, 2048.0)
    pixel = 10.0 * 3.5 + 2048
    assert float(meta["RescaleSlope"]) * pixel + float(meta["RescaleIntercept"]) == 3.5


def test_facts_are_named_after_their_gadget():
    meta = ismrmrd.Meta()
    write_facts(meta, {"sort": {"frames": 12}})
    assert meta == {"Onebreath_sort_frames": "12"}


def test_phases_binned_beyond_the_headers_count_get_numbers_of_their_own():
    scan = ScanHeader(header(8, 8, phases=2, slices=3))
    places = [line_header(0, 8, 1, phase=p, slice=s).idx for p in range(5) for s in range(3)]
    assert len({image_index(idx, scan, 5) for idx in places}) == 15
    assert {image_index(idx, scan) for idx in places[:6]} == set(range(1, 7))
