"""Frames: averages, cardiac phases from trigger stamps, and frames that lack lines."""

import random
from typing import Any

import ismrmrd
import numpy as np
import pytest
from gadgetron.types import ReconData

from onebreath.errors import ScanError
from onebreath.mrd.buffers import kspace_of, lines_of
from onebreath.mri.fourier import ifft2c
from onebreath.simulation.scan import ScanOptions, simulate
from tests.helpers import complex_normal
from tests.raw import COILS, LIMITS, ROWS, SAMPLES, content, line, marked, run, scan_header, sorted_by, value


class TestAverages:
    def lines(self, rng: np.random.Generator) -> list[ismrmrd.Acquisition]:
        noise = (complex_normal(rng, (COILS, 400)) for _ in range(4 * ROWS))
        return [line(next(noise), row, average=average) for average in range(4) for row in range(ROWS)]

    wide = scan_header((400, ROWS), limits=LIMITS)

    def test_combined_averages_keep_unit_noise_deviation(self) -> None:
        made, notes = sorted_by(self.lines(np.random.default_rng(0)), self.wide)
        assert np.std(made[0].bits[0].data.data.real) == pytest.approx(1, rel=0.02)
        assert notes[0]["averages_combined"] == 4

    def test_separate_averages_stay_apart(self) -> None:
        made, notes = sorted_by(self.lines(np.random.default_rng(0)), self.wide, averages="separate")
        assert [found["average"] for found in notes] == [0, 1, 2, 3]
        assert len(made) == 4

    def test_lines_that_are_repeated_without_a_counter_are_averaged_and_counted(self) -> None:
        made, notes = sorted_by(
            [*(marked(row) for row in range(ROWS)), line(np.full((COILS, SAMPLES), 3), 4, segment=1)]
        )
        assert content(made[0])[0, 4] == (value(row=4) + 3) / 2
        assert notes[0]["repeated_lines_averaged"] == 1


def beating(rr: list[int], rows: int = ROWS, step: int = 20) -> list[ismrmrd.Acquisition]:
    """A continuous scan: in each beat one row (or more) is acquired again and again; stamps in ticks of 2.5 ms."""
    lines, now, last = [], 4_000_000, max(range(rows))
    for beat, length in enumerate(rr):
        row = min(beat, last)
        for number, since in enumerate(range(0, length, step)):
            data = np.full((COILS, SAMPLES), 2 + np.cos(2 * np.pi * since / length))
            lines.append(line(data, row, trigger=since, acquisition_time_stamp=now + since, phase=number))
        now += length
    return lines


