"""Sorting by counters, whatever the order of arrival; against Gadgetron's own buffers."""

import random
import tracemalloc
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from gadgetron.types import ReconData

from onebreath.chain.gadget import gadget_class, parse_properties
from onebreath.errors import ScanError
from onebreath.mrd.buffers import lines_of
from onebreath.mrd.lines import SIDE_LINES
from tests.helpers import nrmse
from tests.raw import (
    COILS,
    HEADER,
    LIMITS,
    ROWS,
    SAMPLES,
    content,
    line,
    marked,
    run,
    scan_header,
    sorted_by,
    stream,
    value,
    warnings_of,
)


class TestRecordedStreams:
    def check(self, made: list[ReconData], expected: ReconData) -> None:
        assert len(made) == 1
        for ours, theirs in (
            (made[0].bits[0].data, expected.bits[0].data),
            (made[0].bits[0].ref, expected.bits[0].ref),
        ):
            assert nrmse(ours.data, theirs.data) < 1e-5
            assert ours.data.flags.f_contiguous
            assert ours.data.dtype == np.complex64
            assert bytes(ours.sampling) == bytes(theirs.sampling)
            assert ours.headers.shape == theirs.headers.shape
            pairs = zip(ours.headers.flat, theirs.headers.flat, strict=True)
            assert all(bytes(one) == bytes(other) for one, other in pairs)

    def test_lines_become_what_gadgetron_makes_of_them(self, shared: Path) -> None:
        siemens, lines = stream(shared, "siemens_acquisitions_whitened")
        _, (expected,) = stream(shared, "siemens_recon_data")
        made, notes = sorted_by(lines, siemens)
        self.check(made, expected)
        assert (notes[0]["lines"], notes[0]["calibration_lines"], notes[0]["centre_line_from"]) == (36, 48, "header")

    def test_raw_lines_with_prewhiten_do_too(self, shared: Path) -> None:
        siemens, lines = stream(shared, "siemens_acquisitions")
        _, (expected,) = stream(shared, "siemens_recon_data")
        white, _ = run("prewhiten", siemens, lines)
        self.check(sorted_by(white, siemens)[0], expected)

    def test_a_bucket_does_too(self, shared: Path) -> None:
        siemens, buckets = stream(shared, "siemens_bucket")
        _, (expected,) = stream(shared, "siemens_recon_data")
        self.check(sorted_by(buckets, siemens)[0], expected)

    def test_waveforms_of_a_bucket_are_not_lost(self, shared: Path) -> None:
        phantom, (bucket,) = stream(shared, "shepp_bucket_waveforms")
        assert bucket.waveforms
        made, _ = run("sort", phantom, [bucket])
        assert made[: len(bucket.waveforms)] == bucket.waveforms
        assert isinstance(made[-1], ReconData)
        assert np.abs(made[-1].bits[0].data.data).max() > 0


