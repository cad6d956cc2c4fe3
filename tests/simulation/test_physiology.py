import numpy as np
import pytest

from onebreath.simulation.physiology import Rhythm, breathing_mm, cardiac_phase, contraction, rr_intervals, systole_ms


def test_regular_heart_beats_at_its_mean() -> None:
    assert np.array_equal(rr_intervals(5, 900.0, 0.0, 0, 1), [900.0] * 5)


def test_variable_intervals_have_the_stated_spread_in_ticks() -> None:
    intervals = rr_intervals(4000, 800.0, 0.05, 0, 1)
    assert intervals.mean() == pytest.approx(800, rel=0.005)
    assert intervals.std() == pytest.approx(40, rel=0.05)
    assert np.all(intervals % 2.5 == 0)


def test_premature_beat_and_pause_last_two_beats() -> None:
    intervals = rr_intervals(9, 1000.0, 0.0, 4, 1)
    assert np.array_equal(np.flatnonzero(intervals < 700), [3, 7])
    assert np.allclose(intervals[[3, 7]] + intervals[[4, 8]], 2000)
    assert np.array_equal(intervals[[0, 1, 2, 5, 6]], [1000.0] * 5)


def test_systole_hardly_changes_with_heart_rate_while_diastole_does() -> None:
    for rr in (600.0, 1200.0):
        systole = systole_ms(rr)
        assert cardiac_phase(systole, rr) == pytest.approx(0.4)
        assert cardiac_phase(0.0, rr) == 0
        assert 0.99 < cardiac_phase(rr - 1, rr) < 1
    assert systole_ms(1200.0) / systole_ms(600.0) == pytest.approx(np.sqrt(2))


def test_contraction_rises_once_rests_and_fills_in_two_steps() -> None:
    phases = np.linspace(0, 1, 400, endpoint=False)
    curve = contraction(phases)
    assert curve[0] == 0
    assert curve.max() == pytest.approx(1)
    assert 0.33 < phases[np.argmax(curve)] < 0.45
    assert np.all(np.diff(curve[phases > 0.4]) <= 1e-12)
    assert np.abs(contraction(np.array([0.7, 0.8])) - 0.25).max() < 1e-9
    assert np.abs(np.diff(np.append(curve, curve[0]))).max() < 0.03


def test_breath_rests_at_end_expiration() -> None:
    seconds = np.linspace(0, 8, 801)
    shift = breathing_mm(1000 * seconds, 0.0, 12.0, 4.0)
    assert shift.max() == pytest.approx(12)
    assert (shift < 1.5).mean() > 0.4
    assert breathing_mm(3000.0, 2.0, 0.0, 4.0) == pytest.approx(6)


def test_rhythm_finds_beats_and_triggers() -> None:
    rhythm = Rhythm(np.array([800.0, 1000.0, 900.0]))
    assert np.array_equal(rhythm.r_waves_ms, [0, 800, 1800])
    assert rhythm.beat(799.9) == 0
    assert rhythm.beat(800.0) == 1
    assert rhythm.next_r_wave(0.0) == 0
    assert rhythm.next_r_wave(801.0) == 1800
    assert rhythm.since_r(1000.0) == 200
