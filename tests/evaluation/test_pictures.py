import numpy as np
from PIL import Image
from scipy.ndimage import find_objects, label

from onebreath.evaluation.figures.crop import crop_figure, cropped, ssim_of_crop
from onebreath.evaluation.figures.pictures import (
    TEXT_HEIGHT,
    box_plots,
    cine_loop,
    compare_figure,
    lines_of_name,
    most_moving_row,
)


def moving() -> np.ndarray:
    series = np.ones((4, 16, 12))
    series[:, 5] += np.arange(4)[:, None]
    return series


def test_the_profile_crosses_what_moves():
    assert most_moving_row(moving()) == 5


def test_a_loop_holds_every_frame_side_by_side(tmp_path):
    cine_loop(tmp_path / "loop.gif", {"truth": moving(), "method": 0.5 * moving()}, zoom=2)
    with Image.open(tmp_path / "loop.gif") as loop:
        assert loop.n_frames == 4
        assert loop.size == (2 * 24, 2 * 16 + 2 * TEXT_HEIGHT)


def test_a_loop_has_the_shape_of_the_body(tmp_path):
    cine_loop(tmp_path / "loop.gif", {"truth": moving()}, frame_ms=70, pixel_mm=(1.0, 2.0), zoom=3)
    with Image.open(tmp_path / "loop.gif") as loop:
        assert loop.size == (3 * 2 * 12, 3 * 16 + 2 * TEXT_HEIGHT)
        assert loop.info["duration"] == 70


def test_options_of_a_method_stand_in_lines_of_their_own_above_its_panel():
    assert lines_of_name("unet.static:data_consistency=off,slope=1") == "unet.static\ndata_consistency=off\nslope=1"


def test_panels_of_the_figure_have_the_shape_of_the_field_of_view(tmp_path):
    dark = np.zeros((2, 64, 64))
    dark[:, 30:34, 30:34] = 1
    compare_figure(tmp_path / "images.png", dark, {"nothing": 0 * dark}, (290 / 64, 360 / 64), "SNR units")
    with Image.open(tmp_path / "images.png") as picture:
        grey = np.asarray(picture.convert("L"))
    panels = [part for part in find_objects(label(grey < 5)[0]) if part[0].stop - part[0].start > 60]
    shapes = [(rows.stop - rows.start) / (columns.stop - columns.start) for rows, columns in panels]
    assert sum(abs(shape - 290 / 360) < 0.02 for shape in shapes) >= 2, (
        "the pictures of two methods; an axis splits some"
    )


def test_the_figure_is_written(tmp_path):
    compare_figure(tmp_path / "images.png", moving(), {"method": 0.9 * moving()})
    with Image.open(tmp_path / "images.png") as picture:
        assert np.asarray(picture).std() > 0


def test_box_plots_have_a_panel_for_every_group_and_measure(tmp_path):
    methods = {"one": [1.0, 2.0, 3.0], "other": [2.0, 4.0, 9.0]}
    titles = {"psnr": "PSNR", "ssim": "SSIM"}
    box_plots(tmp_path / "one.png", {"R=4": {"psnr": methods}}, titles)
    box_plots(tmp_path / "four.png", {"R=4": {"psnr": methods, "ssim": methods}, "R=8": {"psnr": methods}}, titles)
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "four.png") as four:
        assert four.size == (2 * one.size[0], 2 * one.size[1])
        assert np.asarray(one).std() > 0


def test_the_crop_is_the_middle_half_and_its_ssim_ignores_the_rest(tmp_path):
    truth = np.random.default_rng(0).random((4, 40, 24))
    assert cropped(truth).shape == (4, 20, 24)
    np.testing.assert_array_equal(cropped(truth), truth[:, 10:30])
    outside = truth.copy()
    outside[:, :10] = 0
    assert ssim_of_crop(truth, outside) == 1
    inside = truth.copy()
    inside[:, 15:25] = 0
    assert ssim_of_crop(truth, inside) < 0.9
    crop_figure(tmp_path / "crop.png", truth, {"one": outside, "two": inside}, (1.0, 2.0))
    with Image.open(tmp_path / "crop.png") as picture:
        assert np.asarray(picture).std() > 0
