"""Turned pictures: every pixel stays where it is in the patient, and the patient is seen as on scanners."""

import numpy as np
import pytest

from onebreath.images.geometry import Geometry
from onebreath.images.upright import upright
from onebreath.simulation.geometry import ORIENTATIONS, directions

SEEN = {"transverse": ("R", "L", "A", "P"), "coronal": ("R", "L", "H", "F"), "sagittal": ("A", "P", "H", "F")}
TILTS = [(0.0, 0.0), (30.0, 0.0), (-20.0, 35.0)]


def placed(orientation: str, tilt: tuple[float, float] = (0.0, 0.0)) -> Geometry:
    axes = directions(orientation, tilt)
    size, spacing, centre = (5, 4, 1), (1.5, 2.0, 8.0), np.array([10.0, -20.0, 30.0])
    return Geometry(size, spacing, centre, np.array([axes.read, axes.phase, axes.slice]).T)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_planes_are_seen_as_on_scanners(orientation: str) -> None:
    place = placed(orientation)
    ends = upright(place.axes).geometry(place).ends()
    assert (ends["left"], ends["right"], ends["top"], ends["bottom"]) == SEEN[orientation.split("_")[0]]


@pytest.mark.parametrize("tilt", TILTS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_pixel_stays_where_it_is(orientation: str, tilt: tuple[float, float]) -> None:
    place = placed(orientation, tilt)
    turn = upright(place.axes)
    nx, ny, _ = place.size
    values = np.arange(nx * ny).reshape(ny, nx)
    turned, where = turn.pixels(values), turn.geometry(place)
    assert turned.shape == (where.size[1], where.size[0])
    for (y, x), value in np.ndenumerate(turned):
        before = np.argwhere(values == value)[0]
        np.testing.assert_allclose(where.position((x, y, 0)), place.position((before[1], before[0], 0)))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_upright_picture_is_not_turned_again(orientation: str) -> None:
    place = placed(orientation, (15.0, -25.0))
    once = upright(place.axes).geometry(place)
    assert upright(once.axes) == (False, False, False)


def test_rounding_does_not_turn_a_picture_between_two_planes() -> None:
    half = np.sqrt(0.5)
    for error in (-1e-9, 1e-9):
        x = np.array([half + error, half - error, 0.0])
        place = Geometry((4, 4, 1), (1.0, 1.0, 1.0), np.zeros(3), np.array([x, [-half, half, 0.0], [0.0, 0.0, 1.0]]).T)
        assert upright(place.axes) == (False, False, False)


def test_nothing_is_turned_where_directions_are_not_known() -> None:
    assert upright(np.zeros((3, 3))) == (False, False, False)
