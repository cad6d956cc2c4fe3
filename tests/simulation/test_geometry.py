import numpy as np
import pytest

from onebreath.simulation.geometry import ORIENTATIONS, chronological, directions, slice_offsets

NORMALS = {"transverse": [0, 0, 1], "sagittal": [1, 0, 0], "coronal": [0, -1, 0]}


@pytest.mark.parametrize("angles", [(0.0, 0.0), (30.0, 0.0), (-40.0, 55.0)])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_directions_are_right_handed_and_orthonormal(name: str, angles: tuple[float, float]) -> None:
    axes = directions(name, angles)
    matrix = np.array([axes.phase, axes.read, axes.slice])
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert np.linalg.det(matrix) == pytest.approx(1)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_plane_has_the_normal_of_its_name(name: str) -> None:
    assert np.allclose(directions(name, (0.0, 0.0)).slice, NORMALS[name.split("_")[0]])


def test_transverse_plane_is_that_of_a_real_scan() -> None:
    axes = directions("transverse_ap", (0.0, 0.0))
    assert np.allclose(axes.read, [-1, 0, 0])
    assert np.allclose(axes.phase, [0, 1, 0])


def test_first_angle_keeps_the_readout_and_tilts_the_normal_by_it() -> None:
    straight, tilted = directions("transverse_ap", (0.0, 0.0)), directions("transverse_ap", (25.0, 0.0))
    assert np.allclose(tilted.read, straight.read)
    assert np.degrees(np.arccos(tilted.slice @ straight.slice)) == pytest.approx(25)


@pytest.mark.parametrize(("slices", "places"), [(5, [0, 2, 4, 1, 3]), (4, [1, 3, 0, 2]), (1, [0])])
def test_interleaved_order(slices: int, places: list[int]) -> None:
    assert chronological(slices, "interleaved").tolist() == places


def test_stack_is_centred() -> None:
    assert np.allclose(slice_offsets(4, 10.0), [-15, -5, 5, 15])
    assert np.array_equal(chronological(4, "ascending"), [0, 1, 2, 3])
