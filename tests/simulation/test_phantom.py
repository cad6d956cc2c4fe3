import numpy as np
import pytest

from onebreath.simulation.geometry import Grid
from onebreath.simulation.phantom import Canvas, Phantom
from onebreath.simulation.tissue import TISSUES, Tissue, bssfp_signal, spoiled_signal

GRID = Grid((145, 180), (2.0, 2.0))
DIASTOLE, SYSTOLE = 0.0, 0.38


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom(GRID)


def middle_row(phantom: Phantom, phase: float) -> np.ndarray:
    """Profile through the left ventricle along x, to the left of the patient of its centre."""
    image = np.abs(phantom.draw(0.0, phase))
    return image[145 // 2 - 11, 180 // 2 + 11 :]


def test_bssfp_signal_has_its_known_limits() -> None:
    # With TR far below T1 and T2 the signal is M0 sin a / (1 + cos a + (1 - cos a) T1 / T2).
    tissue = Tissue(1000.0, 100.0, 1.0)
    flip = np.radians(60)
    expected = np.sin(flip) / (1 + np.cos(flip) + (1 - np.cos(flip)) * 10)
    assert bssfp_signal(tissue, 0.01, 1e-9, 60) == pytest.approx(expected, rel=1e-3)
    # With TR far above them it is a single excitation.
    assert bssfp_signal(tissue, 1e6, 1e-9, 60) == pytest.approx(np.sin(flip), rel=1e-6)


def test_spoiled_signal_is_largest_at_the_ernst_angle() -> None:
    tissue, tr_ms = Tissue(1000.0, 100.0, 0.9), 10.0
    e1 = np.exp(-tr_ms / tissue.t1)
    ernst = np.degrees(np.arccos(e1))
    largest = spoiled_signal(tissue, tr_ms, 1e-9, ernst)
    assert largest == pytest.approx(0.9 * np.sqrt((1 - e1) / (1 + e1)))
    assert largest > max(spoiled_signal(tissue, tr_ms, 1e-9, ernst + turn) for turn in (-1, 1))
    assert spoiled_signal(tissue, tr_ms, 50.0, ernst) == pytest.approx(largest * np.exp(-0.5))


def test_a_spoiled_phantom_has_another_contrast_and_the_same_anatomy() -> None:
    plain, spoiled = (Phantom(GRID, flip_deg=flip, spoiled=how) for flip, how in ((50.0, False), (12.0, True)))
    assert plain.signal["myocardium"] < 0.45 < 0.8 < spoiled.signal["myocardium"]
    assert spoiled.signal["fat"] > 2 > plain.signal["fat"]
    assert np.array_equal(plain.heart_mask(0.0), spoiled.heart_mask(0.0))


@pytest.mark.parametrize("field_t", [1.5, 3.0])
def test_blood_is_brighter_than_muscle_and_lung_is_dark(field_t: float) -> None:
    signal = Phantom(Grid((16, 16), (20.0, 20.0)), field_t).signal
    assert signal["blood"] == 1
    assert signal["myocardium"] < 0.45
    assert signal["lung"] < 0.1
    assert set(signal) == set(TISSUES[field_t])


def test_ellipse_has_the_area_of_an_ellipse_wherever_it_lies() -> None:
    for centre in ((0.0, 0.0), (0.6, -1.1), (31.3, 17.9)):
        canvas = Canvas(GRID)
        canvas.ellipse(centre, (30.0, 20.0), 1.0, 25.0)
        assert canvas.image.sum() * 4 == pytest.approx(np.pi * 600, rel=0.003)


def test_ellipse_outside_the_grid_paints_nothing() -> None:
    canvas = Canvas(GRID)
    canvas.ellipse((900.0, 0.0), (30.0, 20.0), 1.0)
    canvas.ellipse((0.0, 0.0), (30.0, 0.0), 1.0)
    assert canvas.image.max() == 0


def test_ventricle_empties_and_its_wall_thickens(phantom: Phantom) -> None:
    def blood_and_wall(phase: float) -> tuple[float, float]:
        profile = middle_row(phantom, phase)
        blood = int(np.argmax(profile < 0.6))
        wall = int(np.argmax(profile[blood:] > 0.6))
        return 2.0 * blood, 2.0 * wall

    (cavity, wall), (cavity_systole, wall_systole) = blood_and_wall(DIASTOLE), blood_and_wall(SYSTOLE)
    assert cavity_systole < 0.75 * cavity
    assert wall_systole > 1.25 * wall
    assert 6 <= wall <= 12


def test_heart_is_smaller_towards_the_apex_and_absent_beyond_it(phantom: Phantom) -> None:
    sizes = [phantom.heart_mask(z).sum() for z in (20.0, 0.0, -30.0)]
    assert sizes[0] > sizes[1] > sizes[2] > 0
    assert not phantom.heart_mask(-70.0).any()
    assert np.array_equal(phantom.draw(-70.0, DIASTOLE), phantom.draw(-70.0, SYSTOLE))


def test_blood_pixel_is_blood_at_every_phase(phantom: Phantom) -> None:
    for phase in np.linspace(0, 1, 9):
        assert np.abs(phantom.draw(0.0, phase))[phantom.blood_pixel()] == pytest.approx(1, abs=1e-5)


def test_breathing_moves_heart_and_liver_but_not_the_spine(phantom: Phantom) -> None:
    still, moved = np.abs(phantom.draw(0.0, 0.0)), np.abs(phantom.draw(0.0, 0.0, 10.0))
    rows = np.arange(145) - 72
    assert np.array_equal(still[rows * 2 > 104], moved[rows * 2 > 104])
    assert np.abs(still - moved).max() > 0.5


def test_finer_grid_shows_the_same_chest() -> None:
    coarse = np.abs(Phantom(Grid((60, 60), (6.0, 6.0))).draw(0.0, 0.0))
    fine = np.abs(Phantom(Grid((180, 180), (2.0, 2.0))).draw(0.0, 0.0))
    # Pixel n // 2 is the centre of both grids.
    means = np.roll(fine, 1, axis=(0, 1)).reshape(60, 3, 60, 3).mean(axis=(1, 3))
    assert np.abs(coarse - means).mean() < 0.03