class TestPhysiology:
    def test_phases_are_binned_by_the_trigger_stamps(self) -> None:
        rng = np.random.default_rng(0)
        lines = beating((360 + rng.integers(-20, 20, ROWS)).tolist())
        random.Random(1).shuffle(lines)
        truth = 2 + np.cos(2 * np.pi * (np.arange(10) + 0.5) / 10)
        for binning, tolerance in (("nearest", 2 * np.pi / 36), ("linear", 0.03)):
            (made,), notes = sorted_by(lines, phases=10, binning=binning)
            assert lines_of(made.bits[0].data).all()
            off = np.abs(content(made) - truth[:, None]).max(axis=0)
            assert off[:-1].max() < tolerance
            # Nobody saw when the last beat ended: it counts as one of median length.
            assert off[-1] < tolerance + 2 * np.pi * 20 / 340
            assert (notes[0]["frames"], notes[0]["beats"], notes[0]["beats_rejected"]) == (10, ROWS, 0)
            assert notes[0]["rr_median_ms"] == pytest.approx(900, abs=50)

    def test_noise_is_white_with_nearest_and_told_with_linear(self) -> None:
        rng = np.random.default_rng(1)
        lines = beating([360] * ROWS)
        for given in lines:
            given.data[:] = complex_normal(rng, (COILS, SAMPLES))
        for binning in ("nearest", "linear"):
            (made,), notes = sorted_by(lines, phases=10, binning=binning)
            assert made.bits[0].data.data.real.std() == pytest.approx(notes[0]["noise_std"], rel=0.03)
            assert (notes[0]["noise_std"] == 1) == (binning == "nearest")

    def test_rejected_beats_are_counted_and_their_lines_left_out(self) -> None:
        # Row 3 is acquired in an early beat, and again in a regular one, as a scanner does.
        rr = [360] * 3 + [220] + [360] * (ROWS - 3)
        lines = beating(rr)
        for given in lines:
            beat_row = given.idx.kspace_encode_step_1
            given._head.idx.kspace_encode_step_1 = beat_row - (beat_row > 3)
        (made,), notes = sorted_by(lines, phases=6)
        assert (notes[0]["beats"], notes[0]["beats_rejected"]) == (ROWS + 1, 1)
        assert notes[0]["lines_of_rejected_beats_used"] == 0
        assert lines_of(made.bits[0].data)[:, : ROWS - 1].all()
        _, tolerant = sorted_by(lines, phases=6, arrhythmia_rejector_factor=0.5)
        assert tolerant[0]["beats_rejected"] == 0

    def test_a_row_that_only_a_rejected_beat_has_is_kept_and_told(self) -> None:
        (made,), notes = sorted_by(beating([360] * 3 + [220] + [360] * (ROWS - 4)), phases=6)
        assert notes[0]["beats_rejected"] == 1
        assert notes[0]["lines_of_rejected_beats_used"] == len(range(0, 220, 20))
        assert lines_of(made.bits[0].data)[:, 3].all()

    def test_the_number_of_phases_is_what_most_rows_counted(self) -> None:
        (made,), _ = sorted_by(beating([360] * (ROWS - 1) + [440]), N_dimension="physiology")
        assert made.bits[0].data.data.shape[4] == 18

    def test_embedded_calibration_lines_are_binned_too(self) -> None:
        lines = beating([360] * ROWS)
        for given in lines:
            if 4 <= given.idx.kspace_encode_step_1 < 9:
                given.setFlag(20 if given.idx.kspace_encode_step_1 % 2 else 21)
        (made,), _ = sorted_by(lines, phases=10)
        assert np.flatnonzero(lines_of(made.bits[0].ref).all(axis=0)).tolist() == [4, 5, 6, 7, 8]
        assert not lines_of(made.bits[0].data)[:, [5, 7]].any()

    def test_without_trigger_stamps_it_is_an_error_that_says_what_to_do(self) -> None:
        with pytest.raises(ScanError, match=r"physiology_time_stamp\[0\] is zero.*N_dimension"):
            sorted_by([marked(row) for row in range(ROWS)], phases=10)


