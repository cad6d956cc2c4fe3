from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mri.coils import combine, rss
from onebreath.training.data.motion import beating
from onebreath.training.data.scanning import ScanSettings, make_scan
from onebreath.training.data.series import NOT_CYCLIC, ImageSeries

SETTINGS = ScanSettings(coils=(6, 6), channels=4, calibration_lines=(20, 20), frames=5)


def heart(frames: int = 3) -> ImageSeries:
    y, x = np.mgrid[:72, :64]
    body = ((y - 36) / 30) ** 2 + ((x - 32) / 26) ** 2 < 1
    radii = 6 + 2 * np.sin(2 * np.pi * np.arange(frames) / frames)
    series = [0.4 * body + ((y - 36) ** 2 + (x - 32) ** 2 < r**2) for r in radii]
    return ImageSeries("p", "s", np.array(series, np.float32), (4.0, 4.0))


@pytest.fixture(scope="module")
def scan():
    return make_scan(heart(), SETTINGS, (1, 2))


def test_maps_have_unit_sum_of_squares_and_explain_the_coil_images(scan):
    assert rss(scan.maps, 0) == pytest.approx(1, abs=1e-5)
    coil_images = scan.image * scan.coils
    combined = combine(coil_images, scan.maps)
    assert np.linalg.norm(combined) ** 2 > 0.98 * np.linalg.norm(coil_images) ** 2


def test_shapes_and_acquired_matrix(scan):
    frames, one, ny, nx = scan.image.shape
    assert (frames, one) == (3, 1)
    assert scan.coils.shape == scan.maps.shape == (4, ny, nx)
    assert ny % 2 == nx % 2 == 0
    assert max(ny, nx) <= 72


def test_signal_is_in_units_of_the_noise():
    high = make_scan(heart(), SETTINGS.model_copy(update={"snr": (30.0, 30.0)}), (5,))
    level = np.percentile(np.abs(high.image[:, 0]).mean(0) * rss(high.coils, 0), 97)
    assert level == pytest.approx(30, rel=1e-3)


def test_the_seed_decides(scan):
    again = make_scan(heart(), SETTINGS, (1, 2))
    other = make_scan(heart(), SETTINGS, (1, 3))
    assert np.array_equal(scan.image, again.image)
    assert np.array_equal(scan.maps, again.maps)
    assert scan.image.shape != other.image.shape or not np.array_equal(scan.image, other.image)


def test_clips_that_are_not_cyclic_run_forwards_and_backwards_without_a_jump():
    growing = np.stack([(1 + 0.2 * n) * heart().images[0] for n in range(5)])
    clip = replace(heart(), images=growing, facts={NOT_CYCLIC: 1})
    one = make_scan(clip, SETTINGS, (1, 2))
    assert len(one.image) == 8
    assert np.array_equal(one.image[5:], one.image[[3, 2, 1]])
    around = np.concatenate([one.image, one.image[:1]])
    steps = np.linalg.norm(np.diff(around, axis=0).reshape(8, -1), axis=1)
    assert steps.max() < 2 * steps.min()
    assert len(make_scan(replace(heart(1), facts={NOT_CYCLIC: 1}), SETTINGS, (4,)).image) == 5


def test_a_single_image_is_set_in_motion():
    scan = make_scan(heart(1), SETTINGS, (4,))
    assert len(scan.image) == 5
    magnitude = np.abs(scan.image[:, 0])
    assert magnitude.std(axis=0).max() > 0.05 * magnitude.max()


def test_motion_is_periodic_and_leaves_the_rim_alone():
    image = heart(1).images[0].astype(np.complex64)
    series = beating(image, 24, np.random.default_rng(0))
    steps = np.linalg.norm(np.roll(series, -1, axis=0) - series, axis=(1, 2))
    assert steps[-1] <= 1.5 * steps.max()
    assert steps.max() > 0
    assert np.abs(series[:, :, :4] - image[:, :4]).max() < 0.1


def test_images_that_are_too_small_are_refused():
    tiny = ImageSeries("p", "s", np.ones((2, 20, 20), np.float32), (1.0, 1.0))
    with pytest.raises(ScanError, match="too small for calibration"):
        make_scan(tiny, SETTINGS, (0,))


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (np.zeros((2, 8, 8)), "all zero"),
        (np.full((2, 8, 8), np.nan), "not finite"),
        (np.ones((8, 8)), "expected the axes"),
        (np.ones((0, 8, 8)), "empty"),
    ],
)
def test_damaged_series_are_refused(images, text):
    with pytest.raises(ScanError, match=text):
        ImageSeries("p", "s", images, (1.0, 1.0))


def test_measured_coils(tmp_path):
    rng = np.random.default_rng(0)
    kspace = (rng.standard_normal((8, 32, 32)) + 1j * rng.standard_normal((8, 32, 32))).astype(np.complex64)
    np.save(tmp_path / "k.npy", kspace)
    settings = SETTINGS.model_copy(update={"measured_coils": str(tmp_path / "k.npy"), "measured_share": 1.0})
    assert make_scan(heart(), settings, (0,)).coils.shape[0] == 4
    few = settings.model_copy(update={"coils": (12, 12)})
    with pytest.raises(ScanError, match="expected at least 12"):
        make_scan(heart(), few, (0,))
