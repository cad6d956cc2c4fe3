from pathlib import Path

import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.images.geometry import Geometry, affine, letters
from onebreath.images.reading import read_images
from onebreath.images.stacks import alike, stacks
from tests.images.files import cine, image, write


def test_integer_pixels_come_back_in_their_units(tmp_path: Path) -> None:
    meta = {"GADGETRON_ScaleRatio": "10", "GADGETRON_ScaleOffset": "100"}
    path = write(tmp_path / "i.h5", {1: [image(np.array([[[100, 150, 90]]], np.uint16), meta=meta)]})
    (series,) = read_images(path)
    np.testing.assert_allclose(series.values(0)[0, 0], [[0, 5, -1]], atol=1e-6)


def test_complex_pixels_keep_both_parts(tmp_path: Path) -> None:
    values = np.array([[[1 + 2j, -3j]]], np.complex64)
    (series,) = read_images(write(tmp_path / "i.h5", {1: [image(values)]}))
    assert series.part == "complex"
    np.testing.assert_array_equal(series.values(0)[0], values)


def test_interleaved_images_are_sorted_into_places_and_frames(tmp_path: Path) -> None:
    (series,) = read_images(write(tmp_path / "i.h5", {1: cine(slices=2, phases=3)}))
    made = stacks(series)
    assert [stack.title for stack in made] == ["slice 1", "slice 2"]
    for place, stack in enumerate(made):
        np.testing.assert_allclose(stack.values()[:, 0, 0, 0], 1000 * place + 100 * np.arange(3))
        assert stack.trigger_ms() == [22.5, 92.5, 162.5]
        assert stack.frame_ms() == 70.0
        assert stack.frame_counter == "phase"
        assert alike(stack) == 0


def test_time_stamps_count_what_the_chain_was_told(tmp_path: Path) -> None:
    meta = {"Onebreath_chain": '[["prewhiten", {}], ["sort", {"time_tick": "1.0"}]]'}
    pixels = np.ones((1, 2, 2), np.float32)
    frames = [image(pixels, number=k + 1, phase=k, physiology_time_stamp=(30 * k, 0, 0), meta=meta) for k in range(3)]
    (stack,) = stacks(read_images(write(tmp_path / "i.h5", {1: frames}))[0])
    assert stack.trigger_ms() == [0, 30, 60]
    assert stack.frame_ms() == 30


def test_images_with_the_same_counters_are_not_lost(tmp_path: Path) -> None:
    twice = [image(np.full((1, 2, 2), value, np.float32), number=value) for value in (2, 1)]
    (stack,) = stacks(read_images(write(tmp_path / "i.h5", {1: twice}))[0])
    assert stack.values()[:, 0, 0, 0].tolist() == [1, 2]
    assert alike(stack) == 2
    assert stack.trigger_ms() is None


def test_a_pixel_lies_where_the_centred_transform_has_it(tmp_path: Path) -> None:
    (series,) = read_images(
        write(
            tmp_path / "i.h5", {1: [image(np.zeros((1, 4, 5), np.float32), read_dir=(0, 0, -1), slice_dir=(1, 0, 0))]}
        )
    )
    where = Geometry.of(series.headers[0], series.data.shape)
    assert where.spacing == (72.0, 72.5, 8.0)
    np.testing.assert_allclose(where.position((2, 2, 0)), [20, 30, -20])
    np.testing.assert_allclose(where.position((0, 0, 0)), [20, 30 - 145, -20 + 144])
    assert where.ends() == {"left": "H", "right": "F", "top": "A", "bottom": "P"}


def test_oblique_directions_name_both_ends() -> None:
    assert letters(np.array([np.sqrt(0.75), -0.5, 0])) == "LA"


def test_slices_that_no_grid_holds_have_no_affine() -> None:
    def at(z: float) -> Geometry:
        return Geometry((4, 4, 1), (1.0, 1.0, 8.0), np.array([0.0, 0.0, z]), np.eye(3))

    assert affine([at(0), at(10), at(20)])[2, 2] == 10
    with pytest.raises(ScanError, match="equally far"):
        affine([at(0), at(10), at(25)])
    with pytest.raises(ScanError, match="same place"):
        affine([at(0), at(0)])


def test_a_header_without_a_field_of_view_is_refused(tmp_path: Path) -> None:
    (series,) = read_images(
        write(tmp_path / "i.h5", {1: [image(np.zeros((1, 2, 2), np.float32), field_of_view=(0, 0, 0))]})
    )
    with pytest.raises(ScanError, match="no size"):
        Geometry.of(series.headers[0], series.data.shape)
