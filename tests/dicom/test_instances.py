"""Instances against the words of others: dciodvfy for the rules, dcmtk and dcm2niix for what is in them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onebreath.cli import main
from onebreath.images.reading import read_images
from tests.images.files import cine, image, write

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

READ = np.array([np.cos(0.3), np.sin(0.3), 0])
PHASE = np.array([-np.sin(0.3) * np.cos(0.4), np.cos(0.3) * np.cos(0.4), np.sin(0.4)])
WHERE = {"read_dir": tuple(READ), "phase_dir": tuple(PHASE), "slice_dir": tuple(np.cross(READ, PHASE))}


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def theirs_and_ours(images: Path, folder: Path) -> list[Any]:
    """NIfTI that dcm2niix makes of the instances in `dcm` of a folder, and that of `onebreath convert`."""
    assert main(["convert", str(images), "-o", str(folder / "own")]) == 0
    (folder / "theirs").mkdir()
    command = [program("dcm2niix"), "-z", "n", "-o", str(folder / "theirs"), str(folder / "dcm")]
    subprocess.run(command, capture_output=True, check=True)
    (theirs,) = (folder / "theirs").glob("*.nii")
    return [nibabel.load(file) for file in (theirs, folder / "own" / "series1_Image.nii.gz")]


def all_kinds(path: Path) -> Path:
    """Integer and float magnitude, phase, complex, a map, and a volume."""
    scale = {"GADGETRON_ScaleRatio": "10", "GADGETRON_ScaleOffset": "0", "RepetitionTime": "3.2", "EchoTime": "1.5"}
    counts = [
        image(
            np.arange(24, dtype=np.uint16).reshape(1, 4, 6) + 100 * k,
            meta=scale,
            number=k + 1,
            phase=k,
            physiology_time_stamp=(10 + 20 * k, 0, 0),
        )
        for k in range(3)
    ]
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((1, 4, 6)) + 1j * rng.standard_normal((1, 4, 6))
    return write(
        path,
        {
            1: counts,
            2: cine(series=2),
            20: [image(np.full((1, 4, 6), 1.5, np.float32), series=20, meta={"GADGETRON_DataRole": "Gfactor"})],
            30: [image(rng.standard_normal((3, 4, 6)).astype(np.float32), series=30, **WHERE)],
            3001: [image(np.angle(noise).astype(np.float32), series=3001, image_type=2)],
            4001: [image(noise.astype(np.complex64), series=4001)],
        },
    )


def made(folder: Path, *options: str) -> list[Path]:
    assert main(["dicom", str(all_kinds(folder / "i.h5")), "-o", str(folder / "dcm"), "--overwrite", *options]) == 0
    return sorted((folder / "dcm").glob("*/*.dcm"))


@pytest.mark.parametrize("options", [[], ["--anonymise"]])
def test_the_validator_finds_no_error(tmp_path: Path, options: list[str]) -> None:
    validator = program("dciodvfy")
    files = made(tmp_path, *options)
    assert len(files) == 3 + 6 + 1 + 3 + 1 + 2
    for file in files:
        said = subprocess.run([validator, str(file)], capture_output=True, text=True, check=False)
        errors = [line for line in said.stderr.splitlines() if line.startswith("Error")]
        assert not errors, f"{file}: {errors}"
        assert ("ParametricMap" if "series0020" in str(file) else "MRImage") in said.stderr


def test_the_validator_finds_no_error_in_enhanced_instances(tmp_path: Path) -> None:
    validator = program("dciodvfy")
    files = made(tmp_path, "--enhanced")
    assert len(files) == 1 + 1 + 1 + 1 + 1 + 2
    for file in files:
        said = subprocess.run([validator, str(file)], capture_output=True, text=True, check=False)
        errors = [line for line in said.stderr.splitlines() if line.startswith("Error")]
        assert not errors, f"{file}: {errors}"
        assert ("ParametricMap" if "series0020" in str(file) else "EnhancedMRImage") in said.stderr


def test_frames_of_an_enhanced_instance_are_the_classic_ones(tmp_path: Path) -> None:
    """Read by pydicom: pixels, values, place and time of every frame are those of the classic instance."""
    classic = [pydicom.dcmread(file) for file in made(tmp_path)]
    (tmp_path / "more").mkdir()
    enhanced = [pydicom.dcmread(file) for file in made(tmp_path / "more", "--enhanced")]
    for one in (one for one in enhanced if one.Modality == "MR" and "PixelData" in one):
        frames = [other for other in classic if other.SeriesNumber == one.SeriesNumber]
        assert one.NumberOfFrames == len(frames)
        shared = one.SharedFunctionalGroupsSequence[0]
        pixels = one.pixel_array.reshape(len(frames), one.Rows, one.Columns)
        for k, (other, group) in enumerate(zip(frames, one.PerFrameFunctionalGroupsSequence, strict=True)):
            np.testing.assert_array_equal(pixels[k], other.pixel_array)
            value = group.PixelValueTransformationSequence[0]
            assert (value.RescaleSlope, value.RescaleIntercept) == (other.RescaleSlope, other.RescaleIntercept)
            assert value.RescaleType == other.RescaleType
            assert group.PlanePositionSequence[0].ImagePositionPatient == other.ImagePositionPatient
            assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == other.ImageOrientationPatient
            assert shared.PixelMeasuresSequence[0].PixelSpacing == other.PixelSpacing
            assert shared.PixelMeasuresSequence[0].SliceThickness == other.SliceThickness
            content = group.FrameContentSequence[0]
            assert content.TemporalPositionIndex == other.get("TemporalPositionIdentifier", 1)
            if "TriggerTime" in other:
                times = group.CardiacSynchronizationSequence[0]
                assert times.NominalCardiacTriggerDelayTime == float(other.TriggerTime)
            else:
                assert "CardiacSynchronizationSequence" not in group
        assert "NOT FOR DIAGNOSIS" in one.ImageComments
    times = enhanced[0].PerFrameFunctionalGroupsSequence
    assert [one.CardiacSynchronizationSequence[0].NominalCardiacTriggerDelayTime for one in times] == [25, 75, 125]
    order = [
        list(one.FrameContentSequence[0].DimensionIndexValues) for one in enhanced[1].PerFrameFunctionalGroupsSequence
    ]
    assert order == [[1, place, time] for place in (1, 2) for time in (1, 2, 3)]


def test_dcmtk_reads_the_frames_of_an_enhanced_instance(tmp_path: Path) -> None:
    dump = program("dcmdump")
    file = made(tmp_path, "--enhanced")[0]
    (tmp_path / "raw").mkdir()
    said = subprocess.run([dump, "+W", str(tmp_path / "raw"), str(file)], capture_output=True, text=True, check=True)
    assert "=EnhancedMRImageStorage" in said.stdout
    (raw,) = (tmp_path / "raw").iterdir()
    stored = read_images(tmp_path / "i.h5")[0].data
    np.testing.assert_array_equal(np.fromfile(raw, "<u2").reshape(3, 4, 6), stored[:, 0, 0])


def test_dcmtk_reads_the_pixels_as_they_were_stored(tmp_path: Path) -> None:
    dump = program("dcmdump")
    files = made(tmp_path)
    stored = read_images(tmp_path / "i.h5")[0].data
    for number, file in enumerate(files[:3]):
        raw = tmp_path / f"raw{number}"
        raw.mkdir()
        subprocess.run([dump, "+W", str(raw), str(file)], capture_output=True, check=True)
        (pixels,) = raw.iterdir()
        assert pixels.read_bytes() == stored[number].astype("<u2").tobytes()
    said = subprocess.run([dump, str(files[1])], capture_output=True, text=True, check=True).stdout
    for words in ("[75.0]", "IS [2]", "[3.2]", "[1.5]", "[0.1]", "NOT FOR DIAGNOSIS", "RESEARCH", "DERIVED"):
        assert words in said, words


def test_values_come_back_by_slope_and_intercept(tmp_path: Path) -> None:
    files = made(tmp_path)
    read = [pydicom.dcmread(file) for file in files if "series0020" not in str(file)]
    by_series: dict[int, list[np.ndarray]] = {}
    for one in read:
        values = one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
        by_series.setdefault(int(one.SeriesNumber), []).append(values)
    wanted = {series.number: series for series in read_images(tmp_path / "i.h5")}
    for number, part in ((1, np.real), (3001, np.real), (4001, np.abs), (7001, np.angle)):
        series = wanted[4001 if number == 7001 else number]
        for place, found in enumerate(by_series[number]):
            truth = part(series.values(place)[0, 0])
            np.testing.assert_allclose(found, truth, atol=np.ptp(truth) / 65535 + 1e-6)
    assert {str(one.RescaleType) for one in read if one.SeriesNumber == 1} == {"SNR"}


def test_pixels_whose_noise_a_smaller_matrix_changed_are_not_called_snr(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    write(tmp_path / "i.h5", {1: [image(pixels, meta={"Onebreath_export_noise_factor": "0.5"})]})
    assert main(["dicom", str(tmp_path / "i.h5"), "-o", str(tmp_path / "out")]) == 0
    (file,) = (tmp_path / "out").rglob("*.dcm")
    one = pydicom.dcmread(file)
    assert one.RescaleType == "US"
    assert "noise is 0.5 times that in SNR units" in one.DerivationDescription


def test_a_parametric_map_holds_the_values_themselves(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    values = rng.uniform(1, 3, (2, 1, 4, 6)).astype(np.float32)
    role = {"GADGETRON_DataRole": "Gfactor"}
    maps = [
        image(one, series=20, number=k + 1, slice=k, position=(0, 0, 10.0 * k), meta=role)
        for k, one in enumerate(values)
    ]
    path = write(tmp_path / "i.h5", {1: [image(np.ones((1, 4, 6), np.uint16))], 20: maps})
    assert main(["dicom", str(path), "-o", str(tmp_path / "a")]) == 0
    (one,) = [pydicom.dcmread(file) for file in (tmp_path / "a" / "series0020").iterdir()]
    assert one.SOPClassUID == "1.2.840.10008.5.1.4.1.1.30"
    places = [frame.PlanePositionSequence[0].ImagePositionPatient[2] for frame in one.PerFrameFunctionalGroupsSequence]
    assert sorted(places) == [0, 10]
    for place, pixels in zip(places, one.pixel_array, strict=True):
        np.testing.assert_array_equal(pixels, values[int(place / 10), 0])
    mapping = one.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (mapping.LUTLabel, float(mapping.RealWorldValueSlope)) == ("GFACTOR", 1)
    assert one.PatientID == "PAT4711"
    assert main(["dicom", str(path), "-o", str(tmp_path / "b"), "--maps", "mr"]) == 0
    assert len(list((tmp_path / "b" / "series0020").iterdir())) == 2


def test_the_window_of_a_map_has_the_size_of_its_values(tmp_path: Path) -> None:
    values = np.linspace(0, 4e-9, 24, dtype=np.float32).reshape(1, 4, 6)
    noise = image(values, series=20, meta={"GADGETRON_DataRole": "Gfactor"})
    path = write(tmp_path / "i.h5", {1: [image(np.ones((1, 4, 6), np.uint16))], 20: [noise]})
    assert main(["dicom", str(path), "-o", str(tmp_path / "a")]) == 0
    (one,) = [pydicom.dcmread(file) for file in (tmp_path / "a" / "series0020").iterdir()]
    window = one.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    assert (window.WindowCenter, window.WindowWidth) == pytest.approx((2e-9, 4e-9), rel=0.02)


def test_another_reader_finds_the_same_place_in_the_body(tmp_path: Path) -> None:
    """dcm2niix makes NIfTI of our DICOM; the bright pixel must lie where our own NIfTI and the header have it."""
    program("dcm2niix")
    images = []
    for place in range(4):
        values = np.zeros((1, 12, 16), np.uint16)
        values[0, 5, 11] = 1000 + place
        position = np.array([12.0, -30.0, 44.0]) + 10.0 * place * np.array(WHERE["slice_dir"])
        images.append(image(values, number=place + 1, slice=place, position=tuple(position), **WHERE))
    path = write(tmp_path / "i.h5", {1: images})
    assert main(["dicom", str(path), "-o", str(tmp_path / "dcm")]) == 0
    places = []
    for nifti in theirs_and_ours(path, tmp_path):
        data = np.asarray(nifti.dataobj)
        places.append([(nifti.affine @ [*np.argwhere(data == 1000 + k)[0], 1])[:3] for k in range(4)])
    np.testing.assert_allclose(places[0], places[1], atol=1e-3)


def test_the_same_images_have_the_same_identifiers_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, again = made(tmp_path / "a"), made(tmp_path / "b")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in again]
    read = [pydicom.dcmread(file) for file in first]
    assert len({one.SOPInstanceUID for one in read}) == len(read)
    assert len({one.StudyInstanceUID for one in read}) == 1
    other = write(tmp_path / "other.h5", {1: [image(np.ones((1, 4, 6), np.uint16))]})
    assert main(["dicom", str(other), "-o", str(tmp_path / "c")]) == 0
    (single,) = [pydicom.dcmread(file) for file in (tmp_path / "c").glob("*/*.dcm")]
    assert single.StudyInstanceUID == read[0].StudyInstanceUID, "another scan of the same exam"
    assert single.SeriesInstanceUID not in {one.SeriesInstanceUID for one in read}


def test_nothing_of_the_patient_is_left_when_anonymised(tmp_path: Path) -> None:
    open_files, files = made(tmp_path), []
    assert b"PAT4711" in open_files[0].read_bytes()
    files = made(tmp_path, "--anonymise", "Subject 1")
    for file in files:
        content = file.read_bytes()
        assert b"PAT4711" not in content
        assert b"study9" not in content
    one = pydicom.dcmread(files[0])
    assert (str(one.PatientName), one.PatientIdentityRemoved) == ("Subject 1^", "YES")


def test_derivation_names_method_model_and_version(tmp_path: Path) -> None:
    meta = {"Onebreath_reconstruct_model": "crunet_mr.cine", "Onebreath_reconstruct_model_version": "3"}
    meta |= {
        "Onebreath_reconstruct_weights_sha256": "ab" * 32,
        "Onebreath_warnings": "look at it, scanner_PAT4711_study9_7",
    }
    path = write(tmp_path / "i.h5", {1: [image(np.ones((1, 4, 6), np.uint16), meta=meta)]})
    assert main(["dicom", str(path)]) == 0
    said = str(pydicom.dcmread(next((tmp_path / "i").glob("*/*.dcm"))).DerivationDescription)
    assert "Onebreath 0.1.0" in said
    assert f"model crunet_mr.cine version 3, weights sha256 {'ab' * 32}" in said
    assert "warning: look at it, [hidden]" in said


def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "i.h5", {1: [image(np.full((1, 4, 6), np.nan, np.float32))]})
    assert main(["dicom", str(path)]) == 1
    assert "24 pixels of series 1 are NaN or infinite" in capsys.readouterr().err
