"""Where lines lie in the matrix, and what the buffer says of it."""

import numpy as np
import pytest

from onebreath.mrd.buffers import kspace_of, lines_of, mask_of
from tests.raw import COILS, HEADER, LIMITS, ROWS, SAMPLES, content, line, marked, run, scan_header, sorted_by, value


class TestMatrix:
    def test_the_centre_line_lies_in_the_middle(self) -> None:
        given = scan_header((SAMPLES, 20), limits={"kspace_encoding_step_1": (0, 4, 13)})
        (made,), _ = sorted_by([marked(row) for row in range(14)], given)
        assert np.flatnonzero(lines_of(made.bits[0].data)[0]).tolist() == list(range(6, 20))
        assert content(made)[0, 10] == value(row=4)
        assert list(made.bits[0].data.sampling.sampling_limits[1]) == [6, 10, 19]

    @pytest.mark.parametrize(("rows", "centre"), [(13, 6), (11, 5), (1, 0)])
    def test_odd_matrices_have_their_centre_at_half(self, rows: int, centre: int) -> None:
        given = scan_header((15, rows), limits={"kspace_encoding_step_1": (0, centre, rows - 1)})
        lines = [line(np.full((COILS, 15), row + 1), row) for row in range(rows)]
        (made,), _ = sorted_by(lines, given)
        assert content(made)[0].tolist() == list(range(1, rows + 1))
        assert [limit.center for limit in made.bits[0].data.sampling.sampling_limits] == [7, centre, 0]

    def test_without_limits_the_lines_say_the_centre(self) -> None:
        lines = [marked(row) for row in range(8)]
        for given in lines:
            given._head.idx.user[5] = 2
        (made,), notes = sorted_by(lines, scan_header((SAMPLES, ROWS)))
        assert content(made)[0, 6] == value(row=2)
        assert notes[0]["centre_line_from"] == "lines"
        assert list(made.bits[0].data.sampling.sampling_limits[1]) == [4, 6, 11]

    def test_without_any_word_the_middle_is_assumed_and_told(self) -> None:
        (made,), notes = sorted_by([marked(row) for row in range(ROWS)], scan_header((SAMPLES, ROWS)))
        assert content(made)[0, 6] == value(row=6)
        assert "assumed" in notes[0]["centre_line_from"]

    def test_a_disagreement_about_the_centre_is_told(self) -> None:
        lines = [marked(row) for row in range(ROWS)]
        for given in lines:
            given._head.idx.user[5] = 5
        _, notes = sorted_by(lines)
        assert notes[0]["centre_line_from"] == "header (the lines say 5)"

    @pytest.mark.parametrize(
        ("rows", "expected"), [((0, 3, 6, 9), [0, 11]), ((4, 5, 6, 7, 8, 9, 10, 11), [4, 11]), ((3, 5, 7, 9), [3, 9])]
    )
    def test_limits_follow_the_header_unless_lines_lack_at_an_edge(
        self, rows: tuple[int, ...], expected: list[int]
    ) -> None:
        (made,), _ = sorted_by([marked(row) for row in rows])
        limits = made.bits[0].data.sampling.sampling_limits[1]
        assert [limits.min, limits.max] == expected

    def test_the_field_of_view_follows_the_oversampling(self) -> None:
        given = scan_header((32, ROWS), (16, ROWS), (640, 240), (320, 240), limits=LIMITS)
        white, _ = run("prewhiten", given, [line(np.ones((2, 32)), row) for row in range(ROWS)])
        (made,), _ = sorted_by(white, given)
        sampling = made.bits[0].data.sampling
        assert (list(sampling.encoded_matrix), list(sampling.encoded_FOV)) == ([16, ROWS, 1], [320, 240, 8])
        (raw,), _ = sorted_by([line(np.ones((2, 32)), row) for row in range(ROWS)], given)
        sampling = raw.bits[0].data.sampling
        assert (list(sampling.encoded_matrix), list(sampling.encoded_FOV)) == ([32, ROWS, 1], [640, 240, 8])

    def test_an_asymmetric_echo_is_told_in_limits_and_mask(self) -> None:
        white, _ = run("prewhiten", HEADER, [line(np.ones((2, 12)), row, centre=4) for row in range(ROWS)])
        (made,), _ = sorted_by(white)
        buffer = made.bits[0].data
        assert list(buffer.sampling.sampling_limits[0]) == [4, 8, 15]
        assert np.array_equal(mask_of(buffer)[0, 0], np.arange(16) >= 4)
        assert np.array_equal(kspace_of(buffer)[0, 0, 0] != 0, np.arange(16) >= 4)

    def test_it_is_centred_here_if_no_gadget_did_it_before(self) -> None:
        data = np.arange(1, 13) * np.ones((2, 1))
        (made,), _ = sorted_by([line(data, row, centre=4) for row in range(ROWS)])
        assert kspace_of(made.bits[0].data)[0, 0, 3].real.tolist() == [0] * 4 + list(range(1, 13))
        assert list(made.bits[0].data.sampling.sampling_limits[0]) == [4, 8, 15]
