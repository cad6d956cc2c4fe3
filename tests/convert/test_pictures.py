"""Pictures and films that ``onebreath convert`` makes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onebreath.cli import main
from tests.images.files import cine, image, write


def test_a_zoom_that_is_meant_in_per_cent_is_refused_before_files_are_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "i.h5", {1: cine(slices=1, phases=1)})
    call = ["convert", str(path), "--overwrite", "-f"]
    assert main([*call, "png", "--zoom", "3"]) == 0
    before = sorted((tmp_path / "i").iterdir())
    capsys.readouterr()
    assert main([*call, "png,nifti", "--zoom", "2000"]) == 1
    printed = capsys.readouterr()
    assert "--zoom 2000 would make pictures of 32000 x 25778 screen pixels" in printed.err
    assert "these images allow up to 1024." in printed.err
    assert printed.out == ""
    assert sorted((tmp_path / "i").iterdir()) == before
    assert main([*call, "nifti", "--zoom", "2000"]) == 0, "it is for pictures"


def test_pictures_have_the_true_shape_and_one_window(tmp_path: Path) -> None:
    path = write(tmp_path / "i.h5", {1: cine(slices=2, phases=3)})
    assert main(["convert", str(path), "-f", "png,gif", "--zoom", "2", "--window", "0", "1000"]) == 0
    frames = sorted((tmp_path / "i").glob("*.png"))
    assert len(frames) == 6
    with Image.open(frames[0]) as first:
        assert first.size == (32, round(2 * 12 * (290 / 12) / (360 / 16)))
        assert first.text["Window"] == "0 1000"
        assert np.asarray(first).max() <= 3
    with Image.open(tmp_path / "i" / "series1_Image_slice1_frame000.png") as bright:
        assert np.asarray(bright).min() == 255
    with Image.open(tmp_path / "i" / "series1_Image_slice0.gif") as loop:
        assert (loop.n_frames, loop.info["duration"]) == (3, 70)


def test_pictures_are_turned_as_a_scanner_shows_them(tmp_path: Path) -> None:
    values = np.zeros((1, 12, 16), np.float32)
    values[0, 2, 3] = 1
    where = {"read_dir": (0, 1, 0), "phase_dir": (-1, 0, 0), "field_of_view": (16, 12, 8)}
    path = write(tmp_path / "i.h5", {1: [image(values, **where)]})
    assert main(["convert", str(path), "-f", "png", "--zoom", "1", "--window", "0", "1"]) == 0
    with Image.open(tmp_path / "i" / "series1_Image_frame000.png") as picture:
        assert np.argwhere(np.asarray(picture)).tolist() == [[3, 9]], "x goes down, and y from the left to the right"


def test_mp4_plays_the_loop_at_its_speed(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = write(tmp_path / "i.h5", {1: cine(slices=1, phases=4)})
    assert main(["convert", str(path), "-f", "mp4"]) == 0
    with av.open(str(tmp_path / "i" / "series1_Image.mp4")) as film:
        (stream,) = film.streams.video
        frames = [frame.to_ndarray(format="gray") for frame in film.decode(stream)]
        assert float(stream.average_rate) == pytest.approx(1000 / 70, rel=1e-3)
    assert len(frames) == 20
    brightness = np.array([frame.mean() for frame in frames[:4]])
    assert np.all(np.diff(brightness) > 40), "frames come in order"


def test_a_pixel_that_is_no_number_leaves_the_others_visible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.arange(1.0, 65.0, dtype=np.float32).reshape(1, 8, 8)
    values[0, 0, :2] = np.nan, np.inf
    path = write(tmp_path / "i.h5", {1: [image(values, field_of_view=(80, 80, 8))]})
    assert main(["convert", str(path), "-f", "png,gif", "--zoom", "1"]) == 0
    assert "series 1: 1 pixels hold no number (NaN) and are black" in capsys.readouterr().out
    with Image.open(next((tmp_path / "i").glob("*.png"))) as made:
        shown = np.asarray(made)
    assert (shown[0, 0], shown[7, 7], len(np.unique(shown)) > 50) == (0, 255, True)


@pytest.mark.parametrize("scale", [1e-14, 1e-30])
def test_pictures_of_tiny_values_are_those_of_usual_ones(tmp_path: Path, scale: float) -> None:
    values = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    made = []
    for name, factor in (("usual", 1.0), ("tiny", scale)):
        path = write(tmp_path / f"{name}.h5", {1: [image(values * np.float32(factor), field_of_view=(80, 80, 8))]})
        assert main(["convert", str(path), "-f", "png", "--zoom", "1"]) == 0
        with Image.open(next((tmp_path / name).glob("*.png"))) as picture:
            made.append(np.asarray(picture).astype(int))
    assert made[0].max() == 255
    np.testing.assert_allclose(made[1], made[0], atol=1)


def test_few_bright_pixels_on_black_are_shown(tmp_path: Path) -> None:
    values = np.zeros((1, 32, 32), np.float32)
    values[0, 4, 5], values[0, 4, 6] = 2, 1
    path = write(tmp_path / "i.h5", {1: [image(values, field_of_view=(80, 80, 8))]})
    assert main(["convert", str(path), "-f", "png", "--zoom", "1"]) == 0
    with Image.open(next((tmp_path / "i").glob("*.png"))) as made:
        assert np.asarray(made)[4, 5:7].tolist() == [255, 128]


@pytest.mark.parametrize("window", [("nan", "5"), ("0", "inf"), ("100", "0"), ("5", "5")])
def test_a_window_has_two_ends(tmp_path: Path, window: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "i.h5", {1: cine()})
    assert main(["convert", str(path), "-f", "png", "--window", *window]) == 1
    assert f"--window {window[0]} {window[1]}: LOW and HIGH" in capsys.readouterr().err
    assert not (tmp_path / "i").exists()
