import errno
import gzip
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from PIL import Image

from onebreath.cli import main
from onebreath.errors import ScanError
from onebreath.images.reading import StoredPixels, images_of
from tests.images.files import cine, image, write

nibabel = pytest.importorskip("nibabel")

LPS_TO_RAS = np.array([-1, -1, 1])


def test_nifti_has_every_pixel_at_its_place_in_the_body(tmp_path: Path) -> None:
    """Double oblique slices, against the position that headers and the centred transform give, computed by hand."""
    read = np.array([np.cos(0.3), np.sin(0.3), 0])
    phase = np.array([-np.sin(0.3) * np.cos(0.4), np.cos(0.3) * np.cos(0.4), np.sin(0.4)])
    normal = np.cross(read, phase)
    nx, ny, nz = 16, 12, 4
    order = [2, 0, 3, 1]  # acquired interleaved, counted in time
    images = []
    for counter, place in enumerate(order):
        values = np.zeros((1, ny, nx), np.float32)
        values[0, 5, 11] = 100 + place
        position = np.array([12.0, -30.0, 44.0]) + 10.0 * place * normal
        where = {"read_dir": tuple(read), "phase_dir": tuple(phase), "slice_dir": tuple(normal)}
        images.append(image(values, number=counter + 1, slice=counter, position=tuple(position), **where))
    path = write(tmp_path / "oblique.h5", {1: images})
    assert main(["convert", str(path)]) == 0
    made = nibabel.load(tmp_path / "oblique" / "series1_Image.nii.gz")
    assert made.shape == (nx, ny, nz)
    data = np.asarray(made.dataobj)
    for place in range(nz):
        pixel = np.argwhere(data == 100 + place)
        assert pixel.tolist() == [[11, 5, place]]
        ras = (made.affine @ [*pixel[0], 1])[:3]
        lps = np.array([12.0, -30.0, 44.0]) + 10.0 * place * normal
        lps = lps + (11 - nx // 2) * 360 / nx * read + (5 - ny // 2) * 290 / ny * phase
        np.testing.assert_allclose(ras, lps * LPS_TO_RAS, atol=1e-3)
    assert made.header.get_zooms() == pytest.approx((22.5, 290 / 12, 10.0), rel=1e-6)
    assert (int(made.header["sform_code"]), int(made.header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(made.get_qform(), made.affine, atol=1e-3)


def test_frames_are_the_fourth_axis_and_values_keep_their_units(tmp_path: Path) -> None:
    images = cine(slices=2, phases=3)
    path = write(tmp_path / "i.h5", {1: images})
    assert main(["convert", str(path), "-o", str(tmp_path / "out")]) == 0
    made = nibabel.load(tmp_path / "out" / "series1_Image.nii.gz")
    assert made.shape == (16, 12, 2, 3)
    assert made.header.get_xyzt_units() == ("mm", "msec")
    assert float(made.header.get_zooms()[3]) == 70.0
    np.testing.assert_allclose(np.asarray(made.dataobj)[0, 0], [[0, 100, 200], [1000, 1100, 1200]])


def test_slices_that_no_grid_holds_are_files_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.ones((1, 4, 4), np.float32)
    radial = [
        image(pixels, number=k + 1, slice=k, phase_dir=(0, np.cos(k), np.sin(k)), slice_dir=(0, -np.sin(k), np.cos(k)))
        for k in range(3)
    ]
    path = write(tmp_path / "i.h5", {1: radial})
    assert main(["convert", str(path)]) == 0
    assert "as the slices are not parallel" in capsys.readouterr().out
    assert len(list((tmp_path / "i").glob("*_slice?.nii.gz"))) == 3


def moved(images: list[ismrmrd.Image], slice_index: int, phase: int, by_mm: float) -> list[ismrmrd.Image]:
    """The images, one of which lies elsewhere along x; voxels are 22.5 x 24 x 8 mm."""
    for one in images:
        head = one.getHead()
        if (head.slice, head.phase) == (slice_index, phase):
            head.position[0] += by_mm
            one.setHead(head)
    return images


def test_a_frame_that_lies_a_little_elsewhere_shares_the_file_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "i.h5", {1: moved(cine(slices=2, phases=3), 1, 2, 0.05)})
    assert main(["convert", str(path)]) == 0
    assert "grid of series1_Image.nii.gz; pixels are up to 0.05 mm off" in capsys.readouterr().out
    made = nibabel.load(tmp_path / "i" / "series1_Image.nii.gz")
    assert made.shape == (16, 12, 2, 3)
    exact = write(tmp_path / "exact.h5", {1: cine(slices=2, phases=3)})
    assert main(["convert", str(exact)]) == 0
    assert "grid of" not in capsys.readouterr().out
    np.testing.assert_allclose(made.affine, nibabel.load(tmp_path / "exact" / "series1_Image.nii.gz").affine, atol=1e-6)


def test_a_frame_that_lies_a_voxel_elsewhere_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "i.h5", {1: moved(cine(slices=1, phases=3), 0, 2, 5.0)})
    assert main(["convert", str(path)]) == 1
    told = capsys.readouterr().err
    assert "pixels are up to 5 mm apart" in told
    assert "a tenth of a voxel, 0.8 mm" in told
    assert "onebreath dicom" in told


@pytest.mark.parametrize(("by_mm", "files"), [(0.3, 1), (3.0, 3)])
def test_slices_a_little_off_their_distance_share_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], by_mm: float, files: int
) -> None:
    path = write(tmp_path / "i.h5", {1: moved(cine(slices=3, phases=1), 1, 0, by_mm)})
    assert main(["convert", str(path)]) == 0
    assert len(list((tmp_path / "i").glob("*.nii.gz"))) == files
    told = capsys.readouterr().out
    assert ("pixels are up to 0.3 mm off" in told) == (files == 1)
    assert ("not equally far" in told) == (files == 3)


