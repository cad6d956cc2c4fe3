"""Where slices lie and what tells images apart, in the words of other readers."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onebreath.cli import main
from tests.dicom.test_instances import WHERE, program
from tests.images.files import image, write

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

INTERLEAVED = (0, 2, 1, 3)  # where the slice of each counter lies
LEFT_HANDED = WHERE | {"slice_dir": tuple(-np.array(WHERE["slice_dir"]))}


def read(folder: Path) -> list[Any]:
    return [pydicom.dcmread(file) for file in sorted(folder.glob("*/*.dcm"))]


def interleaved_cine(path: Path, where: dict[str, tuple[float, ...]]) -> Path:
    """Slices 10 mm apart in the order in which they are acquired; one bright pixel says slice and phase."""
    images = []
    for number, (counter, phase) in enumerate(np.ndindex(len(INTERLEAVED), 3), 1):
        values = np.zeros((1, 12, 16), np.uint16)
        values[0, 5, 11] = 1000 + 10 * INTERLEAVED[counter] + phase
        position = np.array([12.0, -30.0, 44.0]) + 10.0 * INTERLEAVED[counter] * np.array(where["slice_dir"])
        stamps = (10 + 20 * phase, 0, 0)
        counters = {"slice": counter, "phase": phase, "number": number, "physiology_time_stamp": stamps}
        images.append(image(values, position=tuple(position), **counters, **where))
    return write(path, {1: images})


@pytest.mark.parametrize("where", [WHERE, LEFT_HANDED], ids=["right-handed", "left-handed"])
def test_another_reader_finds_the_slices_of_an_interleaved_cine_where_they_are(
    tmp_path: Path, where: dict[str, tuple[float, ...]]
) -> None:
    converter = program("dcm2niix")
    path = interleaved_cine(tmp_path / "i.h5", where)
    assert main(["dicom", str(path), "-o", str(tmp_path / "dcm")]) == 0
    assert main(["convert", str(path), "-o", str(tmp_path / "own")]) == 0
    (tmp_path / "theirs").mkdir()
    command = [converter, "-z", "n", "-o", str(tmp_path / "theirs"), str(tmp_path / "dcm")]
    subprocess.run(command, capture_output=True, check=True)
    (theirs,) = (tmp_path / "theirs").glob("*.nii")
    places = []
    for file in (theirs, tmp_path / "own" / "series1_Image.nii.gz"):
        nifti = nibabel.load(file)
        data = np.asarray(nifti.dataobj)
        assert data.shape == (16, 12, 4, 3)
        found = [np.argwhere(data == 1000 + 10 * place + phase)[0] for place in range(4) for phase in range(3)]
        assert [int(one[3]) for one in found] == [0, 1, 2] * 4
        places.append([(nifti.affine @ [*one[:3], 1])[:3] for one in found])
    np.testing.assert_allclose(places[0], places[1], atol=1e-3)


def test_slices_are_counted_along_their_normal_in_both_kinds_of_instances(tmp_path: Path) -> None:
    path = interleaved_cine(tmp_path / "i.h5", WHERE)
    assert main(["dicom", str(path), "-o", str(tmp_path / "classic")]) == 0
    assert main(["dicom", str(path), "--enhanced", "-o", str(tmp_path / "enhanced")]) == 0
    classic = read(tmp_path / "classic")
    assert [one.InstanceNumber for one in classic] == list(range(1, 13))
    locations = [float(one.SliceLocation) for one in classic]
    np.testing.assert_allclose(np.diff(locations[::3]), 10.0, atol=1e-3)
    (enhanced,) = read(tmp_path / "enhanced")
    frames = enhanced.PerFrameFunctionalGroupsSequence
    assert [one.FrameContentSequence[0].InStackPositionNumber for one in frames] == [k // 3 + 1 for k in range(12)]
    for frame, one in zip(frames, classic, strict=True):
        assert frame.PlanePositionSequence[0].ImagePositionPatient == one.ImagePositionPatient
