"""Two files of images are compared bit for bit, but for what changes from run to run."""

import ismrmrd
import numpy as np
import pytest

from benchmarks.same_images import differences
from onebreath.wire.image_file import ImageFile


def written(path, pixels, **facts):
    with ImageFile(path, "group") as file:
        image = ismrmrd.Image.from_array(pixels, transpose=False)
        image.image_series_index = 1
        meta = ismrmrd.Meta()
        for name, value in facts.items():
            meta[name] = value
        image.attribute_string = meta.serialize()
        file.append(image)
    return path


@pytest.fixture
def pixels():
    return np.random.default_rng(1).random((1, 1, 8, 8)).astype(np.float32)


def test_equal_images_with_other_times_are_equal(tmp_path, pixels):
    one = written(tmp_path / "one.h5", pixels, Onebreath_sort_frames="4", Onebreath_seconds="1.25")
    other = written(tmp_path / "other.h5", pixels, Onebreath_sort_frames="4", Onebreath_seconds="11.5")
    assert list(differences(one, other, "group")) == []


def test_one_bit_of_one_pixel_is_seen(tmp_path, pixels):
    changed = pixels.copy()
    changed[0, 0, 3, 5] = np.nextafter(changed[0, 0, 3, 5], 2)
    files = [written(tmp_path / f"{number}.h5", one) for number, one in enumerate((pixels, changed))]
    assert list(differences(*files, "group")) == ["group, image_1: data differ"]


def test_another_decision_is_seen(tmp_path, pixels):
    files = [written(tmp_path / f"{frames}.h5", pixels, Onebreath_sort_frames=str(frames)) for frames in (4, 6)]
    assert list(differences(*files, "group")) == ["group, image_1, image 0: Onebreath_sort_frames is 4 before, 6 after"]
