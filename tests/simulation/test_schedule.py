import numpy as np
import pytest

from onebreath.simulation.options import ScanOptions
from onebreath.simulation.sampling import plan_lines
from onebreath.simulation.schedule import Schedule, plan_schedule


def schedule_of(**changes: object) -> Schedule:
    options = ScanOptions(**{"slices": 1, "acceleration": 1, "matrix": (60, 32), **changes})
    return plan_schedule(options, plan_lines(options))


@pytest.mark.parametrize("mode", ["static", "prospective", "realtime"])
def test_every_frame_gets_every_line_once(mode: str) -> None:
    schedule = schedule_of(mode=mode, phases=4, slices=2)
    keys = [(line.slice, line.phase, line.row) for line in schedule.lines]
    assert sorted(keys) == [(s, p, r) for s in range(2) for p in range(4) for r in range(60)]


def test_lines_of_one_segment_follow_at_the_repetition_time() -> None:
    schedule = schedule_of(phases=10, lines_per_segment=6, tr_ms=2.5)
    shot = [line for line in schedule.lines if line.segment == 1]
    assert np.allclose(np.diff([line.time_ms for line in shot]), 2.5)
    assert [line.phase for line in shot] == sorted(line.phase for line in shot)
    assert len({line.segment for line in schedule.lines}) == 10


def test_prospective_scan_waits_for_the_next_trigger() -> None:
    schedule = schedule_of(phases=10, lines_per_segment=6, rr_variability=0.1, seed=3)
    starts = [next(line for line in schedule.lines if line.segment == shot) for shot in range(10)]
    waves = schedule.rhythm.r_waves_ms
    assert all(np.abs(waves - line.time_ms).min() < 1e-9 and line.since_r_ms == 0 for line in starts)


def test_retrospective_phases_follow_the_length_of_each_heartbeat() -> None:
    schedule = schedule_of(mode="retrospective", phases=20, lines_per_segment=10, ectopic_every=3)
    counts = {}
    for line in schedule.lines:
        counts[line.segment] = max(counts.get(line.segment, 0), line.phase + 1)
    assert [counts[shot] for shot in range(3)] == [30, 30, 18]
    assert schedule.frames == max(counts.values())


def test_premature_beat_spoils_the_late_phases_of_a_prospective_scan() -> None:
    regular, ectopic = (
        schedule_of(phases=12, lines_per_segment=20),
        schedule_of(phases=12, lines_per_segment=20, ectopic_every=2),
    )
    late = [{line.cardiac_phase for line in schedule.lines if line.phase == 11} for schedule in (regular, ectopic)]
    assert len(late[0]) == 1
    assert len(late[1]) > 1


def test_static_scan_holds_the_heart_still() -> None:
    schedule = schedule_of(mode="static", phases=3, breathing_amplitude_mm=10.0)
    assert {(line.cardiac_phase, line.shift_mm) for line in schedule.lines} == {(0.0, 0.0)}


def test_real_time_frames_see_the_heart_and_the_breath_move() -> None:
    schedule = schedule_of(mode="realtime", phases=30, breathing_amplitude_mm=10.0, breathing_period_s=3.0)
    states = {line.phase: (line.cardiac_phase, line.shift_mm) for line in schedule.lines}
    assert len({phase for phase, _ in states.values()}) > 4
    shifts = [shift for _, shift in states.values()]
    assert max(shifts) > 8
    assert min(shifts) < 0.5


def test_drift_grows_within_a_slice_and_starts_again_with_the_next() -> None:
    schedule = schedule_of(phases=12, slices=2, breathing_drift_mm_per_s=2.0)
    for slice_index in range(2):
        lines = [line for line in schedule.lines if line.slice == slice_index]
        elapsed = (lines[-1].time_ms - lines[0].time_ms) / 1000
        assert lines[0].shift_mm <= 0.25
        assert lines[-1].shift_mm == pytest.approx(2 * elapsed, abs=0.3)


def test_slices_take_turns_line_by_line() -> None:
    schedule = schedule_of(mode="realtime", slices=3, slice_order="per_line", phases=2)
    assert [line.slice for line in schedule.lines[:7]] == [0, 1, 2, 0, 1, 2, 0]
    assert np.allclose(np.diff([line.time_ms for line in schedule.lines]), 3.0)


def test_echoes_share_their_repetition_time() -> None:
    schedule = schedule_of(contrasts=3, mode="static", phases=1)
    assert [line.contrast for line in schedule.lines[:4]] == [0, 1, 2, 0]
    assert schedule.lines[0].time_ms == schedule.lines[2].time_ms