class TestGrouping:
    def lines(self) -> list[ismrmrd.Acquisition]:
        return [
            marked(row, phase=phase, slice=number, set=which, contrast=echo)
            for number in range(3)
            for which in range(2)
            for echo in range(2)
            for phase in range(4)
            for row in range(ROWS)
        ]

    @pytest.mark.parametrize("seed", [None, 1, 2])
    def test_the_order_of_arrival_does_not_matter(self, seed: int | None) -> None:
        lines = self.lines()
        if seed is not None:
            random.Random(seed).shuffle(lines)
        made, notes = sorted_by(lines)
        assert [found["slice"] for found in notes] == [0, 1, 2]
        for number, message in enumerate(made):
            assert message.bits[0].data.data.shape == (SAMPLES, ROWS, 1, COILS, 4, 4, 1)
            for which in range(2):
                for echo in range(2):
                    expected = [
                        [value(row=row, phase=phase, slice=number, set=which, contrast=echo) for row in range(ROWS)]
                        for phase in range(4)
                    ]
                    assert np.array_equal(content(message, 2 * which + echo), np.real(expected).astype(np.float32))
            assert message.bits[0].ref is None

    def test_slices_that_take_turns_line_by_line_are_kept_apart(self) -> None:
        made, _ = sorted_by([marked(row, slice=number) for row in range(ROWS) for number in range(2)])
        assert [content(message)[0, 3] for message in made] == [value(row=3), value(row=3, slice=1)]

    def test_frames_are_phases_then_repetitions(self) -> None:
        phases = [marked(row, phase=phase, repetition=1) for phase in range(3) for row in range(ROWS)]
        _, notes = sorted_by(phases)
        assert (notes[0]["frames_from"], notes[0]["frames"], notes[0]["repetition"]) == ("phase", 3, 1)
        repetitions = [marked(row, repetition=number) for number in range(5) for row in range(ROWS)]
        made, notes = sorted_by(repetitions)
        assert (notes[0]["frames_from"], notes[0]["frames"], len(made)) == ("repetition", 5, 1)

    def test_a_counter_that_is_no_axis_gets_messages_of_its_own(self) -> None:
        lines = [marked(row, phase=phase, repetition=n) for n in range(2) for phase in range(3) for row in range(ROWS)]
        made, notes = sorted_by(lines)
        assert [(found["slice"], found["repetition"]) for found in notes] == [(0, 0), (0, 1)]
        assert content(made[1])[2, 5] == value(row=5, phase=2, repetition=1)

    @pytest.mark.parametrize(
        ("n", "s", "shape"), [("set", "none", (2, 1)), ("none", "set", (1, 2)), ("set", "phase", (2, 3))]
    )
    def test_axes_can_be_chosen(self, n: str, s: str, shape: tuple[int, int]) -> None:
        lines = [marked(row, set=which, phase=phase) for which in range(2) for phase in range(3) for row in range(ROWS)]
        made, _ = sorted_by(lines, N_dimension=n, S_dimension=s)
        assert made[0].bits[0].data.data.shape[4:6] == shape
        assert len(made) == 6 // (shape[0] * shape[1])

    def test_gaps_in_a_counter_make_no_empty_frames(self) -> None:
        made, _ = sorted_by([marked(row, phase=phase) for phase in (2, 5) for row in range(ROWS)])
        assert content(made[0])[:, 0].tolist() == [value(row=0, phase=2), value(row=0, phase=5)]

    def test_headers_stand_where_their_lines_stand(self) -> None:
        made, _ = sorted_by([marked(row, phase=phase) for phase in range(2) for row in range(phase, ROWS, 2)])
        buffer = made[0].bits[0].data
        assert buffer.headers.shape == (ROWS, 1, 2, 1, 1)
        for frame in range(2):
            for row in range(ROWS):
                found = buffer.headers[row, 0, frame, 0, 0]
                acquired = row % 2 == frame
                assert found.number_of_samples == (SAMPLES if acquired else 0)
                assert found.idx.kspace_encode_step_1 == (row if acquired else 0)
        assert np.array_equal(lines_of(buffer), np.arange(ROWS) % 2 == np.arange(2)[:, None])


class TestSideLines:
    @pytest.mark.parametrize(("flag", "kind"), SIDE_LINES.items())
    def test_they_are_dropped_by_flag_and_counted(self, flag: int, kind: str) -> None:
        odd = [line(np.full((COILS + 1, 5), np.nan), 99, flag) for _ in range(3)]
        made, notes = sorted_by([*odd, *(marked(row) for row in range(ROWS))])
        assert np.array_equal(content(made[0])[0], np.arange(ROWS) + 1)
        assert notes[0]["dropped_lines"] == f"{kind} 3"

    def test_waveforms_and_notes_pass_on(self) -> None:
        ecg = ismrmrd.Waveform.from_array(np.zeros((1, 4), np.uint32))
        made, _ = run("sort", HEADER, [ecg, marked(6)])
        assert made[0] is ecg

    def test_nothing_but_side_lines_is_an_error(self) -> None:
        with pytest.raises(ScanError, match="no imaging lines; dropped: dummy 1"):
            sorted_by([marked(0, 27)])


class TestSending:
    def arrivals(self, trigger: str, lines: list[ismrmrd.Acquisition]) -> list[int]:
        """After how many lines each k-space came."""
        taken, sent = 0, []

        def source():
            nonlocal taken
            for given in lines:
                taken += 1
                yield given

        cls = gadget_class("sort")
        gadget = cls(HEADER, parse_properties(cls, {"trigger_dimension": trigger}))
        for message in gadget.process(source()):
            if isinstance(message, ReconData):
                sent.append(taken)
        return sent

    def test_slices_can_be_sent_as_they_end(self) -> None:
        lines = [marked(row, slice=number) for number in range(3) for row in range(ROWS)]
        assert self.arrivals("slice", lines) == [ROWS + 1, 2 * ROWS + 1, 3 * ROWS]
        assert self.arrivals("none", lines) == [3 * ROWS] * 3

    def test_repetitions_can_be_sent_as_they_end(self) -> None:
        lines = [marked(row, slice=s, repetition=n) for n in range(3) for row in range(ROWS) for s in range(2)]
        assert self.arrivals("repetition", lines) == [n * 2 * ROWS + s for n in (1, 2) for s in (1, 2)] + [6 * ROWS] * 2

    @pytest.mark.parametrize("trigger", ["none", "slice"])
    @pytest.mark.parametrize("came", [3, 2])
    def test_slices_that_the_header_announces_are_missed_at_the_end_only(self, trigger: str, came: int) -> None:
        lines = [marked(row, slice=number) for number in range(came) for row in range(ROWS)]
        told = warnings_of(
            "sort",
            scan_header((SAMPLES, ROWS), limits={**LIMITS, "slice": (0, 1, 2)}),
            lines,
            trigger_dimension=trigger,
        )
        wanted = [] if came == 3 else [f"The header announces 3 values of slice, but lines of {came} came."]
        assert [text for text in told if "announces" in text] == wanted

    def test_a_line_that_comes_too_late_is_an_error(self) -> None:
        lines = [marked(row, slice=number) for row in range(2) for number in range(2)]
        with pytest.raises(ScanError, match="came after its k-space was sent"):
            self.arrivals("slice", lines)


