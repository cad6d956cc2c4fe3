"""Where slices lie and what tells images apart, in the words of other readers."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onebreath.cli import main
from onebreath.images.geometry import Geometry
from onebreath.images.reading import read_images
from tests.dicom.test_instances import WHERE, program, theirs_and_ours
from tests.images.files import image, write

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("nibabel")

INTERLEAVED = (0, 2, 1, 3)  # where the slice of each counter lies
LEFT_HANDED = WHERE | {"slice_dir": tuple(-np.array(WHERE["slice_dir"]))}
# As transverse scans of Siemens scanners are read out, with phase encoding along both directions.
MIRRORED = {"read_dir": (-1, 0, 0), "phase_dir": (0, 1, 0), "slice_dir": (0, 0, 1)}
LYING = {"read_dir": (0, 1, 0), "phase_dir": (1, 0, 0), "slice_dir": (0, 0, 1)}


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


@pytest.mark.parametrize("options", [[], ["--enhanced"]], ids=["classic", "enhanced"])
@pytest.mark.parametrize(
    "where", [WHERE, LEFT_HANDED, MIRRORED, LYING], ids=["right-handed", "left-handed", "mirrored", "lying"]
)
def test_another_reader_finds_the_slices_of_an_interleaved_cine_where_they_are(
    tmp_path: Path, where: dict[str, tuple[float, ...]], options: list[str]
) -> None:
    program("dcm2niix")
    path = interleaved_cine(tmp_path / "i.h5", where)
    assert main(["dicom", str(path), "-o", str(tmp_path / "dcm"), *options]) == 0
    if options:  # of whose frames dcm2niix takes the standard's order if the maker is known to keep to it, and no other
        (file,) = (tmp_path / "dcm").glob("*/*.dcm")
        changed = pydicom.dcmread(file)
        changed.Manufacturer = "Bruker BioSpin"
        changed.save_as(file)
    places = []
    for nifti in theirs_and_ours(path, tmp_path):
        data = np.asarray(nifti.dataobj)
        assert (sorted(data.shape[:2]), data.shape[2:]) == ([12, 16], (4, 3))
        found = [np.argwhere(data == 1000 + 10 * place + phase)[0] for place in range(4) for phase in range(3)]
        assert [int(one[3]) for one in found] == [0, 1, 2] * 4
        places.append([(nifti.affine @ [*one[:3], 1])[:3] for one in found])
    np.testing.assert_allclose(places[0], places[1], atol=1e-3)


@pytest.mark.parametrize("options", [[], ["--enhanced"]], ids=["classic", "enhanced"])
@pytest.mark.parametrize("where", [MIRRORED, LYING], ids=["mirrored", "lying"])
def test_pictures_and_maps_are_seen_from_the_feet_with_every_pixel_in_its_place(
    tmp_path: Path, where: dict[str, tuple[float, ...]], options: list[str]
) -> None:
    values = np.arange(1, 193, dtype=np.uint16).reshape(1, 12, 16)
    role = {"GADGETRON_DataRole": "Gfactor"}
    mapped = image(values.astype(np.float32), series=20, meta=role, **where)
    path = write(tmp_path / "i.h5", {1: [image(values, **where)], 20: [mapped]})
    assert main(["dicom", str(path), "-o", str(tmp_path / "dcm"), *options]) == 0
    (series, _) = read_images(path)
    place = Geometry.of(series.headers[0], series.data.shape)
    for one in read(tmp_path / "dcm"):
        groups, shared = (one.get(f"{kind}FunctionalGroupsSequence", [one])[0] for kind in ("PerFrame", "Shared"))
        axes = shared.get("PlaneOrientationSequence", [one])[0].ImageOrientationPatient
        assert list(map(float, axes)) == [1, 0, 0, 0, 1, 0]
        corner = np.array(groups.get("PlanePositionSequence", [one])[0].ImagePositionPatient, float)
        tall, wide = map(float, shared.get("PixelMeasuresSequence", [one])[0].PixelSpacing)
        pixels = one.pixel_array
        for value in (1, 7, 170):
            row, column = np.argwhere(pixels == value)[0]
            _, y, x = np.argwhere(values == value)[0]
            seen = corner + np.array([column * wide, row * tall, 0])
            np.testing.assert_allclose(seen, place.position((x, y, 0)), atol=1e-3)


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


@pytest.mark.parametrize("options", [[], ["--enhanced"]], ids=["classic", "enhanced"])
def test_sets_and_averages_are_series_of_their_own(tmp_path: Path, options: list[str]) -> None:
    images = [
        image(np.full((1, 4, 6), 10 * encoding + average, np.float32), set=encoding, average=average, slice=place)
        for encoding, average, place in np.ndindex(3, 2, 2)
    ]
    role = {"GADGETRON_DataRole": "Gfactor"}
    maps = [
        image(np.full((1, 4, 6), 1.5 + encoding, np.float32), series=20, set=encoding, meta=role)
        for encoding in range(2)
    ]
    path = write(tmp_path / "i.h5", {1: images, 20: maps})
    assert main(["dicom", str(path), "-o", str(tmp_path / "dcm"), *options]) == 0
    series: dict[int, list[Any]] = {}
    for one in read(tmp_path / "dcm"):
        series.setdefault(int(one.SeriesNumber), []).append(one)
    assert sorted(series) == [1, 20, 10001, 10020, 20001, 30001, 40001, 50001]
    assert len({one.SeriesInstanceUID for several in series.values() for one in several}) == len(series)
    described = {number: str(several[0].SeriesDescription) for number, several in series.items()}
    assert described[1].endswith(" set 1 average 1")
    assert described[40001].endswith(" set 3 average 1")
    assert described[10020].endswith(" set 2")
    for encoding, average in np.ndindex(3, 2):
        for one in series[1 + 10000 * (2 * encoding + average)]:
            scale = one.PerFrameFunctionalGroupsSequence[0].PixelValueTransformationSequence[0] if options else one
            values = one.pixel_array * float(scale.RescaleSlope) + float(scale.RescaleIntercept)
            np.testing.assert_allclose(values, 10 * encoding + average, atol=1e-3)


def test_maps_of_echoes_and_of_other_directions_are_instances_of_their_own(tmp_path: Path) -> None:
    """Slices of one map have one direction, and each its own place: those of two echoes do not go into one."""
    turned = {"read_dir": (0, 1, 0), "phase_dir": (0, 0, 1), "slice_dir": (1, 0, 0)}
    role = {"GADGETRON_DataRole": "Gfactor"}
    maps = [
        image(
            np.full((1, 4, 6), 1 + 10 * echo + place, np.float32),
            series=20,
            contrast=echo,
            slice=place,
            position=(0, 0, 10.0 * place),
            meta=role,
            **(turned if place == 2 else {}),
        )
        for echo, place in np.ndindex(2, 3)
    ]
    path = write(tmp_path / "i.h5", {1: [image(np.ones((1, 4, 6), np.uint16))], 20: maps})
    assert main(["dicom", str(path), "-o", str(tmp_path / "dcm")]) == 0
    found = [pydicom.dcmread(file) for file in sorted((tmp_path / "dcm" / "series0020").glob("*.dcm"))]
    assert [one.InstanceNumber for one in found] == [1, 2, 3, 4]
    assert len({one.SOPInstanceUID for one in found}) == 4
    assert [one.ImageComments for one in found] == ["echo 1", "echo 2"] * 2
    values = [np.unique(one.pixel_array).tolist() for one in found]
    assert values == [[1, 2], [11, 12], [3], [13]]
    rows = [
        one.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient[:3] for one in found
    ]
    assert [list(map(float, row)) for row in rows] == [[1, 0, 0]] * 2 + [[0, 1, 0]] * 2


def test_slices_at_one_place_are_no_parametric_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    role = {"GADGETRON_DataRole": "Gfactor"}
    maps = [image(np.ones((1, 4, 6), np.float32), series=20, slice=place, meta=role) for place in range(2)]
    path = write(tmp_path / "i.h5", {1: [image(np.ones((1, 4, 6), np.uint16))], 20: maps})
    assert main(["dicom", str(path), "-o", str(tmp_path / "dcm")]) == 1
    assert "2 slices of series 20 lie at 1 places" in capsys.readouterr().err
    assert main(["dicom", str(path), "-o", str(tmp_path / "dcm"), "--maps", "mr"]) == 0


def test_enhanced_instances_have_the_times_of_their_echo(tmp_path: Path) -> None:
    validator = program("dciodvfy")
    images = [
        image(
            np.ones((1, 4, 6), np.uint16), contrast=echo, meta={"RepetitionTime": "12", "EchoTime": f"{2.5 + 3 * echo}"}
        )
        for echo in range(2)
    ]
    path = write(tmp_path / "i.h5", {1: images, 2: [image(np.ones((1, 4, 6), np.uint16), series=2)]})
    assert main(["dicom", str(path), "--enhanced", "-o", str(tmp_path / "dcm")]) == 0
    instances = read(tmp_path / "dcm")
    assert [one.get("RepetitionTime") for one in instances] == [12, 12, None]
    first, second, timeless = (one.SharedFunctionalGroupsSequence[0] for one in instances)
    assert [one.MREchoSequence[0].EffectiveEchoTime for one in (first, second)] == [2.5, 5.5]
    assert "MREchoSequence" not in timeless
    for file in (tmp_path / "dcm").glob("*/*.dcm"):
        said = subprocess.run([validator, str(file)], capture_output=True, text=True, check=False)
        assert not [line for line in said.stderr.splitlines() if line.startswith("Error")]


def test_instances_of_another_scan_are_not_mixed_with_new_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = interleaved_cine(tmp_path / "0.h5", WHERE)
    second = write(tmp_path / "1.h5", {1: [image(np.ones((1, 12, 16), np.uint16), **WHERE)]})
    out = tmp_path / "out"
    assert main(["dicom", str(first), "-o", str(out)]) == 0
    before = sorted(out.rglob("*.dcm"))
    assert main(["dicom", str(second), "-o", str(out)]) == 1
    assert "files of an earlier call" in capsys.readouterr().err
    assert sorted(out.rglob("*.dcm")) == before
    assert main(["dicom", str(second), "-o", str(out), "--overwrite"]) == 0
    assert [path.name for path in out.rglob("*.dcm")] == ["00001.dcm"]