class TestIncompletePhases:
    def lines(self) -> list[ismrmrd.Acquisition]:
        """Six phases; the last lacks rows 8 to 11."""
        return [marked(row, phase=phase) for phase in range(6) for row in range(8 if phase == 5 else ROWS)]

    def test_keep_leaves_them_to_the_mask(self) -> None:
        (made,), notes = sorted_by(self.lines(), incomplete_phases="keep")
        assert not lines_of(made.bits[0].data)[5, 8:].any()
        assert (notes[0]["incomplete_frames"], notes[0]["missing_lines"]) == (1, 4)
        assert notes[0]["incomplete_frames_policy"] == "keep"

    def test_fill_takes_the_nearest_frame(self) -> None:
        (made,), notes = sorted_by(self.lines())
        assert lines_of(made.bits[0].data).all()
        assert content(made)[5, 8:].tolist() == [value(row=row, phase=4) for row in range(8, ROWS)]
        assert (notes[0]["incomplete_frames_policy"], notes[0]["filled_from_frames_away"]) == ("fill", 1)

    def test_fill_repairs_the_calibration_lines_too(self) -> None:
        lines = self.lines() + [
            marked(row, 20, phase=phase) for phase in range(6) for row in (5, 6) if phase + row < 11
        ]
        (made,), _ = sorted_by(lines)
        assert lines_of(made.bits[0].ref)[:, 5:7].all()
        assert kspace_of(made.bits[0].ref)[5, 0, 6, 0] == value(row=6, phase=4)

    def test_a_separate_calibration_scan_is_left_as_it_is(self) -> None:
        given = scan_header((SAMPLES, ROWS), limits=LIMITS, calibration="separate")
        (made,), _ = sorted_by([marked(row, 20) for row in (5, 6, 7)] + self.lines(), given)
        assert lines_of(made.bits[0].ref).tolist() == [[5 <= row <= 7 for row in range(ROWS)]]

    def test_drop_leaves_the_frame_out(self) -> None:
        (made,), notes = sorted_by(self.lines(), incomplete_phases="drop")
        assert made.bits[0].data.data.shape[4] == 5
        assert (notes[0]["frames"], notes[0]["frames_dropped"]) == (5, 1)

    def test_error_names_the_frame_and_rows(self) -> None:
        with pytest.raises(ScanError, match=r"1 of 6 frames .*frame 5: rows 8, 9, 10, 11"):
            sorted_by(self.lines(), incomplete_phases="error")

    def test_complete_frames_are_not_talked_about(self) -> None:
        _, notes = sorted_by([marked(row, phase=phase) for phase in range(3) for row in range(ROWS)])
        assert notes[0]["incomplete_frames"] == 0
        assert "incomplete_frames_policy" not in notes[0]

    @pytest.mark.parametrize("policy", ["keep", "fill", "drop", "error"])
    def test_shifting_patterns_are_complete(self, policy: str) -> None:
        lines = [marked(row, phase=phase) for phase in range(6) for row in range(phase % 3, ROWS, 3)]
        (made,), notes = sorted_by(lines, incomplete_phases=policy)
        assert notes[0]["incomplete_frames"] == 0
        assert lines_of(made.bits[0].data).sum() == len(lines)

    @pytest.mark.parametrize("policy", ["keep", "fill", "drop"])
    def test_phases_without_any_line_are_dropped(self, policy: str) -> None:
        lines = [given for given in beating([360] * ROWS) if given._head.physiology_time_stamp[0] < 280]
        (made,), notes = sorted_by(lines, phases=9, incomplete_phases=policy)
        assert (notes[0]["frames"], notes[0]["frames_dropped"]) == (7, 2)
        assert made.bits[0].data.data.shape[4] == 7


class TestSimulatedScans:
    """The sorted k-space of fully sampled scans, made into images, against the truth of the simulator."""

    def error(self, binning: str, **options: Any) -> float:
        """Deviation from the truth in the heart, relative to the mean signal there."""
        common = {"matrix": (48, 48), "slices": 1, "coils": 2, "phases": 10, "acceleration": 1, "acs_mode": "none"}
        scan = simulate(ScanOptions(**common, mode="retrospective", lines_per_segment=8, snr=300, **options))
        white, _ = run("prewhiten", scan.header, scan.acquisitions)
        made, _ = run("sort", scan.header, white, phases=10, binning=binning)
        kspace = kspace_of(next(message for message in made if isinstance(message, ReconData)).bits[0].data)
        images = np.linalg.norm(ifft2c(kspace), axis=1)
        truth = np.abs(scan.truth["image"][0])
        assert images.shape == truth.shape
        scale = np.sum(images * truth) / np.sum(images**2)
        heart = np.broadcast_to(scan.truth["heart_mask"][0] > 0, truth.shape)
        return float(np.linalg.norm((scale * images - truth)[heart]) / np.linalg.norm(truth[heart]))

    @pytest.mark.parametrize("binning", ["nearest", "linear"])
    def test_retrospective_phases_match_the_truth(self, binning: str) -> None:
        assert self.error(binning, rr_variability=0.04) < 0.02