class TestErrors:
    @pytest.mark.parametrize("row", [ROWS, 40])
    def test_a_line_outside_the_matrix(self, row: int) -> None:
        with pytest.raises(
            ScanError, match=rf"Line 5 has kspace_encode_step_1 = {row}, which is row {row} of a matrix of 12"
        ):
            sorted_by([marked(0), line(np.ones((COILS, SAMPLES)), row, scan_counter=5)])

    def test_few_lines_outside_the_matrix_are_left_out_and_named_or_refused(self) -> None:
        lines = [*(marked(row) for row in range(ROWS)), line(np.ones((COILS, SAMPLES)), 40, scan_counter=5)]
        made, _ = sorted_by(lines)
        whole, _ = sorted_by(lines[:-1])
        assert np.array_equal(content(made[0]), content(whole[0]))
        (text,) = [text for text in warnings_of("sort", HEADER, lines) if "outside" in text]
        assert "Line 5 has kspace_encode_step_1 = 40" in text
        assert "1 lines lie outside and were left out" in text
        with pytest.raises(ScanError, match="is strict"):
            sorted_by(lines, strict="true")

    def test_a_single_line_that_was_lost_is_named(self) -> None:
        rows = [row for row in range(ROWS) if row != 7]
        told = warnings_of("sort", HEADER, [marked(row) for row in rows])
        assert [text for text in told if "lacks" in text] == ["slice 0 lacks 1 of 12 lines of its pattern (rows 7)."]
        told = warnings_of("sort", HEADER, [marked(row) for row in range(ROWS)])
        assert not [text for text in told if "lacks" in text]

    def test_lines_of_another_encoding_space_are_named_or_refused(self) -> None:
        other = line(np.ones((COILS, SAMPLES)), 0, encoding_space_ref=1)
        lines = [*(marked(row) for row in range(ROWS)), other]
        assert any("1 lines of encoding space 1" in text for text in warnings_of("sort", HEADER, lines))
        with pytest.raises(ScanError, match="is strict"):
            sorted_by(lines, strict="true")

    def test_a_partition_counter(self) -> None:
        with pytest.raises(ScanError, match="kspace_encode_step_2 = 3"):
            sorted_by([line(np.ones((COILS, SAMPLES)), 0, kspace_encode_step_2=3)])

    @pytest.mark.parametrize("trajectory", ["radial", "spiral", "epi"])
    def test_other_trajectories(self, trajectory: str) -> None:
        with pytest.raises(ScanError, match=f"trajectory is '{trajectory}'"):
            sorted_by([], scan_header(trajectory=trajectory))

    def test_another_encoding_space(self) -> None:
        with pytest.raises(ScanError, match="encoding space 1"):
            sorted_by([line(np.ones((COILS, SAMPLES)), 0, encoding_space_ref=1)])

    def test_a_change_of_the_channels(self) -> None:
        with pytest.raises(ScanError, match=r"has 4, the lines before it have 3"):
            sorted_by([marked(0), line(np.ones((4, SAMPLES)), 1)])

    def test_no_lines(self) -> None:
        with pytest.raises(ScanError, match="no imaging lines"):
            sorted_by([])


def test_memory_is_that_of_the_scan_and_one_slice() -> None:
    slices, phases = 4, 10
    given = scan_header((64, 64), limits={"kspace_encoding_step_1": (0, 32, 63)})
    size = 8 * 64 * 64 * 8 * phases

    def source():
        for number in range(slices):
            for phase in range(phases):
                for row in range(64):
                    yield line(np.ones((8, 64), np.complex64), row, slice=number, phase=phase)

    cls = gadget_class("sort")
    tracemalloc.start()
    try:
        for message in cls(given, parse_properties(cls, {})).process(source()):
            del message
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    lines_overhead = slices * phases * 64 * 2500
    assert peak < (slices + 1.3) * size + lines_overhead
