import numpy as np
import pytest

from onebreath.simulation.options import ScanOptions
from onebreath.simulation.sampling import plan_lines, plan_readout


def test_uniform_lines_go_through_the_centre() -> None:
    lines = plan_lines(ScanOptions(matrix=(97, 64), acceleration=4, acs_mode="none", phases=2))
    assert lines.centre == 48
    assert np.array_equal(lines.frames[0], np.arange(0, 97, 4))
    assert np.array_equal(lines.frames[0], lines.frames[1])
    assert lines.acs.size == 0


@pytest.mark.parametrize("fraction", [0.6, 0.75, 0.875])
def test_partial_fourier_leaves_out_early_lines(fraction: float) -> None:
    lines = plan_lines(ScanOptions(acceleration=1, partial_fourier=fraction, phases=1))
    assert lines.frames[0].size == round(128 * fraction)
    assert lines.frames[0][-1] == 127
    assert lines.counter(lines.first) == 0
    assert lines.counter(lines.centre) == 64 - (128 - round(128 * fraction))


def test_phase_resolution_leaves_out_both_sides() -> None:
    lines = plan_lines(ScanOptions(matrix=(144, 64), acceleration=3, phase_resolution=0.75, acs_mode="none"))
    # The lines of a real scan of 144 rows with 75 %: counters 0 to 105 in steps of 3 about the centre 54.
    assert [lines.counter(row) for row in lines.frames[0]] == list(range(0, 106, 3))
    assert lines.counter(lines.centre) == 54


@pytest.mark.parametrize("changes", [{"acs_mode": "interleaved"}, {"pattern": "kt", "acs_mode": "none"}])
def test_shifted_lines_cover_all_rows_in_as_many_frames_as_the_acceleration(changes: dict) -> None:
    lines = plan_lines(ScanOptions(acceleration=4, phases=8, **changes))
    assert np.array_equal(np.unique(np.concatenate(lines.frames[:4])), np.arange(128))
    assert np.array_equal(lines.frames[0], lines.frames[4])


def test_vista_frames_differ_have_equal_sizes_and_are_denser_at_the_centre() -> None:
    lines = plan_lines(ScanOptions(acceleration=8, phases=20, pattern="vista", acs_mode="none"))
    assert {rows.size for rows in lines.frames} == {16}
    assert len({tuple(rows) for rows in lines.frames}) == 20
    counts = np.bincount(np.concatenate(lines.frames), minlength=128)
    assert counts[54:74].mean() > 2 * counts[:20].mean()
    assert (counts > 0).mean() > 0.8


def test_embedded_block_is_in_every_frame_and_centred() -> None:
    lines = plan_lines(ScanOptions(acceleration=6, acs_lines=20, pattern="vista"))
    assert np.array_equal(lines.acs, np.arange(54, 74))
    assert all(np.isin(lines.acs, rows).all() for rows in lines.frames)


def test_readout_keeps_the_late_samples() -> None:
    readout = plan_readout(ScanOptions(matrix=(64, 121), echo_fraction=0.8))
    assert (readout.size, readout.samples, readout.centre_sample) == (242, 194, 73)
