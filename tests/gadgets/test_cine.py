"""Cardiac binning on rhythms whose beats and motion are known."""

import numpy as np
import pytest

from onebreath.gadgets.sort.cine import find_beats, linear, nearest, standing

STEP = 3.0


def rhythm(rr: list[float], start: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time since trigger, time, and true beat of lines acquired all through some beats, from `start` ms on."""
    r_waves = np.concatenate([[0.0], np.cumsum(rr)])
    time = np.arange(start, r_waves[-1], STEP)
    beat = np.searchsorted(r_waves, time, side="right") - 1
    return time - r_waves[beat], time + 1e6, beat


def test_beats_and_their_durations_are_found() -> None:
    rr = [900.0, 930.0, 870.0, 912.0]
    since, time, beat = rhythm(rr)
    found = find_beats(since, time, 0.25)
    assert np.array_equal(found.of_line, beat)
    assert found.rr[:3] == pytest.approx(rr[:3])
    # The end of the last beat is not seen: its last line, or the median, whichever is later.
    assert found.rr[3] == pytest.approx(rr[3], abs=STEP)
    assert found.accepted.all()
    truth = since / np.array(rr)[beat]
    assert np.abs(found.fraction - truth).max() < STEP / 900
    assert found.fraction.max() < 1


def test_a_scan_that_starts_within_a_beat_knows_that_beat() -> None:
    since, time, _ = rhythm([800.0, 900.0, 900.0, 900.0], start=500.0)
    assert find_beats(since, time, 0.25).rr[0] == pytest.approx(800)


@pytest.mark.parametrize(("factor", "rejected"), [(0.25, [3, 4]), (0.45, []), (0.37, [3, 4]), (0.05, [1, 3, 4])])
def test_beats_that_deviate_from_the_median_are_rejected(factor: float, rejected: list[int]) -> None:
    # An extrasystole (62 %) and its pause (138 %) among regular beats.
    rr = [900.0, 960.0, 900.0, 558.0, 1242.0, 900.0, 900.0]
    since, time, beat = rhythm(rr)
    found = find_beats(since, time, factor)
    assert np.flatnonzero(~found.accepted).tolist() == rejected
    assert np.array_equal(found.accepted_lines, ~np.isin(beat, rejected))


def test_a_missed_trigger_is_rejected() -> None:
    since, time, _ = rhythm([900.0, 900.0, 1800.0, 900.0, 900.0])
    assert find_beats(since, time, 0.25).accepted.tolist() == [True, True, False, True, True]


def test_a_pause_between_breath_holds_does_not_reject_the_beat_before_it() -> None:
    first = rhythm([900.0, 900.0, 900.0])
    second = rhythm([900.0, 900.0, 900.0])
    since = np.concatenate([first[0], second[0]])
    time = np.concatenate([first[1], second[1] + 2700 + 15000])
    found = find_beats(since, time, 0.25)
    assert len(found.rr) == 6
    assert found.accepted.all()
    assert found.rr == pytest.approx(np.full(6, 900), abs=STEP)


def test_beats_are_found_without_the_time_of_acquisition() -> None:
    rr = [900.0, 930.0, 870.0, 912.0]
    since, time, beat = rhythm(rr)
    found = find_beats(since, np.zeros_like(time), 0.25)
    assert np.array_equal(found.of_line, beat)
    assert found.rr == pytest.approx(rr, abs=STEP)


def test_one_beat_alone_is_accepted() -> None:
    since, time, _ = rhythm([900.0])
    found = find_beats(since, time, 0.25)
    assert found.rr == pytest.approx([900], abs=2 * STEP)
    assert found.accepted.all()


def test_a_stamp_that_stands_still_is_found_and_one_that_runs_is_not() -> None:
    since, time, beat = rhythm([900.0, 930.0, 870.0, 912.0])
    assert not standing(since, time, 2.5).any()
    assert not standing(np.round(since / 2.5) * 2.5, np.round(time / 2.5) * 2.5, 2.5).any()
    assert np.array_equal(standing(np.where(beat == 2, 0.0, since), time, 2.5)[beat != 3], (beat == 2)[beat != 3])


def gated(rows: int, raw: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cardiac phase and row of lines: each row acquired all through one beat, `raw` times, at a random start."""
    fraction = np.concatenate([(np.arange(raw) + rng.random()) / raw for _ in range(rows)])
    return fraction, np.repeat(np.arange(rows), raw)


@pytest.mark.parametrize(("phases", "raw"), [(20, 20), (20, 33), (12, 40)])
def test_nearest_fills_every_phase_with_the_closest_line(phases: int, raw: int) -> None:
    fraction, row = gated(8, raw, np.random.default_rng(0))
    table = nearest(fraction, np.zeros_like(row), row, phases)
    assert len(table) == phases * 8
    assert table.lines(phases, 1, 8).all()
    assert (table.weight == 1).all()
    middle = (table.frame + 0.5) / phases
    off = np.abs(fraction[table.line] - middle)
    best = np.array([np.abs(fraction[row == r] - m).min() for r, m in zip(table.row, middle, strict=True)])
    assert off == pytest.approx(best)
    assert np.array_equal(row[table.line], table.row)


def test_nearest_leaves_a_phase_empty_rather_than_take_a_line_of_another() -> None:
    table = nearest(np.array([0.05, 0.95]), np.zeros(2, int), np.zeros(2, int), 4)
    assert sorted(zip(table.frame.tolist(), table.line.tolist(), strict=True)) == [(0, 0), (3, 1)]


def motion(fraction: np.ndarray) -> np.ndarray:
    """A signal that moves with the heart."""
    return np.exp(1j * np.sin(2 * np.pi * fraction)) * (2 + np.cos(4 * np.pi * fraction))


def error(place: object, phases: int, raw: int) -> float:
    """Largest deviation from the motion at the middle of the phases."""
    fraction, row = gated(8, raw, np.random.default_rng(1))
    table = place(fraction, np.zeros_like(row), row, phases)  # type: ignore[operator]
    binned = np.zeros((phases, 8), complex)
    np.add.at(binned, (table.frame, table.row), table.weight * motion(fraction[table.line]))
    truth = motion((np.arange(phases) + 0.5) / phases)[:, None]
    return float(np.abs(binned - truth).max())


def test_binning_is_as_accurate_as_its_order_says() -> None:
    # Steepest slope of the motion is below 15: half a step off costs at most 7.5 / raw.
    assert error(nearest, 24, 48) < 7.5 / 24
    # The error of linear interpolation falls with the square of the distance.
    coarse, fine = error(linear, 24, 24), error(linear, 24, 48)
    assert fine < 0.02 * 15
    assert coarse / fine == pytest.approx(4, rel=0.35)


def test_linear_makes_more_phases_than_were_acquired() -> None:
    fraction, row = gated(4, 20, np.random.default_rng(2))
    table = linear(fraction, np.zeros_like(row), row, 40)
    assert table.lines(40, 1, 4).all()
    weight = np.zeros((40, 4))
    np.add.at(weight, (table.frame, table.row), table.weight)
    assert weight == pytest.approx(np.ones((40, 4)))


def test_linear_goes_over_the_r_wave() -> None:
    fraction = (np.arange(10) + 0.5) / 10
    table = linear(fraction, np.zeros(10, int), np.zeros(10, int), 10)
    shifted = linear((fraction + 0.05) % 1, np.zeros(10, int), np.zeros(10, int), 10)
    assert table.line[np.argsort(table.frame)].tolist() == list(range(10))
    first = shifted.select(shifted.frame == 0)
    assert sorted(first.line.tolist()) == [0, 9]
    assert first.weight == pytest.approx([0.5, 0.5])


def test_linear_does_not_bridge_a_rejected_beat() -> None:
    fraction = np.concatenate([np.arange(10) / 40, 0.75 + np.arange(10) / 40])
    table = linear(fraction, np.zeros(20, int), np.zeros(20, int), 20)
    filled = table.lines(20, 1, 1)[:, 0, 0]
    assert not filled[6:14].any()
    assert filled[:5].all()
    assert filled[15:].all()


def test_sets_are_binned_apart() -> None:
    fraction = np.tile((np.arange(8) + 0.5) / 8, 2)
    sets = np.repeat([0, 1], 8)
    for place in (nearest, linear):
        table = place(fraction, sets, np.zeros(16, int), 8)
        assert table.lines(8, 2, 1).all()
        assert np.array_equal(sets[table.line], table.s)
