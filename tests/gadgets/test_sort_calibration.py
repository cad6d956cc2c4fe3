"""Sorting of calibration lines: apart from the imaging lines, in the rows where they belong."""

import ismrmrd
import numpy as np
import pytest
from gadgetron.types import AcquisitionBucket

from onebreath.mrd.acs import acs_of
from onebreath.mrd.buffers import kspace_of, lines_of
from tests.raw import COILS, LIMITS, ROWS, SAMPLES, line, marked, scan_header, sorted_by, value


class TestCalibrationLines:
    acs = range(4, 9)

    def embedded(self, **counters: int) -> list[ismrmrd.Acquisition]:
        """Every third row, and calibration lines between them."""
        lattice = [marked(row, *([21] if row in self.acs else []), **counters) for row in range(0, ROWS, 3)]
        return lattice + [marked(row, 20, **counters) for row in self.acs if row % 3]

    def test_embedded_lines_are_the_reference_and_stay_out_of_the_data(self) -> None:
        given = scan_header((SAMPLES, ROWS), limits=LIMITS, calibration="embedded")
        (made,), notes = sorted_by(self.embedded(), given)
        assert np.flatnonzero(lines_of(made.bits[0].data)[0]).tolist() == [0, 3, 6, 9]
        assert np.flatnonzero(lines_of(made.bits[0].ref)[0]).tolist() == list(self.acs)
        assert (notes[0]["lines"], notes[0]["calibration_lines"]) == (4, 5)
        found = acs_of(made)
        assert found is not None
        assert found.first == 4
        assert found.lines[0, :, 0].real.tolist() == [value(row=row) for row in self.acs]

    def test_each_frame_keeps_its_own(self) -> None:
        lines = [given for phase in range(3) for given in self.embedded(phase=phase)]
        (made,), _ = sorted_by(lines)
        assert made.bits[0].ref.data.shape == made.bits[0].data.data.shape
        assert kspace_of(made.bits[0].ref)[2, 0, 5, 0] == value(row=5, phase=2)

    @pytest.mark.parametrize("first", [4, 0])
    def test_a_separate_scan_lies_about_the_centre_whatever_it_counts_from(self, first: int) -> None:
        given = scan_header((SAMPLES, ROWS), limits=LIMITS, calibration="separate")
        calibration = [line(np.full((COILS, SAMPLES), row), row - 4 + first, 20) for row in self.acs]
        lines = [marked(row, phase=phase) for phase in range(3) for row in range(0, ROWS, 2)]
        (made,), notes = sorted_by(calibration + lines, given)
        assert notes[0]["calibration_rows_moved_by"] == 4 - first
        assert made.bits[0].ref.data.shape[4] == 1
        found = acs_of(made)
        assert found is not None
        assert found.first == 4
        assert found.lines[0, :, 0].real.tolist() == list(self.acs)

    def test_a_slice_with_calibration_lines_only_is_told(self) -> None:
        made, notes = sorted_by([marked(6), marked(5, 20, slice=1)])
        assert len(made) == 1
        assert notes[1]["skipped"] == "no imaging lines"


def test_a_bucket_of_both_lists_counts_each_line_once() -> None:
    both, calibration = marked(6, 21), marked(7, 20)
    bucket = AcquisitionBucket([both], [], [both, calibration], [], [])
    (made,), notes = sorted_by([bucket])
    assert (notes[0]["lines"], notes[0]["calibration_lines"]) == (1, 2)
    assert notes[0]["repeated_lines_averaged"] == 0
    assert np.flatnonzero(lines_of(made.bits[0].ref)[0]).tolist() == [6, 7]