def test_a_volume_keeps_its_partitions(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    path = write(tmp_path / "i.h5", {1: [image(values, field_of_view=(40, 30, 10))]})
    assert main(["convert", str(path)]) == 0
    made = nibabel.load(tmp_path / "i" / "series1_Image.nii.gz")
    np.testing.assert_array_equal(np.asarray(made.dataobj), values.transpose(2, 1, 0))
    assert made.header.get_zooms() == (10.0, 10.0, 5.0)


def test_no_channel_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = image(np.ones((1, 4, 6), np.float32))
    head = one.getHead()
    head.channels = 2
    both = ismrmrd.Image(head, data=np.concatenate([one.data, one.data]))
    path = write(tmp_path / "i.h5", {1: [both]})
    assert main(["convert", str(path)]) == 1
    assert "Series 1 has 2 channels in each image" in capsys.readouterr().err
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ([{"repetition": k, "acquisition_time_stamp": 4000 * k} for k in range(3)], 10_000.0),
        ([{"repetition": k, "physiology_time_stamp": (5 + 7 * k, 0, 0)} for k in range(3)], 0.0),
        ([{"phase": k, "acquisition_time_stamp": 400 * k} for k in range(3)], 0.0),
        ([{"acquisition_time_stamp": 400 * k} for k in range(3)], 0.0),
    ],
    ids=["repetitions by their acquisition", "not by their triggers", "phases not by acquisition", "no counter"],
)
def test_frames_have_their_true_distance_or_none(
    tmp_path: Path, heads: list[dict], expected: float, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [image(np.full((1, 4, 6), k, np.float32), number=k + 1, **head) for k, head in enumerate(heads)]
    path = write(tmp_path / "i.h5", {1: frames})
    assert main(["convert", str(path), "-f", "nifti,gif"]) == 0
    told = capsys.readouterr().out
    made = nibabel.load(tmp_path / "i" / "series1_Image.nii.gz")
    assert float(made.header.get_zooms()[3]) == expected
    assert ("the time between its frames is not known; NIfTI says 0" in told) == (not expected)
    why = "its frames are 10000 ms apart" if expected else "the time between its frames is not known"
    assert f"series 1: {why}; loops show each for 60 ms" in told
    with Image.open(tmp_path / "i" / "series1_Image.gif") as loop:
        assert loop.info["duration"] == 60


def test_an_error_of_writing_is_not_taken_for_one_of_reading(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "i.h5", {1: cine()})
    assert main(["convert", str(path), "-o", "/proc/nowhere"]) == 1
    told = capsys.readouterr().err
    assert "No such file or directory: '/proc/nowhere'" in told
    assert "cannot be read" not in told
    with pytest.raises(BrokenPipeError), images_of(path):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    with pytest.raises(ScanError, match="cannot be read"), images_of(path):
        raise OSError("Can't synchronously read data (file read failed)")


def test_an_unknown_format_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(write(tmp_path / "i.h5", {1: cine()})), "-f", "bmp"]) == 1
    assert "no format 'bmp'" in capsys.readouterr().err


def test_files_of_another_scan_do_not_stay_among_the_new_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many, few = (write(tmp_path / f"{n}.h5", {1: cine(slices=n, phases=2)}) for n in (3, 1))
    out = tmp_path / "out"
    assert main(["convert", str(many), "-f", "png", "-o", str(out)]) == 0
    (out / "notes.txt").write_text("mine")
    assert main(["convert", str(few), "-f", "png", "-o", str(out)]) == 1
    assert "holds 6 files of an earlier call (series1_Image_slice0_frame000.png, " in capsys.readouterr().err
    assert len(list(out.iterdir())) == 7
    assert main(["convert", str(few), "-f", "png", "-o", str(out), "--overwrite"]) == 0
    assert "6 files of an earlier call were removed" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "notes.txt",
        "series1_Image_frame000.png",
        "series1_Image_frame001.png",
    ]


def test_a_file_larger_than_the_memory_would_be_is_read_image_by_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest piece that is read at once is one image, whatever the format."""
    path = write(tmp_path / "i.h5", {1: cine(slices=2, phases=5)})
    read: list[int] = []
    whole = StoredPixels.__getitem__

    def counted(self: StoredPixels, index: object) -> np.ndarray:
        read.append(int(np.size(found := whole(self, index))))
        return found

    monkeypatch.setattr(StoredPixels, "__getitem__", counted)
    assert main(["convert", str(path), "-f", "nifti,png,gif"]) == 0
    assert max(read) == 12 * 16
    assert len(read) == 10 + 2 * 10, "once for NIfTI; for pictures once for the window, and once to draw"


def test_files_are_those_of_nibabel(tmp_path: Path) -> None:
    path = write(tmp_path / "i.h5", {1: cine(slices=2, phases=3)})
    assert main(["convert", str(path)]) == 0
    made = nibabel.load(tmp_path / "i" / "series1_Image.nii.gz")
    again = nibabel.Nifti1Image(np.asarray(made.dataobj), made.affine, made.header)
    assert gzip.decompress((tmp_path / "i" / "series1_Image.nii.gz").read_bytes()) == again.to_bytes()
