import ismrmrd
import numpy as np

from onebreath.mrd.header import ScanHeader
from onebreath.mrd.meta import central_line, own_times, write_facts, write_scaling
from tests.scans import header, line_header


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


def test_each_echo_has_its_own_echo_time():
    scan = ScanHeader(header(8, 8))
    scan.xml.sequenceParameters.TE = [1.5, 3.0, 4.5]
    assert [own_times(scan, "TE", echo) for echo in range(4)] == [[1.5], [3.0], [4.5], [1.5, 3.0, 4.5]]
