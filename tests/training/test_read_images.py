import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from onebreath.errors import ScanError
from onebreath.training.readers.images import image_folder

PICTURE = (np.arange(48).reshape(6, 8) * 5).astype(np.uint8)


def test_pictures_npz_and_sub_folders(tmp_path):
    (tmp_path / "anna" / "knee").mkdir(parents=True)
    Image.fromarray(PICTURE).save(tmp_path / "anna" / "knee" / "one.png")
    Image.fromarray(np.stack([PICTURE, PICTURE // 2, PICTURE // 3], -1)).save(tmp_path / "anna" / "two.PNG")
    Image.fromarray(PICTURE.astype(np.uint16) * 200).save(tmp_path / "berta.tif")
    Image.fromarray(0 * PICTURE).save(tmp_path / "nothing.png")
    np.savez(tmp_path / "clara.npz", images=np.stack([PICTURE, PICTURE]))
    np.savez(tmp_path / "named.npz", images=PICTURE[None], names=np.array(["dora-IM-0001-0002"]))
    found = {(one.patient, one.name): one.images for one in image_folder(tmp_path)}
    assert sorted({patient for patient, _ in found}) == ["anna", "berta", "clara", "dora"]
    for (patient, _), images in found.items():
        assert images.shape == (1, 6, 8)
        np.testing.assert_array_equal(images[0], PICTURE * (200.0 if patient == "berta" else 1.0))
    assert len(found) == 6
    assert next(iter(image_folder(tmp_path / "anna" / "two.PNG"))).patient == "two"


def test_nifti_volumes_become_slices(tmp_path, monkeypatch):
    (tmp_path / "emil.nii.gz").write_bytes(b"")
    volume = np.stack([PICTURE.T, 2.0 * PICTURE.T, 0 * PICTURE.T], axis=-1)
    fake = SimpleNamespace(
        load=lambda file: SimpleNamespace(dataobj=volume), filebasedimages=SimpleNamespace(ImageFileError=OSError)
    )
    monkeypatch.setitem(sys.modules, "nibabel", fake)
    first, second = image_folder(tmp_path)
    assert (first.patient, second.name) == ("emil", "emil-001")
    np.testing.assert_array_equal(second.images[0], 2.0 * PICTURE)


def test_volumes_of_a_nifti_file_are_frames_and_signed_values_are_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="NIfTI files are read with nibabel, which is not installed")
    series = np.stack([PICTURE.T, 2.0 * PICTURE.T], -1)[:, :, None]
    nibabel.save(nibabel.Nifti1Image(series, np.eye(4)), tmp_path / "emil.nii.gz")
    (one,) = image_folder(tmp_path)
    np.testing.assert_array_equal(one.images, [PICTURE, 2.0 * PICTURE])
    nibabel.save(nibabel.Nifti1Image(series - 100.0, np.eye(4)), tmp_path / "emil.nii.gz")
    with pytest.raises(ScanError, match="no magnitudes"):
        list(image_folder(tmp_path))


def test_palettes_are_looked_up_and_pages_are_images(tmp_path):
    palette = Image.fromarray(255 - PICTURE).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "one.png")
    (one,) = image_folder(tmp_path)
    np.testing.assert_array_equal(one.images[0], 255 - PICTURE)
    pages = [Image.fromarray(page) for page in (PICTURE, PICTURE // 2)]
    pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])
    first, second = image_folder(tmp_path / "two.tif")
    assert (first.name, second.name) == ("two-000", "two-001")
    np.testing.assert_array_equal(second.images[0], PICTURE // 2)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    (tmp_path / "emil.nii").write_bytes(b"")
    with pytest.raises(ScanError, match="needs the package nibabel: pip install nibabel"):
        list(image_folder(tmp_path))


def test_damaged_and_missing_files_are_named(tmp_path):
    with pytest.raises(ScanError, match=r"there is no image in it; expected \.png"):
        list(image_folder(tmp_path))
    (tmp_path / "one.png").write_bytes(b"no picture")
    with pytest.raises(ScanError, match=r"one\.png cannot be read, it is damaged"):
        list(image_folder(tmp_path))
    (tmp_path / "one.png").unlink()
    np.savez(tmp_path / "two.npz", pictures=PICTURE)
    with pytest.raises(ScanError, match=r"images have the shape \(0,\)"):
        list(image_folder(tmp_path))
